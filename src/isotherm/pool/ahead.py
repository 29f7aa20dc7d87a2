"""What is made before anyone waits for it: templates and instances that control's policy wants ready.

It goes by one or a few at a time and waits while a call waits, so that no call finds its place taken by what is early.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from isotherm.base.errors import IsothermError
from isotherm.pool.model import PoolLimits
from isotherm.pool.revision import RevisionPool
from isotherm.pool.templates import TemplateSlot
from isotherm.telemetry.logging import get_logger
from isotherm.wire.warmth import Target

__all__ = ["Ahead", "AheadEstate"]

LOOK_AGAIN_S = 0.01  # whether calls still wait
REFUSED_S = 10.0  # what there was no room for is left alone so long
LONGEST_WAIT_S = 5.0  # then one goes on in any case: where calls wait all the time, nothing would ever be early


class AheadEstate(Protocol):
    """The pool, as far as this needs it."""

    limits: PoolLimits
    templates: dict[RevisionPool, TemplateSlot]

    def calls_wait(self) -> bool:
        """Whether a call waits for an instance anywhere on this host."""

    def room_ahead(self, revision: RevisionPool) -> bool:
        """Whether one more instance fits without anything else having to go."""

    async def start_ahead(self, revision: RevisionPool) -> None:
        """Start one instance. Raises what its start fails with."""

    def refill(self, revision: RevisionPool) -> None: ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> object: ...


class Ahead:
    """The targets of this host, and what is under way for them."""

    def __init__(self, estate: AheadEstate, now: Callable[[], float]) -> None:
        self._estate = estate
        self._now = now
        self._targets: dict[str, Target] = {}
        self._until_s = 0.0
        self._wanted: dict[RevisionPool, None] = {}  # in the order in which they were asked for
        self._refused: WeakKeyDictionary[RevisionPool, float] = WeakKeyDictionary()  # until when
        self._workers = 0
        self._most = max(1, estate.limits.max_builds // 2)
        self._log = get_logger("pool")

    def target_of(self, revision_id: str) -> Target | None:
        return self._targets.get(revision_id)

    def take(self, targets: list[Target], released: list[str], *, full: bool, valid_s: float) -> list[str]:
        """Targets from control; the ids of the revisions that go by another one now, or by none."""
        gone = set(released)
        if full:
            gone |= self._targets.keys() - {target.revision_id for target in targets}
        for revision_id in gone:
            self._targets.pop(revision_id, None)
        for target in targets:
            self._targets[target.revision_id] = target
        self._until_s = self._now() + valid_s
        return [*gone, *(target.revision_id for target in targets)]

    def lapse(self, now_s: float) -> list[str]:
        """Where control has said nothing for too long: the ids of the revisions that have no target any more."""
        if not self._targets or now_s < self._until_s:
            return []
        gone = list(self._targets)
        self._targets.clear()
        return gone

    def want(self, revision: RevisionPool) -> None:
        """See to it that the revision has what its target says."""
        if self._now() < self._refused.get(revision, 0.0):
            return
        if revision.lacks(self._estate.templates[revision]) and revision not in self._wanted:
            self._wanted[revision] = None
            if self._workers < self._most:
                self._workers += 1
                self._estate.spawn(self._work())

    async def _work(self) -> None:
        try:
            while self._wanted:
                await self._no_call_waits()
                if not self._wanted:
                    return
                revision = next(iter(self._wanted))
                del self._wanted[revision]
                await self._make(revision)
                await asyncio.sleep(0)  # where nothing could be made, nothing has let others run
        finally:
            self._workers -= 1

    async def _no_call_waits(self) -> None:
        until_s = self._now() + LONGEST_WAIT_S
        while self._estate.calls_wait() and self._now() < until_s:  # noqa: ASYNC110 -- an event per call would cost
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _make(self, revision: RevisionPool) -> None:
        slot = self._estate.templates.get(revision)
        self._refused.pop(revision, None)
        if slot is None or revision.closing or self._now() < revision.retry_at_s or not revision.lacks(slot):
            return
        try:
            if slot.template is None:
                await slot.get()
                revision.has_template = True
                revision.used_at_s = self._now()
            made = revision.promote()
            if made:
                self._estate.refill(revision)
            elif revision.lacking() > 0 and self._estate.room_ahead(revision):
                await self._estate.start_ahead(revision)
                made = True
        except IsothermError as error:
            self._log.warning(
                "nothing could be made ready ahead", namespace=revision.spec.namespace, name=revision.spec.name,
                code=error.code, detail=error.message,
            )  # fmt: skip
            revision.start_failed(error, self._now())
            return
        if made and revision.lacks(slot):
            self._wanted[revision] = None
        elif not made and revision.lacking() > 0:
            self._refused[revision] = self._now() + REFUSED_S
