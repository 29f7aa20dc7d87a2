"""Whether the caller of a stream may still have it: revoked means out, and not out with the next call."""

import time
from typing import Final

from starlette.concurrency import run_in_threadpool

from isotherm.api.calls import Call, readmit
from isotherm.base.errors import Forbidden, NotFound, Unauthenticated

__all__ = ["Stay"]

_every_s: Final = 0.5  # between two looks, so that many lines a second cost no more
_at_least_s: Final = 5.0  # what another process changed, and keys that expire, change nothing here


class Stay:
    """One stream's. A look costs nothing while the desired state, which has all keys and users, is as it was."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._seen = call.services.events.desired_changes
        self._looked_s = self._checked_s = time.monotonic()

    async def is_over(self) -> bool:
        """To be asked at least each second."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _every_s:
            return False
        self._looked_s = now_s
        changes = self._call.services.events.desired_changes
        if changes == self._seen and now_s - self._checked_s < _at_least_s:
            return False
        self._seen, self._checked_s = changes, now_s
        try:
            await run_in_threadpool(readmit, self._call)
        except (Unauthenticated, Forbidden, NotFound):
            return True
        return False
