"""What forecasters share that look at a window of the past: alone each has its own; in a mixture they share one."""

from abc import ABC, abstractmethod

import numpy
from numpy.typing import NDArray

from isotherm.forecast.model import Floats, Histories, Prediction
from isotherm.forecast.window import Window

__all__ = ["Windowed"]


class Windowed(ABC):
    """A forecaster that follows a window: by `fit` and `update` its own, by `join` and `follow` somebody else's."""

    name: str
    window: Window

    def fit(self, histories: Histories) -> None:
        self.join(Window(histories))

    def update(self, counts: Floats) -> None:
        self.window.append(counts)
        self.follow(counts.shape[1])

    @abstractmethod
    def join(self, window: Window) -> None:
        """Learn from what the window holds, from the beginning."""

    @abstractmethod
    def follow(self, fresh: int) -> None:
        """The window has gone on by `fresh` minutes."""

    @abstractmethod
    def forget(self, rows: NDArray[numpy.int64]) -> None:
        """These rows of the window were replaced by series that begin now, or by none."""

    @abstractmethod
    def predict(self, horizon: int) -> Prediction:
        """Of the next `horizon` minutes."""

    def rotation(self, shares: int) -> slice:
        """The series whose turn it is in this minute, of `shares` turns: what is dear is done for a part at a time."""
        return slice(self.window.now % shares, None, shares)
