"""What every forecaster can do."""

from typing import Protocol

from isotherm.forecast.model import Floats, Histories, Prediction

__all__ = ["Forecaster"]


class Forecaster(Protocol):
    """Forecasts thousands of series at once. What it has seen ends where the last `fit` or `update` ended."""

    name: str

    def fit(self, histories: Histories) -> None:
        """Learn from the beginning. What needs long training does it elsewhere, and loads its result here."""

    def update(self, counts: Floats) -> None:
        """Go on with the minutes that have passed since: float32 [n, k]. Cheap: called at every tick."""

    def predict(self, horizon: int) -> Prediction:
        """Of the next `horizon` minutes, from what has been seen so far."""
