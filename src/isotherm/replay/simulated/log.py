"""A log of arrivals in arrays, as the simulation takes it."""

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from isotherm.warming.model import Demand

__all__ = ["MARKS", "NOMINAL_GB", "Events", "Log"]

MARKS = numpy.array([0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0])  # where `Log.duration_s` knows a distribution
NOMINAL_GB = 0.128  # of an instance, where the log does not say
Doubles = NDArray[numpy.float64]
Integers = NDArray[numpy.int32]


@dataclass(frozen=True)
class Events:
    """Single calls in the order of their arrival: whose each is [k], seconds after the log's beginning [k], its
    duration in seconds [k]."""

    function: Integers
    at_s: Doubles
    duration_s: Doubles


@dataclass(frozen=True)
class Log:
    """Calls of `f` functions that run in `n` units, which are warm or cold as a whole: apps, or the functions
    themselves.

    `counts` [f, m]: a minute. `duration_s` [f, len(MARKS)]: percentiles, None where the log has none. `gb` [n]: of an
    instance, None where it is not known. `events`: None where only counts are known.
    """

    name: str
    minutes: int
    functions: tuple[str, ...]
    units: tuple[str, ...]
    unit: Integers
    counts: Integers
    duration_s: Doubles | None = None
    gb: Doubles | None = None
    events: Events | None = None

    @property
    def invocations(self) -> int:
        return int(self.counts.sum(dtype=numpy.int64))

    @property
    def memory_gb(self) -> Doubles:
        return numpy.full(len(self.units), NOMINAL_GB) if self.gb is None else self.gb

    @property
    def mean_duration_s(self) -> Doubles:
        """[f], 0 where it is not known."""
        if self.duration_s is not None:
            middles = (self.duration_s[:, 1:] + self.duration_s[:, :-1]) / 2
            return numpy.asarray(middles @ numpy.diff(MARKS))
        if self.events is None:
            return numpy.zeros(len(self.functions))
        calls = numpy.maximum(numpy.bincount(self.events.function, minlength=len(self.functions)), 1)
        return numpy.bincount(self.events.function, self.events.duration_s, len(self.functions)) / calls

    def demand(self, *, by_memory: bool) -> Demand:
        """What a policy is told beforehand. Idle time is weighed by memory, or counted in minutes."""
        return Demand(self.unit, self.memory_gb if by_memory else numpy.ones(len(self.units)), self.mean_duration_s)

    def by_unit(self) -> Integers:
        """[n, m], calls of each unit."""
        return self.demand(by_memory=False).by_unit(self.counts)

    def only(self, units: NDArray[numpy.bool_]) -> "Log":
        """The log of some of the units [n]."""
        kept = units[self.unit]
        number = numpy.cumsum(units) - 1
        return Log(
            self.name,
            self.minutes,
            tuple(name for name, keep in zip(self.functions, kept, strict=True) if keep),
            tuple(name for name, keep in zip(self.units, units, strict=True) if keep),
            number[self.unit[kept]].astype(numpy.int32),
            self.counts[kept],
            None if self.duration_s is None else self.duration_s[kept],
            None if self.gb is None else self.gb[units],
            None if self.events is None else _only(self.events, kept),
        )


def _only(events: Events, kept: NDArray[numpy.bool_]) -> Events:
    number = (numpy.cumsum(kept) - 1).astype(numpy.int32)
    there = kept[events.function]
    return Events(number[events.function[there]], events.at_s[there], events.duration_s[there])
