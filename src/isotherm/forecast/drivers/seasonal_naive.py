"""The count of the same minute a day or a week ago, whichever was nearer of late; the last hour's mean before that.

Quantiles are those of its own errors over the last day, as ratios (of counts plus one). It is the forecast that all
others have to beat.
"""

from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.drivers.windowed import Windowed
from isotherm.forecast.model import LEVELS, Floats, Prediction
from isotherm.forecast.policy import row_quantiles
from isotherm.forecast.window import DAY, HOUR, WEEK, Window

__all__ = ["SeasonalNaive"]

SEASONS: Final = (DAY, WEEK)
DECAY: Final = 0.5 ** (1 / DAY)  # of the errors that choose the season, a minute
ROWS_AT_ONCE: Final = 1024  # whose quantiles are taken anew in one minute


class SeasonalNaive(Windowed):
    name = "seasonal_naive"

    def join(self, window: Window) -> None:
        self.window = window
        n = window.n
        self._errors = numpy.zeros((len(SEASONS), n), dtype=numpy.float32)
        for index, season in enumerate(SEASONS):
            span = min(DAY, window.minutes - season)
            if span > 0:
                counts = window.counts
                before = counts[:, -span - season : counts.shape[1] - season]
                self._errors[index] = numpy.abs(counts[:, -span:] - before).mean(axis=1)
        self._spread = numpy.zeros((n, len(LEVELS)), dtype=numpy.float32)
        self._hit = numpy.full((n, 2), 0.5, dtype=numpy.float32)  # chance of an arrival where none, one was expected
        self._choose()
        step = 4096
        for start in range(0, n, step):
            self._refresh(slice(start, start + step))

    def follow(self, fresh: int) -> None:
        for ago in range(min(fresh, self.window.minutes), 0, -1):
            for index, season in enumerate(SEASONS):
                if ago + season <= self.window.minutes:
                    error = numpy.abs(self.window.at(ago) - self.window.at(ago + season))
                    self._errors[index] += (1 - DECAY) * (error - self._errors[index])
        self._choose()
        self._refresh(self.rotation(max(1, -(-self.window.n // ROWS_AT_ONCE))))

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        self._errors[:, rows] = 0
        self._spread[rows], self._hit[rows], self._season[rows] = 0, 0.5, 0

    def predict(self, horizon: int) -> Prediction:
        mean = self._expected(slice(None), horizon, 0)
        quantiles = numpy.log1p(mean)[:, :, None] + self._spread[:, None, :]  # ascending, as the errors' are
        numpy.expm1(quantiles, out=quantiles)
        return Prediction(
            first_minute=self.window.now,
            mean=mean,
            quantiles=numpy.maximum(quantiles, 0, out=quantiles),
            any=numpy.where(mean > 0, self._hit[:, 1:], self._hit[:, :1]).astype(numpy.float32),
        )

    def _choose(self) -> None:
        """The season of each series: 0 where it is younger than a day."""
        age = self.window.age
        week = (age >= WEEK + DAY) & (self._errors[1] < self._errors[0])
        self._season: NDArray[numpy.int64] = numpy.where(week, WEEK, numpy.where(age >= DAY + HOUR, DAY, 0))

    def _expected(self, rows: slice, horizon: int, ago: int) -> Floats:
        """What is expected of `horizon` minutes from `ago` minutes before now on: [rows, horizon]."""
        counts = self.window.counts[rows]
        end = counts.shape[1] - ago
        season = self._season[rows]
        recent = (
            counts[:, max(0, end - HOUR) : max(end, 1)].mean(axis=1) if counts.shape[1] else numpy.zeros(len(counts))
        )
        found = numpy.repeat(recent[:, None].astype(numpy.float32), horizon, axis=1)
        for each in SEASONS:
            chosen = numpy.flatnonzero(season == each)
            if len(chosen):
                places = end - each + numpy.arange(horizon) % each
                some = counts if len(chosen) == len(counts) else counts[chosen]
                found[chosen] = some[:, places] if horizon > each else some[:, end - each : end - each + horizon]
        return found

    def _refresh(self, rows: slice) -> None:
        """Quantiles of the errors of these series over the last day, and how often an arrival came."""
        window = self.window
        span = int(min(DAY, window.minutes))
        actual = window.counts[rows][:, window.minutes - span :]
        if span == 0 or len(actual) == 0:
            return
        expected = numpy.repeat(actual.mean(axis=1, keepdims=True), span, axis=1)  # of those without a season
        known = numpy.minimum(window.age[rows], span)
        season = self._season[rows]
        for each in SEASONS:
            chosen = numpy.flatnonzero(season == each)
            if len(chosen):
                there = min(span, window.minutes - each)
                counts = window.counts[rows][chosen]
                expected[chosen, span - there :] = counts[:, window.minutes - each - there : window.minutes - each]
                known[chosen] = numpy.minimum(known[chosen], window.age[rows][chosen] - each)
        there_is = numpy.arange(span)[None, :] >= (span - known)[:, None]
        errors = numpy.log1p(actual) - numpy.log1p(expected)
        errors[~there_is] = numpy.nan
        self._spread[rows] = row_quantiles(errors)
        came = (actual > 0) & there_is
        for index, group in enumerate(((expected <= 0) & there_is, (expected > 0) & there_is)):
            self._hit[rows, index] = ((came & group).sum(axis=1) + 0.5) / (group.sum(axis=1) + 1)
