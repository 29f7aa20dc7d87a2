"""Shadow traffic: a share of the calls is copied to another revision, and nobody waits for what the copies come to.

A target without a shadow knows nothing of this: its `pick` is the plain one. Copies are bounded: beyond `MAX_COPIES`
under way the next ones are not made, so a slow revision holds no more bodies than that.
"""

import asyncio
from collections.abc import Callable

from isotherm.base.errors import IsothermError
from isotherm.gateway.target import GOLDEN, Route, Target
from isotherm.pool.call import SHADOW, Call
from isotherm.pool.revision import RevisionPool

__all__ = ["MAX_COPIES", "ShadowedTarget"]

MAX_COPIES = 32
OPENING = len(b'["')  # of a frame's head, before the call's id


class ShadowedTarget(Target):
    """A target whose calls are copied, too."""

    __slots__ = ("_copies", "_new_id", "_shadow", "_shadow_point", "_share")

    def __init__(
        self,
        route: Route,
        label: str,
        weighted: list[tuple[RevisionPool, float]],
        *,
        whole: bool,
        shadow: RevisionPool,
        share: float,
        new_id: Callable[[], str],
    ) -> None:
        super().__init__(route, label, weighted, whole=whole)
        self._shadow = shadow
        self._share = share
        self._shadow_point = 0.0
        self._new_id = new_id
        self._copies = 0

    def pick(self, call: Call | None = None) -> RevisionPool:
        """The revision for the next call, which may be copied once it is on its way."""
        revision = super().pick(call)
        if call is not None and revision is not self._shadow and self._copies < MAX_COPIES:
            self._shadow_point = point = (self._shadow_point + GOLDEN) % 1.0
            if point < self._share:
                self._copies += 1
                asyncio.get_running_loop().call_soon(self._shadow.submit, self._copy(call), call.arrived_s)
        return revision

    def stale(self) -> bool:
        return self._shadow.closing or super().stale()

    # -- the sink of the copies ----------------------------------------------------------------------------------------

    def answered(self, _call: Call, _flags: int, _head: bytes, _body: bytes, _now_s: float) -> int:
        self._copies -= 1
        return 200

    def failed(self, _call: Call, error: IsothermError, _now_s: float) -> int:
        self._copies -= 1
        return error.status

    # -- inside --------------------------------------------------------------------------------------------------------

    def _copy(self, call: Call) -> Call:
        """The same call under an id of its own; its bytes are shared."""
        call_id = self._new_id()
        head = call.head[:OPENING] + call_id.encode() + call.head[OPENING + len(call.id) :]
        copy = Call(call_id, call.flags, head, call.body, self, call.arrived_s)
        copy.alias = self.label
        copy.principal_id = call.principal_id
        copy.source = SHADOW
        return copy
