"""A revision whose secrets have changed gets a successor: built and started beside it, then put in its place.

Until the successor has an instance, nothing changes; then it takes every call, and what runs in the old instances runs
to its end. Where the successor cannot be built the revision goes on as it was, and says why.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from isotherm.base.errors import IsothermError, TooManyRequests, Unavailable
from isotherm.pool import policy
from isotherm.pool.revision import RevisionPool
from isotherm.telemetry.logging import get_logger
from isotherm.wire.desired import RevisionSpec

__all__ = ["Renewals"]

GROWTH_WAIT_S = 5.0  # the successor's further instances get this long; calls do not wait for them
PAUSE_S = 0.02


class Estate(Protocol):
    """The pool, as far as renewals need it."""

    revisions: dict[str, RevisionPool]

    def make(self, spec: RevisionSpec) -> RevisionPool:
        """A pool for `spec`, known to nobody yet."""

    def holds_nothing(self, revision: RevisionPool) -> bool: ...

    async def start_one(self, revision: RevisionPool) -> None:
        """Raises what its template or its instance fails with."""

    def grow(self, revision: RevisionPool, count: int) -> int: ...

    def instate(self, revision: RevisionPool) -> None:
        """From now on it is the pool of its revision."""

    async def end(self, revision: RevisionPool) -> None:
        """Wait for its calls within their limit, then end all of it."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[Any]: ...


class Renewals:
    """At most one under way for each revision: the newest."""

    def __init__(self, estate: Estate, now: Callable[[], float]) -> None:
        self._estate = estate
        self._now = now
        self._under_way: dict[str, tuple[RevisionSpec, asyncio.Task[Any]]] = {}
        self._log = get_logger("pool")

    def begin(self, spec: RevisionSpec, on_switched: Callable[[], None]) -> None:
        """Have what runs of this revision become as `spec` says; nothing where it is, or where nothing runs."""
        wanted, under_way = self._under_way.get(spec.id, (None, None))
        if wanted == spec:
            return
        if under_way is not None:
            del self._under_way[spec.id]
            under_way.cancel()
        current = self._estate.revisions.get(spec.id)
        if current is None or current.closing:
            return
        current.outdated = None
        if current.spec == spec:
            return
        if self._estate.holds_nothing(current):
            self._switch(current, self._estate.make(spec))
            on_switched()
            return
        task = self._estate.spawn(self._until_done(spec, on_switched))
        self._under_way[spec.id] = spec, task
        task.add_done_callback(lambda done: self._done(spec.id, done))

    async def replace(self, spec: RevisionSpec) -> None:
        """Raises what the successor's template or first instance fails with; all then is as it was."""
        current = self._estate.revisions.get(spec.id)
        if current is None or current.closing:
            return  # it was forgotten
        successor = self._estate.make(spec)
        try:
            await self._estate.start_one(successor)
            await self._grow(successor, current)
            if self._estate.revisions.get(spec.id) is current and not current.closing:
                self._switch(current, successor)
        finally:
            if current.successor is not successor:
                successor.closing = True
                self._estate.spawn(self._estate.end(successor))

    async def _until_done(self, spec: RevisionSpec, on_switched: Callable[[], None]) -> None:
        failures = 0
        while True:
            try:
                await self.replace(spec)
            except IsothermError as error:
                failures += 1
                self._report(spec, error)
                if not isinstance(error, (TooManyRequests, Unavailable)):
                    return
            current = self._estate.revisions.get(spec.id)
            if current is None or current.closing:
                return
            if current.spec == spec:
                on_switched()
                current.outcomes.line(spec, "", "new values of its secrets are in use", level="info", stream="platform")
                return
            await asyncio.sleep(policy.retry_delay_s(failures))  # it failed, or another one was put there meanwhile

    async def _grow(self, successor: RevisionPool, current: RevisionPool) -> None:
        """As many instances as are busy now, so that the calls that come next need not wait for them."""
        busy = sum(1 for connection in current.connections.values() if connection.calls)
        wanted = max(busy, successor.least) - len(successor.connections) - successor.starting
        self._estate.grow(successor, max(0, wanted))
        until_s = self._now() + GROWTH_WAIT_S
        while successor.starting and self._now() < until_s:  # noqa: ASYNC110 -- see Pool._poll
            await asyncio.sleep(PAUSE_S)

    def _switch(self, current: RevisionPool, successor: RevisionPool) -> None:
        self._estate.instate(successor)
        current.hand_over(successor, self._now())
        self._estate.spawn(self._estate.end(current))
        self._log.info("secrets taken up", namespace=successor.spec.namespace, name=successor.spec.name)

    def _report(self, spec: RevisionSpec, error: IsothermError) -> None:
        """To the function's log and its state, once for each way that it fails."""
        current = self._estate.revisions.get(spec.id)
        if current is None or current.outdated == error.message:
            return
        current.outdated = error.message
        message = f"the new values of its secrets are not in use; it goes on with the former ones: {error.message}"
        current.outcomes.line(current.spec, "", message, level="error", stream="platform")

    def _done(self, revision_id: str, task: asyncio.Task[Any]) -> None:
        if self._under_way.get(revision_id, (None, None))[1] is task:
            del self._under_way[revision_id]
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._log.error("a renewal failed", revision=revision_id, problem=repr(failure))
