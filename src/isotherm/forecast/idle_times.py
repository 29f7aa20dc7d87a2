"""Histograms of idle times: how many minutes pass between two minutes with arrivals, per series; and what is cut off.

Shahrad et al., Serverless in the Wild, ATC'20, section 4.2: bins of a minute up to four hours, and a count of those
that are longer (out of bounds).
"""

from dataclasses import dataclass
from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.model import Floats
from isotherm.forecast.window import DAY, Window

__all__ = ["BINS", "NEVER", "IdleTimes", "Sizes", "Windows", "windows"]

BINS: Final = 241  # bin g: g minutes from one minute with arrivals to the next; bin 0 stays empty
NEVER: Final = -1
HEAD: Final = 0.05
TAIL: Final = 0.99
MARGIN: Final = 0.10  # taken off the head and put onto the tail
REPRESENTATIVE: Final = 2.0  # the least coefficient of variation of the bins' counts
MOST_OOB: Final = 0.5  # share of idle times out of bounds, beyond which the histogram says nothing


@dataclass(slots=True)
class IdleTimes:
    """Of `n` series, in place as minutes pass.

    `counts`: float32 [n, BINS], or as many bins as were asked for. `oob`: float32 [n], longer than the last bin.
    `last`: the last minute (since 1970) with arrivals, -1 where there was none.
    """

    counts: Floats
    oob: Floats
    last: NDArray[numpy.int64]

    @classmethod
    def empty(cls, n: int, bins: int = BINS) -> "IdleTimes":
        """Of series that nothing is known of. `bins`: one more than the minutes that are told apart."""
        return cls(
            counts=numpy.zeros((n, bins), dtype=numpy.float32),
            oob=numpy.zeros(n, dtype=numpy.float32),
            last=numpy.full(n, NEVER, dtype=numpy.int64),
        )

    @classmethod
    def of(cls, window: Window) -> "IdleTimes":
        """From all that the window holds."""
        n = window.n
        rows, columns = numpy.nonzero(window.counts)  # by series, and then by minute
        last = numpy.full(n, NEVER, dtype=numpy.int64)
        last[rows] = window.first_minute + columns  # of the same series the latest is written last
        same = rows[1:] == rows[:-1]
        of, gaps = rows[1:][same], numpy.diff(columns)[same]
        inside = gaps < BINS
        counts = numpy.bincount(of[inside] * BINS + gaps[inside], minlength=n * BINS).reshape(n, BINS)
        oob = numpy.bincount(of[~inside], minlength=n)
        return cls(counts=counts.astype(numpy.float32), oob=oob.astype(numpy.float32), last=last)

    def see(self, minute: int, counts: Floats) -> None:
        """One minute more: `counts` [n]."""
        active = numpy.flatnonzero(counts)
        if len(active) == 0:
            return
        known = active[self.last[active] != NEVER]
        gaps = minute - self.last[known]
        inside = gaps < self.counts.shape[1]
        self.counts[known[inside], gaps[inside]] += 1
        self.oob[known[~inside]] += 1
        self.last[active] = minute

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        """Begin anew with these."""
        self.counts[rows], self.oob[rows], self.last[rows] = 0, 0, NEVER

    def idle(self, now: int) -> NDArray[numpy.int64]:
        """Minutes from the last one with arrivals to `now`, which has not been seen yet: [n], 1 at least."""
        return now - self.last


class Sizes:
    """How many arrivals come in a minute that has any: mean and variance of the logarithm [n], of the last 64 or so."""

    def __init__(self, window: Window) -> None:
        recent = window.last(DAY)
        active = recent > 0
        self._seen = active.sum(axis=1).astype(numpy.float32)
        logs = numpy.log(numpy.where(active, recent, 1))
        times = numpy.maximum(self._seen, 1)
        self.mean = (logs.sum(axis=1) / times).astype(numpy.float32)
        squares = numpy.einsum("ij,ij->i", logs, logs) / times
        self.variance = numpy.maximum(squares - self.mean**2, 0).astype(numpy.float32)

    def see(self, counts: Floats) -> None:
        """One minute more: `counts` [n]."""
        active = numpy.flatnonzero(counts)
        self._seen[active] += 1
        share = numpy.maximum(1 / self._seen[active], 1 / 64).astype(numpy.float32)
        away = numpy.log(counts[active]) - self.mean[active]
        self.mean[active] += share * away
        self.variance[active] = (1 - share) * (self.variance[active] + share * away * away)

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        """Begin anew with these."""
        self._seen[rows], self.mean[rows], self.variance[rows] = 0, 0, 0

    @property
    def typical(self) -> Floats:
        """The mean of the counts themselves, were they log-normal."""
        found: Floats = numpy.exp(self.mean + numpy.minimum(self.variance, 4) / 2)
        return found


@dataclass(frozen=True, slots=True)
class Windows:
    """What a policy takes from idle times, each [k]: hold from `start` to `until` minutes after an arrival (`start` 1:
    never unload). `sure`: by the series' own histogram; else it is the fallback."""

    start: NDArray[numpy.int32]
    until: NDArray[numpy.int32]
    sure: NDArray[numpy.bool_]


def windows(
    idle: IdleTimes,
    rows: NDArray[numpy.int64] | slice = slice(None),
    *,
    head: float = HEAD,
    tail: float = TAIL,
    margin: float = MARGIN,
    variation: float = REPRESENTATIVE,
) -> Windows:
    """The paper's windows of some series: its head and tail cut-offs, test of representativeness, and fallback."""
    counts, oob = idle.counts[rows], idle.oob[rows].astype(numpy.float64)
    total = counts.sum(axis=1, dtype=numpy.float64)
    cumulated = counts.cumsum(axis=1, dtype=numpy.float64)
    first = _cut(cumulated, head * total)
    last = _cut(cumulated, tail * total)
    bins = counts.shape[1] - 1
    mean = total / bins
    squares = numpy.einsum("ij,ij->i", counts, counts, dtype=numpy.float64) / bins
    spread = numpy.sqrt(numpy.maximum(squares - mean**2, 0))  # bin 0 is empty: it adds nothing to the squares
    sure = (total > 0) & (spread >= variation * mean) & (oob <= MOST_OOB * (total + oob))
    start = numpy.where(sure, numpy.maximum((first * (1 - margin)).astype(numpy.int32), 1), 1)
    until = numpy.where(sure, numpy.ceil(last * (1 + margin)), bins)
    return Windows(start.astype(numpy.int32), until.astype(numpy.int32), sure)


def _cut(cumulated: NDArray[numpy.float64], rank: NDArray[numpy.float64]) -> NDArray[numpy.int64]:
    """The first bin at which so many have been counted, and any: [k]."""
    found: NDArray[numpy.int64] = ((cumulated < rank[:, None]) | (cumulated == 0)).sum(axis=1)
    numpy.minimum(found, cumulated.shape[1] - 1, out=found)
    return found
