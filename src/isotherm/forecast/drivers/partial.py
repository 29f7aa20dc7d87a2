"""Forecasters of some series alone, the busiest: alone they leave the others to the seasonal naive forecast."""

from abc import abstractmethod

import numpy
from numpy.typing import NDArray

from isotherm.forecast.drivers.seasonal_naive import SeasonalNaive
from isotherm.forecast.drivers.windowed import Windowed
from isotherm.forecast.model import Floats, Histories, Prediction
from isotherm.forecast.window import DAY, Window

__all__ = ["Partial", "busiest"]


class Partial(Windowed):
    """`part` forecasts the series `rows`, in this order."""

    rows: NDArray[numpy.int64]
    _rest: SeasonalNaive

    @abstractmethod
    def part(self, horizon: int) -> Prediction:
        """Of the series `rows` alone."""

    def fit(self, histories: Histories) -> None:
        super().fit(histories)
        self._rest = SeasonalNaive()
        self._rest.join(self.window)

    def update(self, counts: Floats) -> None:
        super().update(counts)
        self._rest.follow(counts.shape[1])

    def predict(self, horizon: int) -> Prediction:
        whole = self._rest.predict(horizon)
        if len(self.rows):
            part = self.part(horizon)
            whole.mean[self.rows] = part.mean
            whole.quantiles[self.rows] = part.quantiles
            whole.any[self.rows] = part.any
        return whole


def busiest(window: Window, most: int, active: float) -> NDArray[numpy.int64]:
    """The series with the most arrivals in the last day, of those with some in at least this share of its minutes."""
    day = window.last(DAY)
    if day.shape[1] == 0:
        return numpy.zeros(0, dtype=numpy.int64)
    known = numpy.clip(window.age, 1, day.shape[1])
    often = numpy.flatnonzero((day > 0).sum(axis=1) >= active * known)
    if len(often) > most:
        total = day[often].sum(axis=1)
        often = often[numpy.argpartition(-total, most - 1)[:most]]
    return numpy.sort(often)
