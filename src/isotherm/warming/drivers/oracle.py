"""The offline optimum: what a policy could do at best, if it knew all calls beforehand.

Each gap between two active minutes of a unit is an item: to bridge it spares one cold start and costs idle memory, as
many minutes as it has (keeping alive), or `lead` of them (prewarming so long before the call). All items have the same
value, so the knapsack is filled best by the cheapest first: exchanging a bridged gap for a cheaper one that is not
never loses. No policy that only keeps alive, or that prewarms with that lead, has fewer cold starts for the same idle
memory. What happens after a unit's last call is known, so nothing is held then."""

import numpy

from isotherm.warming.model import Demand, Doubles, Integers

__all__ = ["Oracle", "limit_for"]


class Oracle:
    """Bridges gaps within `limit` (in `Demand.gb` x minutes). `lead`: minutes of prewarming; None: only keeps alive."""

    def __init__(self, demand: Demand, counts: Integers, limit: float, lead: int | None = None) -> None:
        self.name = "oracle" if lead is None else "oracle_prewarm"
        self._held = numpy.zeros((demand.units, counts.shape[1]), numpy.int32)
        unit, ends, taken, cost, order = _items(demand, counts, lead)
        bridged = order[: int(numpy.searchsorted(cost[order].cumsum(), limit * (1 + 1e-12), side="right"))]
        for gap in bridged:
            self._held[unit[gap], ends[gap] - taken[gap] : ends[gap] + 1] = 1

    @property
    def keep_alive_s(self) -> float | None:
        return None

    def hold(self, minute: int) -> Integers:
        return self._held[:, minute]

    def observe(self, minute: int, counts: Integers) -> None:
        """It knows."""


def limit_for(demand: Demand, counts: Integers, share: float, lead: int | None = None) -> float:
    """The least that has to be spent for at most that share of the minutes with calls, each unit's first left out,
    to begin cold."""
    *_, cost, order = _items(demand, counts, lead)
    bridged = int(numpy.ceil((1 - share) * len(order) - 1e-9))
    return float(cost[order[:bridged]].sum())


def _items(
    demand: Demand, counts: Integers, lead: int | None
) -> tuple[Integers, Integers, Integers, Doubles, "numpy.typing.NDArray[numpy.int64]"]:
    """Of each gap: (unit, active minute after, minutes that it takes to bridge, what they cost); and the cheapest
    first."""
    unit, begins, ends = _gaps(demand.by_unit(counts) > 0)
    length = ends - begins - 1
    taken = length if lead is None else numpy.minimum(length, lead)
    cost = taken * demand.gb[unit]
    return unit, ends, taken, cost, numpy.lexsort((length, cost))


def _gaps(active: "numpy.typing.NDArray[numpy.bool_]") -> tuple[Integers, Integers, Integers]:
    """(unit, active minute before, active minute after) of each gap, those of no minutes included."""
    unit, minute = numpy.nonzero(active)
    same = unit[1:] == unit[:-1]
    return (
        unit[1:][same].astype(numpy.int32),
        minute[:-1][same].astype(numpy.int32),
        minute[1:][same].astype(numpy.int32),
    )
