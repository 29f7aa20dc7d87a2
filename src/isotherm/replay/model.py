"""What a trace is: functions with arrivals a minute, and the distributions of their durations and memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

__all__ = ["Distribution", "Mix", "OwnRecords", "RecordedMinute", "Scale", "StandIn", "Trace", "TraceRow", "Way"]


@dataclass(frozen=True)
class Distribution:
    """A distribution known by some of its percentiles: linear between them.

    `points` are (percent, value), percents strictly rising from 0 to 100, values never falling and not negative.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        percents = [percent for percent, _ in self.points]
        values = [value for _, value in self.points]
        if len(self.points) < 2 or percents[0] != 0 or percents[-1] != 100:
            raise ValueError(f"percentiles must go from 0 to 100: {percents}")
        if any(a >= b for a, b in pairwise(percents)):
            raise ValueError(f"percentiles must rise: {percents}")
        if values[0] < 0 or any(a > b for a, b in pairwise(values)):
            raise ValueError(f"values must not be negative and not fall: {values}")

    @property
    def mean(self) -> float:
        """The mean of the piecewise linear distribution."""
        return sum((high - low) / 100 * (a + b) / 2 for (low, a), (high, b) in pairwise(self.points))

    @property
    def largest(self) -> float:
        return self.points[-1][1]

    def scaled(self, factor: float) -> "Distribution":
        return Distribution(tuple((percent, value * factor) for percent, value in self.points))


@dataclass(frozen=True)
class TraceRow:
    """One function of a trace."""

    owner: str
    app: str
    function: str
    trigger: str
    counts: tuple[int, ...]  # invocations in each minute of the trace
    duration_ms: Distribution
    memory_mb: Distribution


@dataclass(frozen=True)
class Trace:
    """All functions of a trace over the same minutes."""

    name: str
    first_minute: int  # minute of the day of `counts[0]`
    minutes: int
    rows: tuple[TraceRow, ...]

    @property
    def invocations(self) -> int:
        return sum(sum(row.counts) for row in self.rows)

    def window(self, start: int, minutes: int) -> "Trace":
        """`minutes` of it from its minute `start` on (0 is its first). Shorter where the trace ends before."""
        end = min(self.minutes, start + minutes)
        rows = tuple(
            TraceRow(r.owner, r.app, r.function, r.trigger, r.counts[start:end], r.duration_ms, r.memory_mb)
            for r in self.rows
        )
        return Trace(self.name, self.first_minute + start, max(0, end - start), rows)


@dataclass(frozen=True)
class Scale:
    """How a trace is made to fit this machine. All of it is stated in the report."""

    speed: float  # trace seconds per second
    duration: float  # a stand-in sleeps this share of the drawn duration
    memory: float  # and holds this share of the drawn memory
    arrivals: float = 1.0  # the share of arrivals that are sent


@dataclass(frozen=True)
class StandIn:
    """A function that behaves like a row of the trace: its name and what it is told through its environment."""

    name: str
    row: int
    environment: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RecordedMinute:
    """What a platform counted of a function, or of one revision of it, in one minute."""

    name: str
    minute: int  # since 1970
    count: int
    run_ms: float  # of all its calls together


@dataclass(frozen=True)
class OwnRecords:
    """What a platform counted of a namespace before `until_minute`, in so many days. `memory_mb`: of an instance of the
    functions of which it is known."""

    namespace: str
    days: float
    until_minute: int
    minutes: Iterable[RecordedMinute]
    memory_mb: Mapping[str, float]


class Way(IntEnum):
    """How a call is sent."""

    INVOKE = 0  # Invoke, answered whole
    EVENT = 1  # Invoke of type Event: answered 202, made later
    STREAM = 2  # InvokeWithResponseStream


@dataclass(frozen=True)
class Mix:
    """Shares of the calls that go another way than Invoke."""

    asynchronous: float = 0.0
    streamed: float = 0.0
