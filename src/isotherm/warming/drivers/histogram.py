"""Keep-alive and prewarming by the histogram of idle times (M. Shahrad et al., "Serverless in the Wild", ATC 2020,
section 4.2): unloaded after a call, loaded again before the head of the distribution, kept until its tail.

A histogram whose counts vary too little from bin to bin says nothing, and most idle times may lie beyond its range:
then the unit is kept for as long as the range after each call, as the paper does until it knows better. The paper
forecasts the second case by ARIMA, refitted at each call; here it has the fallback."""

import numpy
from numpy.typing import NDArray

from isotherm.warming.drivers.compiled import compiled
from isotherm.warming.model import KEEP, LET_GO, Demand, Integers

__all__ = ["Histogram"]

LEAST_VARIATION = 2.0  # coefficient of variation of the bins' counts
MARGIN = 0.1  # the head is taken earlier by it, the tail later
OUT_OF_BOUNDS = 0.5  # share of idle times beyond the range
MOST_MINUTES = 1440


class Histogram:
    """`range_minutes`: of the histogram, and of the fallback's keep-alive. `head`, `tail`: percentiles."""

    def __init__(self, demand: Demand, range_minutes: int = 240, head: float = 5.0, tail: float = 99.0) -> None:
        shape = "" if (head, tail) == (5.0, 99.0) else f":{head:g}:{tail:g}"
        self.name = "histogram" if range_minutes == 240 and not shape else f"histogram:{range_minutes}{shape}"
        self._demand = demand
        self._range = range_minutes
        self._cuts = numpy.array([head, tail]) / 100
        n = demand.units
        self._bins = numpy.zeros((n, min(range_minutes, MOST_MINUTES) + 1), numpy.int32)
        self._beyond = numpy.zeros(n, numpy.int32)
        self._last = numpy.full(n, -1, numpy.int32)
        self._from = numpy.ones(n, numpy.int32)  # the minutes after a call in which the unit is held
        self._until = numpy.full(n, range_minutes, numpy.int32)

    @property
    def keep_alive_s(self) -> float | None:
        return None

    def hold(self, minute: int) -> Integers:
        after = minute - self._last
        prewarm = self._from > 1
        inside = (after >= self._from) & (after <= self._until)
        held = numpy.where(inside & prewarm, 1, numpy.where(inside, KEEP, 0))
        held = numpy.where(after == self._until + 1, LET_GO, held)
        return numpy.where(self._last >= 0, held, 0).astype(numpy.int32)

    def observe(self, minute: int, counts: Integers) -> None:
        calls = self._demand.by_unit(counts)
        _observe(self._bins, self._beyond, self._last, self._from, self._until, calls, minute, self._range, self._cuts)


@compiled
def _observe(
    bins: Integers,
    beyond: Integers,
    last: Integers,
    start: Integers,
    until: Integers,
    calls: Integers,
    minute: int,
    reach: int,
    cuts: NDArray[numpy.float64],
) -> None:
    for i in range(len(calls)):
        if calls[i] == 0:
            continue
        if last[i] >= 0:
            gap = minute - last[i]
            if gap < bins.shape[1]:
                bins[i, gap] += 1
            else:
                beyond[i] += 1
            total = bins[i].sum()
            start[i], until[i] = 1, reach
            if total > 0 and beyond[i] <= OUT_OF_BOUNDS * (total + beyond[i]):
                mean = total / (bins.shape[1] - 1)
                variance = ((bins[i, 1:] - mean) ** 2).mean()
                if variance**0.5 / mean >= LEAST_VARIATION:
                    head, tail = _cut(bins[i], total * cuts[0]), _cut(bins[i], total * cuts[1])
                    start[i] = max(1, int(head * (1 - MARGIN)))
                    until[i] = int(numpy.ceil(tail * (1 + MARGIN)))
        last[i] = minute


@compiled
def _cut(bins: Integers, rank: float) -> int:
    seen = 0
    for gap in range(len(bins)):
        seen += bins[gap]
        if seen >= rank and seen > 0:
            return gap
    return len(bins) - 1
