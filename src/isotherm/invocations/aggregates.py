"""Exact counts of one revision: the part of this minute that is not shipped yet, and all since the host's boot."""

from bisect import bisect_left

from isotherm.wire.telemetry import LATENCY_BUCKETS_MS, ColdCause, MinuteAggregate, Outcome

__all__ = ["RevisionStats", "Window"]

bucket_count = len(LATENCY_BUCKETS_MS) + 1


class Window:
    """Counters that add up. `ok` outcomes are what `outcomes` does not hold of `count`."""

    __slots__ = (
        "cold",
        "count",
        "latency",
        "outcomes",
        "queue_ms",
        "request_bytes",
        "response_bytes",
        "run_ms",
        "start_ms",
        "total_ms",
    )

    def __init__(self) -> None:
        self.count = 0
        self.outcomes: dict[str, int] = {}
        self.cold: dict[str, int] = {}
        self.latency = [0] * bucket_count
        self.total_ms = 0.0
        self.run_ms = 0.0
        self.queue_ms = 0.0
        self.start_ms = 0.0
        self.request_bytes = 0
        self.response_bytes = 0

    def add(self, other: "Window") -> None:
        """Take the counts of `other` on top."""
        self.count += other.count
        for outcome, count in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count
        for cause, count in other.cold.items():
            self.cold[cause] = self.cold.get(cause, 0) + count
        self.latency = [a + b for a, b in zip(self.latency, other.latency, strict=True)]
        self.total_ms += other.total_ms
        self.run_ms += other.run_ms
        self.queue_ms += other.queue_ms
        self.start_ms += other.start_ms
        self.request_bytes += other.request_bytes
        self.response_bytes += other.response_bytes

    def all_outcomes(self) -> dict[str, int]:
        """Counts by outcome, `ok` with them."""
        ok = self.count - sum(self.outcomes.values())
        return {"ok": ok, **self.outcomes} if ok else dict(self.outcomes)


class RevisionStats:
    """The counters of one revision."""

    __slots__ = ("name", "namespace", "revision_id", "total", "window")

    def __init__(self, namespace: str, name: str, revision_id: str) -> None:
        self.namespace = namespace
        self.name = name
        self.revision_id = revision_id
        self.window = Window()
        self.total = Window()

    def ok(self, total_ms: float, run_ms: float, request_bytes: int, response_bytes: int) -> None:
        """A call that an idle instance took and answered: the hot path."""
        window = self.window
        window.count += 1
        window.latency[bisect_left(LATENCY_BUCKETS_MS, total_ms)] += 1
        window.total_ms += total_ms
        window.run_ms += run_ms
        window.request_bytes += request_bytes
        window.response_bytes += response_bytes

    def note(
        self,
        outcome: Outcome,
        cold_cause: ColdCause | None,
        total_ms: float,
        run_ms: float,
        queue_ms: float,
        start_ms: float,
        request_bytes: int,
        response_bytes: int,
    ) -> None:
        """Any call."""
        self.ok(total_ms, run_ms, request_bytes, response_bytes)
        window = self.window
        window.queue_ms += queue_ms
        window.start_ms += start_ms
        if outcome != "ok":
            window.outcomes[outcome] = window.outcomes.get(outcome, 0) + 1
        if cold_cause is not None:
            window.cold[cold_cause] = window.cold.get(cold_cause, 0) + 1

    def take(self, minute: int) -> MinuteAggregate | None:
        """What the window holds, as counts of `minute`; the window starts anew. None where it holds nothing."""
        window = self.window
        if window.count == 0:
            return None
        self.window = Window()
        self.total.add(window)
        return MinuteAggregate(
            namespace=self.namespace,
            name=self.name,
            revision_id=self.revision_id,
            minute=minute,
            count=window.count,
            outcomes=window.all_outcomes(),
            cold=window.cold,
            latency=window.latency,
            total_ms=window.total_ms,
            run_ms=window.run_ms,
            queue_ms=window.queue_ms,
            request_bytes=window.request_bytes,
            response_bytes=window.response_bytes,
        )

    def so_far(self) -> Window:
        """All counts since the host's boot."""
        total = Window()
        total.add(self.total)
        total.add(self.window)
        return total
