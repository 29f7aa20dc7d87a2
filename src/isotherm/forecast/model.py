"""What forecasters take and give: counts a minute of many series, and what is expected of the minutes to come."""

from dataclasses import dataclass
from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.base.errors import Invalid

__all__ = ["LEVELS", "Floats", "Histories", "Prediction"]

Floats = NDArray[numpy.float32]
LEVELS: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)  # of quantiles, ascending


@dataclass(frozen=True, slots=True)
class Histories:
    """Counts a minute of `n` series over the same `m` minutes.

    `counts`: float32 [n, m], oldest first, no negative and no NaN. `since` [n]: the column at which a series begins to
    exist; what is before it is zero and says nothing. `first_minute`: minutes since 1970 of column 0, in UTC.
    Raises `Invalid` where shapes or values do not fit.
    """

    counts: Floats
    first_minute: int
    since: NDArray[numpy.int32]

    def __post_init__(self) -> None:
        if self.counts.ndim != 2 or self.since.shape != (self.counts.shape[0],):
            raise Invalid(f"histories of the shape {self.counts.shape} with beginnings of the shape {self.since.shape}")
        if not numpy.isfinite(self.counts).all() or (self.counts < 0).any():
            raise Invalid("counts of a history are negative or not finite")

    @property
    def now(self) -> int:
        """The first minute that is not known: minutes since 1970."""
        return self.first_minute + int(self.counts.shape[1])

    def until(self, column: int) -> "Histories":
        """What was known before that column: for backtests that see nothing after it."""
        return Histories(self.counts[:, :column], self.first_minute, self.since)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is expected of the `h` minutes from `first_minute` on.

    `mean`: float32 [n, h], arrivals in each minute. `quantiles`: float32 [n, h, len(LEVELS)], ascending along the last
    axis. `any`: float32 [n, h], the probability that at least one arrival falls into that minute.
    """

    first_minute: int
    mean: Floats
    quantiles: Floats
    any: Floats
