"""How much a function, and a namespace in all, may log: bytes a second with a burst. What is over is counted and told.

Lines are dropped before they cost anything: they reach neither the disk nor control.
"""

from dataclasses import dataclass

from isotherm.base.buckets import TokenBucket
from isotherm.wire.telemetry import LogLine

__all__ = ["LogAllowance", "LogRates"]

TELL_INTERVAL_S = 10.0  # a function that goes on being over its rate is told so this often
BURST_S = 2.0  # a namespace may log at once what its rate gives in this time
MAX_FUNCTIONS = 20_000  # more are forgotten, those that dropped nothing first: their buckets start full again
Name = tuple[str, str]  # namespace, function


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRates:
    """Of one function, unless said otherwise. No line is larger than `line_bytes`, so that a burst holds it."""

    bytes_per_s: float = 1024 * 1024
    burst_bytes: int = 2 * 1024 * 1024
    line_bytes: int = 256 * 1024
    namespace_bytes_per_s: float | None = None  # of all functions of a namespace of which nothing else was said


class _Dropped:
    """What a function was refused since it was last told."""

    __slots__ = ("bytes", "lines", "revision_id", "tell_at_s", "why")

    def __init__(self) -> None:
        self.lines = 0
        self.bytes = 0
        self.why = ""
        self.revision_id = ""
        self.tell_at_s = 0.0


class LogAllowance:
    """For one thread. `dropped` has the lines that each function was refused so far."""

    def __init__(self, rates: LogRates) -> None:
        self._rates = rates
        self._functions: dict[Name, TokenBucket] = {}
        self._namespaces: dict[str, tuple[TokenBucket, str] | None] = {}
        self._untold: dict[Name, _Dropped] = {}
        self.dropped: dict[Name, int] = {}

    def limit(self, namespace: str, bytes_per_s: float | None, now_s: float) -> None:
        """The rate of all functions of a namespace together, from now on; None: only each of its own."""
        if bytes_per_s is None:
            self._namespaces[namespace] = None
            return
        burst = self._burst(BURST_S * bytes_per_s)
        why = f"the namespace {namespace} has a quota of {bytes_per_s / 1024:g} KB of log a second"
        self._namespaces[namespace] = (TokenBucket(bytes_per_s, burst, now_s), why)

    def admit(self, line: LogLine, size_bytes: int, now_s: float) -> bool:
        """Whether the line may be kept; one that may not is counted."""
        name = (line.namespace, line.name)
        own = self._functions.get(name)
        if own is None:
            own = self._function(name, now_s)
        if own.take(now_s, size_bytes):
            rate = self._rates.bytes_per_s / 1024
            self.refuse(line, size_bytes, f"a function may log {rate:g} KB a second")
            return False
        if line.namespace not in self._namespaces:
            self.limit(line.namespace, self._rates.namespace_bytes_per_s, now_s)
        shared = self._namespaces[line.namespace]
        if shared is not None and shared[0].take(now_s, size_bytes):
            own.give_back(size_bytes)
            self.refuse(line, size_bytes, shared[1])
            return False
        return True

    def refuse(self, line: LogLine, size_bytes: int, why: str) -> None:
        """Count a line that is dropped."""
        name = (line.namespace, line.name)
        untold = self._untold.setdefault(name, _Dropped())
        untold.lines += 1
        untold.bytes += size_bytes
        untold.why = why
        untold.revision_id = line.revision_id
        self.dropped[name] = self.dropped.get(name, 0) + 1

    def notices(self, now_s: float, at_ms: int) -> list[LogLine]:
        """One line for each function that was refused lines, once a window; it passes without being counted."""
        told = []
        for name, untold in list(self._untold.items()):
            if now_s < untold.tell_at_s:
                continue
            if not untold.lines:
                del self._untold[name]
                continue
            told.append(_notice(name, untold, at_ms))
            untold.lines = untold.bytes = 0
            untold.tell_at_s = now_s + TELL_INTERVAL_S
        return told

    def _function(self, name: Name, now_s: float) -> TokenBucket:
        if len(self._functions) >= MAX_FUNCTIONS:
            self._functions = {known: self._functions[known] for known in self._untold if known in self._functions}
        if len(self.dropped) >= MAX_FUNCTIONS:
            self.dropped.clear()
        bucket = TokenBucket(self._rates.bytes_per_s, self._burst(self._rates.burst_bytes), now_s)
        self._functions[name] = bucket
        return bucket

    def _burst(self, wanted_bytes: float) -> int:
        return max(round(wanted_bytes), 2 * self._rates.line_bytes)


def _notice(name: Name, untold: _Dropped, at_ms: int) -> LogLine:
    return LogLine(
        namespace=name[0],
        name=name[1],
        revision_id=untold.revision_id,
        instance_id="",
        at_ms=at_ms,
        message=f"{untold.lines:,} log lines ({untold.bytes:,} bytes) were dropped: {untold.why}",
        level="warning",
        stream="platform",
    )
