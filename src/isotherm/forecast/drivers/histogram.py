"""Forecasts of sparse series from their idle times (Shahrad et al., Serverless in the Wild, ATC'20, section 4).

The chance of an arrival in a minute is the hazard of the series' idle times, given how long it has been idle. The
histogram of all series together stands in as far as the own one is thin.
"""

from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.drivers.windowed import Windowed
from isotherm.forecast.idle_times import BINS, NEVER, IdleTimes, Sizes
from isotherm.forecast.model import Floats, Prediction
from isotherm.forecast.policy import hurdle_quantiles, renewals
from isotherm.forecast.window import Window

__all__ = ["Histogram"]

STRENGTH: Final = 4.0  # idle times that the common histogram counts for
ROWS: Final = 8192  # at a time, so that what is worked with stays small


class Histogram(Windowed):
    name = "histogram"

    def join(self, window: Window) -> None:
        self.window = window
        self.idle_times = IdleTimes.of(window)
        self.sizes = Sizes(window)
        self._pool()

    def follow(self, fresh: int) -> None:
        for ago in range(min(fresh, self.window.minutes), 0, -1):
            self.idle_times.see(self.window.now - ago, self.window.at(ago))
            self.sizes.see(self.window.at(ago))
        self._pool()

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        self.idle_times.forget(rows)
        self.sizes.forget(rows)

    def predict(self, horizon: int) -> Prediction:
        n = self.window.n
        any_ = numpy.zeros((n, horizon), dtype=numpy.float32)
        for start in range(0, n, ROWS):
            any_[start : start + ROWS] = self._any(slice(start, min(n, start + ROWS)), horizon)
        log_mean, log_sd = self.sizes.mean[:, None], numpy.sqrt(self.sizes.variance)[:, None]
        return Prediction(
            first_minute=self.window.now,
            mean=any_ * self.sizes.typical[:, None],
            quantiles=hurdle_quantiles(any_, log_mean, log_sd),
            any=any_,
        )

    def _pool(self) -> None:
        """What idle times are like over all series: each counts alike, however busy it is."""
        idle = self.idle_times
        total = idle.counts.sum(axis=1) + idle.oob
        weight = numpy.where(total > 0, 1 / numpy.maximum(total, 1), 0).astype(numpy.float32)
        pooled = numpy.append(weight @ idle.counts, weight @ idle.oob) + 1 / BINS
        pooled[0] = 0
        self._common = (pooled / pooled.sum()).astype(numpy.float32)  # [BINS + 1], the last: out of bounds

    def _any(self, rows: slice, horizon: int) -> Floats:
        idle = self.idle_times
        own = numpy.concatenate([idle.counts[rows], idle.oob[rows, None]], axis=1)
        weight = own + STRENGTH * self._common
        chance = weight / weight.sum(axis=1, keepdims=True)
        chance = _drawn_out(chance, horizon)
        waited = numpy.minimum(idle.idle(self.window.now)[rows], chance.shape[1] - horizon - 1)
        beyond = 1 - chance.cumsum(axis=1)  # [.., g]: longer than g minutes
        places = waited[:, None] + numpy.arange(horizon)[None, :]
        left = numpy.take_along_axis(beyond, waited[:, None] - 1, 1)
        first = numpy.take_along_axis(chance, places, 1) / numpy.maximum(left, 1e-6)
        first[idle.last[rows] == NEVER] = 0
        fresh = chance[:, 1 : horizon + 1]
        return renewals(numpy.clip(first, 0, 1).astype(numpy.float32), numpy.ascontiguousarray(fresh))


def _drawn_out(chance: Floats, horizon: int) -> Floats:
    """Bins with those out of bounds spread behind them, geometrically with a mean of the histogram's range: so a series
    that has been idle for longer still has a chance: [rows, bins + what is behind]."""
    behind = 2 * BINS + horizon
    decay = 1 - 1 / BINS
    tail = (1 - decay) * decay ** numpy.arange(behind, dtype=numpy.float32)
    drawn = chance[:, -1:] * tail[None, :]
    found: Floats = numpy.concatenate([chance[:, :-1], drawn], axis=1).astype(numpy.float32)
    return found
