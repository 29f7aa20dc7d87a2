"""What the host holds in memory of one function's queued calls."""

from collections import deque

from isotherm.queue.model import AsyncCall

__all__ = ["Lane"]


class Lane:
    """Calls that are claimed and wait here, how many are in flight, and what is known of those on disk."""

    __slots__ = (
        "blocked_until_ms", "in_flight", "incoming", "limit", "loading", "name", "namespace", "next_due_ms", "paused",
        "pumping", "ready", "refusals",
    )  # fmt: skip

    def __init__(self, namespace: str, name: str) -> None:
        self.namespace = namespace
        self.name = name
        self.ready: deque[AsyncCall] = deque()
        self.incoming = 0  # on their way to disk, and then to `ready`
        self.in_flight = 0
        self.limit = 1  # of those in flight; known better with the first delivery
        self.next_due_ms: int | None = None  # of the calls on disk that nobody holds; None: there are none
        self.loading = False
        self.paused = False
        self.pumping = False
        self.refusals = 0  # in a row: the platform had no room
        self.blocked_until_ms = 0

    def note_due(self, due_at_ms: int) -> None:
        """A call was put on disk and is not held."""
        if self.next_due_ms is None or due_at_ms < self.next_due_ms:
            self.next_due_ms = due_at_ms

    def takes(self, now_ms: int, max_held: int) -> bool:
        """Whether a call that is accepted now stays in memory: not past others that wait on disk."""
        behind = self.loading or (self.next_due_ms is not None and self.next_due_ms <= now_ms)
        return not self.paused and not behind and len(self.ready) + self.incoming < max_held

    def wants(self, now_ms: int, max_held: int) -> bool:
        """Whether calls on disk are due and there is room for a good part of them."""
        due = self.next_due_ms is not None and self.next_due_ms <= now_ms
        return due and not self.loading and not self.paused and 2 * len(self.ready) < max_held

    def forgettable(self) -> bool:
        """Whether nothing is known of it that a new one would not know."""
        return not (self.ready or self.incoming or self.in_flight or self.loading or self.paused) and (
            self.next_due_ms is None
        )
