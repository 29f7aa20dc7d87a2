"""How forecasts are judged while they are made: kept at a few leads until their minute has come."""

from typing import Final, Generic, TypeVar

import numpy
from numpy.typing import NDArray

from isotherm.forecast.model import LEVELS, Floats

__all__ = ["EVERY", "LEADS", "Pending", "SpreadOfErrors", "between_leads"]

LEADS: Final = (1, 10, 60)  # minutes ahead
EVERY: Final = (1, 2, 6)  # minutes from one forecast that is kept to the next, of each lead
# The median steps a fifth as far as the others: it is near where the forecast put it.
_PER_LEVEL: Final = numpy.array([0.2 if level == 0.5 else 1.0 for level in LEVELS], dtype=numpy.float32)
Kept = TypeVar("Kept")


class Pending(Generic[Kept]):
    """Forecasts that wait for their minute: at most ten or so of each lead."""

    def __init__(self) -> None:
        self._kept: list[dict[int, Kept]] = [{} for _ in LEADS]

    def wanted(self, now: int) -> list[int]:
        """Which leads, by their places, a forecast made at `now` is kept for."""
        return [index for index, every in enumerate(EVERY) if now % every == 0]

    def put(self, index: int, now: int, forecast: Kept) -> None:
        """Keep what was forecast at `now`, the first minute not known, for the minute `LEADS[index]` from the last."""
        self._kept[index][now + LEADS[index] - 1] = forecast

    def due(self, index: int, minute: int) -> Kept | None:
        """What had been forecast for this minute; older ones are dropped."""
        kept = self._kept[index]
        for other in [each for each in kept if each < minute]:
            del kept[other]
        return kept.pop(minute, None)


def between_leads(horizon: int) -> Floats:
    """How much of each of `LEADS` counts for each minute ahead: by a line over its logarithm: [horizon, LEADS]."""
    at = numpy.log(numpy.arange(1, horizon + 1))
    knots = numpy.log(LEADS)
    found = numpy.stack([numpy.interp(at, knots, unit) for unit in numpy.eye(len(LEADS))], axis=1)
    return found.astype(numpy.float32)


class SpreadOfErrors:
    """Quantiles of errors [n, LEADS, LEVELS] that follow them: each step moves a quantile up by its level or down by
    what is left of it, in units of the errors' mean size, so that in the long run each is passed as often as it says.

    Gibbs and Candès, Adaptive conformal inference under distribution shift, NeurIPS 2021, with the pinball gradient.
    """

    STEPS: Final = (0.06, 0.02, 0.015)  # of the mean size, for each of LEADS: errors further ahead hang together
    SLOW: Final = 0.02

    def __init__(self, n: int) -> None:
        self._size = numpy.zeros((n, len(LEADS)), dtype=numpy.float32)
        self._seen = numpy.zeros((n, len(LEADS)), dtype=numpy.float32)
        self.quantiles = numpy.zeros((n, len(LEADS), len(LEVELS)), dtype=numpy.float32)

    def see(self, index: int, error: Floats, rows: NDArray[numpy.int64] | slice) -> None:
        """The errors [rows] of forecasts at that lead, actual less expected."""
        self._seen[rows, index] += 1
        first = 1 / self._seen[rows, index]  # a mean at first
        size = self._size[rows, index]
        size += numpy.maximum(first, self.SLOW) * (numpy.abs(error) - size)
        self._size[rows, index] = size
        step = (numpy.maximum(first, self.STEPS[index]) * size)[:, None] * _PER_LEVEL
        at = self.quantiles[rows, index]
        at += step * (numpy.array(LEVELS, dtype=numpy.float32) - (error[:, None] < at))
        self.quantiles[rows, index] = at

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        """Begin anew with these."""
        self._size[rows], self._seen[rows], self.quantiles[rows] = 0, 0, 0

    def over(self, horizon: int) -> Floats:
        """[n, horizon, LEVELS]."""
        ascending = numpy.maximum.accumulate(self.quantiles, axis=-1)
        found: Floats = numpy.einsum("hl,nlq->nhq", between_leads(horizon), ascending, optimize=True)
        return numpy.ascontiguousarray(found)
