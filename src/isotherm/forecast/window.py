"""The last minutes of all series: one array of bounded size, that goes on minute by minute."""

from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.base.errors import Invalid
from isotherm.forecast.model import Floats, Histories

__all__ = ["DAY", "HOUR", "MOST", "NEVER", "WEEK", "Window"]

HOUR: Final = 60
DAY: Final = 1440
WEEK: Final = 7 * DAY
MOST: Final = 2 * WEEK + DAY  # minutes kept where memory allows
LEAST: Final = DAY + 4 * HOUR  # minutes kept always
BUDGET_BYTES: Final = 400 * 1024 * 1024
NEVER: Final = 1 << 40  # the minute since which a row exists that is no series at present


class Window:
    """What is known of `n` series: at most `capacity` minutes, fewer the more series there are.

    The array has a quarter more room than it keeps; when that is used up, what is kept moves to its beginning. So a
    minute costs one column, and what is kept is always one piece.
    """

    def __init__(self, histories: Histories, budget_bytes: int = BUDGET_BYTES, most: int = MOST) -> None:
        n, m = histories.counts.shape
        affordable = budget_bytes // (4 * max(n, 1))
        self.capacity = max(LEAST, min(most, affordable * 4 // 5))
        kept = int(min(m, self.capacity))
        self._room: Floats = numpy.zeros((n, self.capacity + self.capacity // 4), dtype=numpy.float32)
        self._room[:, :kept] = histories.counts[:, m - kept :]
        self._end = kept
        self._kept: int = kept
        self.now = histories.now
        self.since: NDArray[numpy.int64] = histories.first_minute + histories.since.astype(numpy.int64)
        self._newest = int(self.since.max(initial=0))

    @property
    def n(self) -> int:
        return int(self._room.shape[0])

    @property
    def minutes(self) -> int:
        """How many are kept at present."""
        return self._kept

    @property
    def counts(self) -> Floats:
        """[n, minutes], oldest first, up to `now`: a view, good until the next `append`."""
        return self._room[:, self._end - self._kept : self._end]

    @property
    def first_minute(self) -> int:
        return self.now - self._kept

    @property
    def age(self) -> NDArray[numpy.int64]:
        """Minutes that each series has existed, as far as it is kept: [n]."""
        return numpy.clip(self.now - self.since, 0, self._kept)

    def last(self, minutes: int) -> Floats:
        """The last so many, or as many as there are: a view."""
        return self._room[:, self._end - min(minutes, self._kept) : self._end]

    def at(self, ago: int) -> Floats:
        """The count `ago` minutes before `now` (1: the last one): [n]; zeros where that is not known."""
        if not 1 <= ago <= self._kept:
            return numpy.zeros(self.n, dtype=numpy.float32)
        return self._room[:, self._end - ago]

    def append(self, counts: Floats) -> None:
        """Go on by the minutes of `counts` [n, k]. Raises `Invalid` where they do not fit, and changes nothing then."""
        self.check(counts)
        k = counts.shape[1]
        fresh = counts[:, max(0, k - self.capacity) :]
        if self._end + fresh.shape[1] > self._room.shape[1]:
            keep = min(self._kept, self.capacity - fresh.shape[1])
            self._room[:, :keep] = self._room[:, self._end - keep : self._end].copy()
            self._end = self._kept = keep
        self._room[:, self._end : self._end + fresh.shape[1]] = fresh
        self._end += fresh.shape[1]
        self._kept = min(self.capacity, self._kept + fresh.shape[1])
        self.now += k

    def existed(self, minute: int) -> NDArray[numpy.bool_] | None:
        """Which series there were at that minute: [n]. None where it was all of them."""
        if minute >= self._newest:
            return None
        found: NDArray[numpy.bool_] = self.since <= minute
        return None if found.all() else found

    def replace(self, rows: NDArray[numpy.int64], since: int) -> None:
        """These rows are other series from `since` on, of which nothing is known; `NEVER`: none."""
        self._room[rows] = 0
        self.since[rows] = since
        self._newest = int(self.since.max(initial=0))

    def check(self, counts: Floats) -> None:
        """Raises `Invalid` where these are not counts of the series."""
        if counts.ndim != 2 or counts.shape[0] != self.n:
            raise Invalid(f"counts of the shape {counts.shape} for {self.n} series")
        if not (numpy.isfinite(counts).all() and (counts >= 0).all()):
            raise Invalid("counts are negative or not finite")
