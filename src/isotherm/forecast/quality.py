"""How good forecasts were: sums per series that each minute adds to; live they decay, in backtests not.

The measures, over the forecasts that have been judged:

- MASE: mean absolute error of the median, to that of the seasonal naive forecast of the same minutes.
- MAPE: of the median; only of series without a zero.
- RMSE and R²: of the mean; R² to the series' own mean.
- pinball: over the levels given, averaged. coverage: share of counts within the outermost of the judged quantiles.
- spikes: counts above twice the mean of the hour before the forecast was made, plus three times its root (so that what
  chance alone brings to a quiet series is none). One is caught where the upper quantile reached it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.model import Floats

__all__ = ["Quality", "Scores", "is_spike"]

_SUMS: Final = (
    "judged", "absolute", "naive", "squared", "count", "count_squared", "ratio", "zeros", "pinball", "inside", "spikes",
    "caught",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one series or of all. None where it is not defined: nothing judged, a zero in MAPE, a constant in R²."""

    judged: float
    mase: float | None
    mape: float | None
    rmse: float | None
    r2: float | None
    pinball: float | None
    coverage: float | None
    spikes: float
    spikes_caught: float | None


def is_spike(actual: Floats, hour: Floats) -> NDArray[numpy.bool_]:
    """`hour`: the mean of the hour before the forecast was made."""
    found: NDArray[numpy.bool_] = actual > 2 * hour + 3 * numpy.sqrt(hour + 1)
    return found


class Quality:
    """Of `n` series. `levels`: of the quantiles that are given, the lowest and the highest bound the interval; one of
    them is 0.5. `decay`: what is left of a sum after each forecast judged."""

    def __init__(self, n: int, levels: Sequence[float], decay: float = 1.0) -> None:
        self._sums = {name: numpy.zeros(n, dtype=numpy.float64) for name in _SUMS}
        self._levels = numpy.array(levels, dtype=numpy.float32)
        self._middle = list(levels).index(0.5)
        self._decay = decay

    def see(
        self,
        rows: NDArray[numpy.int64] | slice,
        actual: Floats,
        mean: Floats,
        quantiles: Floats,
        naive: Floats,
        hour: Floats,
    ) -> None:
        """Forecasts of one minute, of `rows`: all [rows], quantiles [rows, levels]. `naive`: the naive one's."""
        median = quantiles[:, self._middle]
        away = actual[:, None] - quantiles
        rounding = 1e-5 * (1 + actual)  # of float32
        spike = is_spike(actual, hour)
        fresh = {
            "judged": numpy.ones_like(actual),
            "absolute": numpy.abs(actual - median),
            "naive": numpy.abs(actual - naive),
            "squared": (actual - mean) ** 2,
            "count": actual,
            "count_squared": actual.astype(numpy.float64) ** 2,
            "ratio": numpy.abs(actual - median) / numpy.maximum(actual, 1),
            "zeros": actual <= 0,
            "pinball": numpy.maximum(self._levels * away, (self._levels - 1) * away).mean(axis=1),
            "inside": (actual >= quantiles[:, 0] - rounding) & (actual <= quantiles[:, -1] + rounding),
            "spikes": spike,
            "caught": spike & (actual <= quantiles[:, -1] + rounding),
        }
        for name, value in fresh.items():
            self._sums[name][rows] = self._sums[name][rows] * self._decay + value

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        """Begin anew with these series."""
        for sums in self._sums.values():
            sums[rows] = 0

    def of(self, series: int) -> Scores:
        """One series'."""
        return _scores({name: sums[series : series + 1] for name, sums in self._sums.items()})

    def of_all(self) -> Scores:
        """All series together: MASE and MAPE are means over series, the others over forecasts."""
        return _scores(self._sums)


def _scores(sums: dict[str, NDArray[numpy.float64]]) -> Scores:
    some = sums["judged"] > 0
    judged = float(sums["judged"].sum())
    if not some.any():
        return Scores(0.0, None, None, None, None, None, None, 0.0, None)
    scaled = some & (sums["naive"] > 0)
    whole = some & (sums["zeros"] < 1e-9)
    variation = sums["count_squared"][some] - sums["count"][some] ** 2 / sums["judged"][some]
    squared, varied, spikes = float(sums["squared"].sum()), float(variation.sum()), float(sums["spikes"].sum())
    return Scores(
        judged=judged,
        mase=float((sums["absolute"][scaled] / sums["naive"][scaled]).mean()) if scaled.any() else None,
        mape=float((sums["ratio"][whole] / sums["judged"][whole]).mean()) if whole.any() else None,
        rmse=(squared / judged) ** 0.5,
        r2=1 - squared / varied if varied > 1e-9 * judged else None,
        pinball=float(sums["pinball"].sum()) / judged,
        coverage=float(sums["inside"].sum()) / judged,
        spikes=spikes,
        spikes_caught=float(sums["caught"].sum()) / spikes if spikes > 0 else None,
    )
