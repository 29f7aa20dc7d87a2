"""What the queue needs of others: a store that keeps calls, and someone who knows where a call goes."""

from collections.abc import Sequence
from typing import Protocol

from isotherm.base.clock import Clock
from isotherm.pool.revision import RevisionPool
from isotherm.queue.model import AsyncCall, CallRow, CallState, Counts, News, Outcome, Waiting

__all__ = ["Invoker", "QueueStore"]


class Invoker(Protocol):
    def resolve(self, namespace: str, name: str, qualifier: str | None) -> tuple[RevisionPool, str]:
        """The revision that takes the next call, and the alias's name. Raises `NotFound`."""


class QueueStore(Protocol):
    """One host's queue, or its share of one that hosts have together. Blocks, but for what stands first.

    Used by one thread, but for `find`, `page` and `counts`, which may be called by one other. Writes count once
    `commit` has returned. All raise `Unavailable` where the store does not work.
    """

    # -- for the loop; nobody is asked

    @property
    def fenced(self) -> int:
        """Outcomes that were dropped so far, because the host did not hold the call any more."""

    @property
    def lost(self) -> int:
        """How often the host has lost all that it held to others."""

    def clock(self, host: Clock) -> Clock:
        """The clock that the queue's times are of: the host's own, or one that all hosts of the queue share."""

    def may_begin(self) -> bool:
        """Whether calls that this host claimed may be begun now: no other host can have taken them over yet."""

    def stale(self, call: AsyncCall) -> bool:
        """Whether the host lost the call since it claimed it. It is not to be begun then."""

    # -- open and close

    def open(self) -> list[Waiting]:
        """Make ready; what a former process of this host held is queued again. Returns what waits for this host."""

    def close(self) -> None: ...

    # -- writing, between `begin` and `commit` or `rollback`

    def begin(self) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def insert(self, call: AsyncCall, *, claimed: bool) -> None: ...

    def finish(
        self, call: AsyncCall, state: CallState, finished_at_ms: int, outcome: Outcome, following: AsyncCall | None
    ) -> None:
        """It is over and will not be claimed again; `following` is queued. Nothing of both where it was lost."""

    def postpone(self, call: AsyncCall, outcome: Outcome) -> None:
        """Queue it again, due at `call.due_at_ms`; `outcome` says how its attempt failed. Nothing where it was lost."""

    def news(self, limit: int, *, adopt: bool) -> News:
        """What came from other hosts. `adopt`: take over calls of hosts that are gone, at most `limit`."""

    def claim(self, namespace: str, name: str, now_ms: int, limit: int) -> tuple[list[AsyncCall], int | None]:
        """Take the calls of a function that are due, the longest due first; and when the next of the rest is due."""

    def purge(self, namespace: str, name: str, state: CallState, held: Sequence[str], limit: int) -> int:
        """Delete calls in `state`, and those that wait of `held`; how many. 0: none is left."""

    def redrive(self, dead: CallRow, call: AsyncCall) -> bool:
        """Make a dead letter a new call. False where it is no dead letter any more."""

    def pause(self, namespace: str, name: str, *, paused: bool) -> None: ...

    def position(self, trigger: str) -> int | None:
        """How far a trigger has come, as it last said."""

    def move(self, trigger: str, position: int, before: int | None) -> bool:
        """Note how far it has come. False, and nothing is noted, where it is not at `before`: another host moved it."""

    def forget_triggers(self, kept: Sequence[str]) -> None:
        """Drop the positions of all triggers but these, and but those that other hosts moved."""

    def sweep(self, state: CallState, before_ms: int, limit: int) -> int:
        """Delete calls that ended in `state` before that time; how many."""

    def paused(self) -> list[tuple[str, str]]:
        """The functions whose calls are held back."""

    def used_bytes(self) -> int:
        """What the calls take in the store, without what is free in it."""

    def latest_ms(self) -> int:
        """The latest time that is stored."""

    # -- reading

    def find(self, call_id: str) -> CallRow | None: ...

    def page(
        self, namespace: str, name: str | None, state: CallState | None, below: int | None, limit: int
    ) -> list[tuple[int, CallRow]]:
        """With their numbers, the newest first."""

    def counts(self, namespace: str | None) -> list[Counts]: ...
