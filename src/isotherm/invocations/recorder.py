"""Collects aggregates, records and log lines between two shipments, within bounds; what does not fit is counted."""

from collections.abc import Callable
from dataclasses import dataclass, field

from isotherm.base.clock import Clock
from isotherm.invocations.aggregates import RevisionStats, Window
from isotherm.invocations.allowance import LogAllowance, LogRates
from isotherm.wire.telemetry import InvocationRecord, LogLine, MinuteAggregate, RecordedEvent

__all__ = ["Collected", "Recorder"]

MAX_SAMPLED = 100  # of one shipment: a sample of a flood needs no more
MAX_RECORDS = 2_000
MAX_LOG_LINES = 10_000
MAX_LOG_BYTES = 8 * 1024 * 1024
MAX_NAMESPACE_LOG_BYTES = 4 * 1024 * 1024  # of one namespace in one shipment: it must not silence the others
MAX_MINUTES = 100_000
MAX_EVENTS_BYTES = 8 * 1024 * 1024  # of events of calls


@dataclass(slots=True)
class Collected:
    """What one shipment holds."""

    invocations: list[InvocationRecord] = field(default_factory=list)
    minutes: list[MinuteAggregate] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    events: list[RecordedEvent] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.invocations or self.minutes or self.logs or self.events or self.dropped)


class Recorder:
    """One per host process; used from its loop alone."""

    def __init__(self, clock: Clock, rates: LogRates | None = None) -> None:
        self._clock = clock
        self.allowance = LogAllowance(rates or LogRates())
        self._stats: dict[str, RevisionStats] = {}
        self._open = Collected()
        self._sampled = 0
        self._log_bytes = self._event_bytes = 0
        self._namespace_log_bytes: dict[str, int] = {}
        self._retiring: set[str] = set()
        self.retired: dict[tuple[str, str], Window] = {}  # totals of revisions that are gone, by namespace and name
        self._minute = clock.time_ms() // 60_000
        self.on_hurry: Callable[[], None] = lambda: None  # somebody waits for what is open

    def stats(self, namespace: str, name: str, revision_id: str) -> RevisionStats:
        """The counters of a revision, made at first use and kept while the process lives."""
        self._retiring.discard(revision_id)
        found = self._stats.get(revision_id)
        if found is None:
            found = self._stats[revision_id] = RevisionStats(namespace, name, revision_id)
        return found

    def all_stats(self) -> list[RevisionStats]:
        return list(self._stats.values())

    def keep(self, record: InvocationRecord) -> None:
        """Keep a full record; samples beyond their bound are simply no samples, others are counted as dropped."""
        if record.why_kept == "sampled":
            if self._sampled >= MAX_SAMPLED:
                return
            self._sampled += 1
        if len(self._open.invocations) >= MAX_RECORDS:
            self._drop("invocations")
            return
        self._open.invocations.append(record)

    def keep_event(self, event: RecordedEvent) -> None:
        """Keep what a call was made with, or count it as dropped where this shipment is full."""
        if self._event_bytes + len(event.event) > MAX_EVENTS_BYTES:
            self._drop("events")
            return
        self._event_bytes += len(event.event)
        self._open.events.append(event)

    def log(self, line: LogLine) -> None:
        """Keep a log line, or count it as dropped where it is over a rate, or this shipment is full."""
        size = len(line.message) + 64
        if not self.allowance.admit(line, size, self._clock.monotonic_s()):
            self._drop("logs")
            return
        of_namespace = self._namespace_log_bytes.get(line.namespace, 0) + size
        full = len(self._open.logs) >= MAX_LOG_LINES or self._log_bytes + size > MAX_LOG_BYTES
        if full or of_namespace > MAX_NAMESPACE_LOG_BYTES:
            self.allowance.refuse(line, size, "more came at once than this host could keep")
            self._drop("logs")
            return
        self._namespace_log_bytes[line.namespace] = of_namespace
        self._log_bytes += size
        self._open.logs.append(line)

    def limit_logs(self, namespace: str, kb_per_s: float | None) -> None:
        """How much the functions of a namespace may log together, from now on; None: as much as each of them may."""
        rate = None if kb_per_s is None else kb_per_s * 1024
        self.allowance.limit(namespace, rate, self._clock.monotonic_s())

    def drop_logs(self, count: int) -> None:
        """Count log lines that were dropped before they got here."""
        self._open.dropped["logs"] = self._open.dropped.get("logs", 0) + count

    def retire(self, revision_id: str) -> None:
        """A revision is gone: its counters end with the next shipment, their total stays with its function."""
        self._retiring.add(revision_id)

    def tick(self) -> None:
        """Close the minute's counts where a minute has ended. Called often, so that counts are exact to the tick."""
        minute = self._clock.time_ms() // 60_000
        if minute != self._minute:
            self._close_minute()
            self._minute = minute

    def collect(self) -> Collected:
        """Everything since the last call."""
        self._close_minute()
        self._minute = self._clock.time_ms() // 60_000
        self._open.logs += self.allowance.notices(self._clock.monotonic_s(), self._clock.time_ms())
        collected, self._open = self._open, Collected()
        self._sampled = self._log_bytes = self._event_bytes = 0
        self._namespace_log_bytes.clear()
        for revision_id in self._retiring:
            gone = self._stats.pop(revision_id, None)
            if gone is not None:
                self.retired.setdefault((gone.namespace, gone.name), Window()).add(gone.total)
        self._retiring.clear()
        return collected

    def _close_minute(self) -> None:
        minutes = self._open.minutes
        for stats in self._stats.values():
            if stats.window.count:
                taken = stats.take(self._minute)
                if taken is None:
                    continue
                if len(minutes) >= MAX_MINUTES:
                    self._drop("minutes")
                else:
                    minutes.append(taken)

    def _drop(self, kind: str) -> None:
        self._open.dropped[kind] = self._open.dropped.get(kind, 0) + 1
