"""The same keep-alive for all, `none` at all, and an allowance of what a keep-alive would spend."""

import numpy
from numpy.typing import NDArray

from isotherm.warming.model import KEEP, LET_GO, Demand, Doubles, Integers

__all__ = ["Fixed", "LikeFixed", "PerDay"]

NEVER = -(10**9)


class Fixed:
    """Keeps what is idle for `minutes` after its last call. With 0 it is the policy `none`.

    At the granularity of minutes a unit is idle in each minute without calls until then, and a call in the minute after
    is served: it may have come at its beginning.
    """

    def __init__(self, demand: Demand, minutes: float) -> None:
        self.name = f"fixed:{minutes:g}" if minutes else "none"
        self._demand = demand
        self._minutes = minutes
        self._last = numpy.full(demand.units, NEVER)

    @property
    def keep_alive_s(self) -> float | None:
        return self._minutes * 60

    def hold(self, minute: int) -> Integers:
        idle = minute - self._last  # 1 in the minute after the last call
        held = numpy.where(idle <= self._minutes, KEEP, numpy.where(idle <= self._minutes + 1, LET_GO, 0))
        return held.astype(numpy.int32)

    def keeps(self, minute: int) -> NDArray[numpy.bool_]:
        """What of it is there the whole minute [n], once there was a call."""
        kept: NDArray[numpy.bool_] = minute - self._last <= self._minutes
        return kept

    def observe(self, minute: int, counts: Integers) -> None:
        self._last[self._demand.by_unit(counts) > 0] = minute


class LikeFixed:
    """Allows what `Fixed` has spent up to now, all units together; in the end, after `period` minutes, no more."""

    def __init__(self, demand: Demand, minutes: float, period: int = 0) -> None:
        self._demand = demand
        self._period = period
        self._fixed = Fixed(demand, minutes)
        self._spent = 0.0

    def income(self, minute: int) -> Doubles:
        return numpy.array([self._spent])

    def headroom(self, minute: int) -> Doubles:
        return numpy.array([self._demand.gb[self._fixed.keeps(minute)].sum()])

    def remaining(self, minute: int) -> int:
        return max(0, self._period - minute)

    def observe(self, minute: int, counts: Integers) -> None:
        idle = self._fixed.keeps(minute) & (self._demand.by_unit(counts) == 0)
        self._spent = float(self._demand.gb[idle].sum())
        self._fixed.observe(minute, counts)


class PerDay:
    """Allows the same each minute: `gb_minutes` for each of `groups`, in periods of so many minutes."""

    def __init__(self, groups: int, gb_minutes: float, period: int = 1440) -> None:
        self._income = numpy.full(groups, gb_minutes)
        self._period = period

    def income(self, minute: int) -> Doubles:
        return self._income

    def headroom(self, minute: int) -> Doubles:
        return self._income

    def remaining(self, minute: int) -> int:
        return self._period - minute % self._period

    def observe(self, minute: int, counts: Integers) -> None:
        pass
