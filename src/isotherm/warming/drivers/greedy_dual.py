"""Keep-alive as a cache (A. Fuerst, P. Sharma, "FaasCache: keeping serverless computing alive with greedy-dual
caching", ASPLOS 2021): all stays warm until memory is short; then what is least frequent, cheapest to start and
largest goes."""

import numpy

from isotherm.warming.model import KEEP, Demand, Integers

__all__ = ["GreedyDual"]


class GreedyDual:
    """`capacity_gb` (of units busy and idle, in what `Demand.gb` counts). A unit's priority is the clock, plus its
    calls since it was started times the time of a start over its memory; the clock is the priority of what went last.
    Starts take the same time for all: traces do not say."""

    def __init__(self, demand: Demand, capacity_gb: float) -> None:
        self.name = f"greedy_dual:{capacity_gb:.6g}"
        self._demand = demand
        self._capacity = capacity_gb
        self._calls = numpy.zeros(demand.units)
        self._priority = numpy.zeros(demand.units)
        self._held = numpy.zeros(demand.units, bool)
        self._clock = 0.0

    @property
    def keep_alive_s(self) -> float | None:
        return None

    def hold(self, minute: int) -> Integers:
        return numpy.where(self._held, KEEP, 0).astype(numpy.int32)

    def observe(self, minute: int, counts: Integers) -> None:
        calls = self._demand.by_unit(counts)
        busy = calls > 0
        self._calls[busy] += calls[busy]
        self._priority[busy] = self._clock + self._calls[busy] / numpy.maximum(self._demand.gb[busy], 1e-12)
        self._held |= busy
        over = self._demand.gb[self._held].sum() - self._capacity
        if over > 0:
            self._evict(numpy.flatnonzero(self._held & ~busy).astype(numpy.int32), over)

    def _evict(self, idle: Integers, over: float) -> None:
        ordered = idle[numpy.argsort(self._priority[idle], kind="stable")]
        freed = self._demand.gb[ordered].cumsum()
        going = ordered[: int(numpy.searchsorted(freed, over)) + 1]
        if len(going):
            self._clock = max(self._clock, float(self._priority[going[-1]]))
        self._held[going] = False
        self._calls[going] = 0
