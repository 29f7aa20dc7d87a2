"""A rolling origin: fit on the beginning, then minute by minute forecast, and go on with what came."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from isotherm.base.errors import Invalid
from isotherm.forecast.model import LEVELS, Floats, Histories
from isotherm.forecast.port import Forecaster
from isotherm.forecast.quality import Quality, Scores
from isotherm.forecast.window import DAY, HOUR

__all__ = ["Outcome", "backtest"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a forecaster said at `o` origins of `n` series at `l` leads, and what came.

    `origins` [o]: columns, each the first that the forecast did not know. `actual`, `mean`, `naive` and `hour`
    [l, o, n]; `quantiles` [l, o, n, LEVELS].
    """

    leads: tuple[int, ...]
    origins: list[int]
    actual: Floats
    mean: Floats
    quantiles: Floats
    naive: Floats  # the count of a day before, or the last one known where there is no day
    hour: Floats  # the mean of the hour before the origin

    def losses(self, lead: int) -> Floats:
        """Pinball losses, the mean over levels: [o, n]."""
        index = self.leads.index(lead)
        away = self.actual[index][:, :, None] - self.quantiles[index]
        levels = numpy.array(LEVELS, dtype=numpy.float32)
        found: Floats = numpy.maximum(levels * away, (levels - 1) * away).mean(axis=2)
        return found

    def errors(self, lead: int) -> Floats:
        """Absolute errors of the median: [o, n]."""
        index = self.leads.index(lead)
        found: Floats = numpy.abs(self.actual[index] - self.quantiles[index][:, :, LEVELS.index(0.5)])
        return found

    def scores(self, lead: int) -> Scores:
        """All series together."""
        return self.quality(lead).of_all()

    def quality(self, lead: int) -> Quality:
        """Of each series. The interval is that of the outermost levels but the last: 0.1 to 0.9 is levels 0 and 4."""
        index = self.leads.index(lead)
        judged = [LEVELS.index(level) for level in (0.1, 0.25, 0.5, 0.75, 0.9)]
        found = Quality(self.actual.shape[2], [LEVELS[each] for each in judged])
        for o in range(len(self.origins)):
            found.see(
                slice(None),
                self.actual[index, o],
                self.mean[index, o],
                self.quantiles[index, o][:, judged],
                self.naive[index, o],
                self.hour[index, o],
            )
        return found


def backtest(
    forecaster: Forecaster,
    histories: Histories,
    start: int,
    leads: Sequence[int],
    every: int = 1,
    end: int | None = None,
) -> Outcome:
    """Fit on the columns before `start`, then forecast every so many minutes up to `end` (exclusive; default: all).

    The forecaster is given nothing from the origin on. Raises `Invalid` where nothing is left to forecast.
    """
    counts = histories.counts
    end = counts.shape[1] if end is None else end
    furthest = max(leads)
    origins = list(range(start, end - furthest + 1, every))
    if start < 1 or not origins:
        raise Invalid(f"nothing to forecast from minute {start} to {end} at a lead of {furthest}")
    shape = (len(leads), len(origins), counts.shape[0])
    actual, mean, naive, hour = (numpy.zeros(shape, dtype=numpy.float32) for _ in range(4))
    quantiles = numpy.zeros((*shape, len(LEVELS)), dtype=numpy.float32)
    forecaster.fit(histories.until(start))
    for o, origin in enumerate(origins):
        prediction = forecaster.predict(furthest)
        for index, lead in enumerate(leads):
            column = origin + lead - 1
            actual[index, o] = counts[:, column]
            mean[index, o] = prediction.mean[:, lead - 1]
            quantiles[index, o] = prediction.quantiles[:, lead - 1]
            naive[index, o] = counts[:, column - DAY] if column >= DAY and lead <= DAY else counts[:, origin - 1]
            hour[index, o] = counts[:, max(0, origin - HOUR) : origin].mean(axis=1)
        if origin + every <= counts.shape[1]:
            forecaster.update(counts[:, origin : origin + every].copy())
    return Outcome(tuple(leads), origins, actual, mean, quantiles, naive, hour)
