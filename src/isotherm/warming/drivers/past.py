"""What is remembered of each workload's calls: the gaps between its active minutes, and which minutes were active."""

from typing import NamedTuple

import numpy
from numpy.typing import NDArray

from isotherm.warming.drivers.compiled import compiled

__all__ = ["GAPS", "MINUTES", "Past", "amend", "forget", "observe"]

GAPS = 64  # the last ones of a workload; a power of two, too
MINUTES = 2048  # that are remembered as active or not; a power of two, so that a place in the ring costs one operation
Integers = NDArray[numpy.int32]


class Past(NamedTuple):
    """Of `n` workloads, changed in place by `observe`. A gap is the difference of two active minutes, 1 or more."""

    last: Integers  # [n], the last active minute; -1 where there is none yet
    first: Integers  # [n]
    calls: Integers  # [n], in the last active minute
    gap_count: Integers  # [n], all that there were
    gaps: Integers  # [n, GAPS], a ring: gap number k is at k mod GAPS
    active: NDArray[numpy.uint8]  # [n, MINUTES], a ring: minute m is at m mod MINUTES

    @classmethod
    def empty(cls, n: int) -> "Past":
        return cls(
            numpy.full(n, -1, numpy.int32),
            numpy.full(n, -1, numpy.int32),
            numpy.zeros(n, numpy.int32),
            numpy.zeros(n, numpy.int32),
            numpy.zeros((n, GAPS), numpy.int32),
            numpy.zeros((n, MINUTES), numpy.uint8),
        )

    def enlarged(self, n: int) -> "Past":
        """The same, with room for `n` workloads."""
        more = Past.empty(n - len(self.last))
        return Past._make(numpy.concatenate([old, new]) for old, new in zip(self, more, strict=True))

    def only(self, rows: NDArray[numpy.int64]) -> "Past":
        """A copy of what is remembered of these."""
        return Past._make(each[rows] for each in self)


def forget(past: Past, row: int) -> None:
    """A place that another workload may take."""
    past.last[row] = past.first[row] = -1
    past.calls[row] = past.gap_count[row] = 0
    past.gaps[row] = past.active[row] = 0


@compiled
def observe(past: Past, minute: int, counts: Integers) -> None:
    """Take in the calls of a minute that is over, [n]. Minutes come in order, none left out."""
    for i in range(len(counts)):
        past.active[i, minute & (MINUTES - 1)] = 1 if counts[i] > 0 else 0
        if counts[i] > 0:
            _saw(past, i, minute, counts[i])


@compiled
def amend(past: Past, minute: int, counts: Integers) -> None:
    """Take in calls of a minute that was observed already, [n]: what came late of the last one. Of an older minute it
    is only noted that it was active."""
    for i in range(len(counts)):
        if counts[i] == 0:
            continue
        past.active[i, minute & (MINUTES - 1)] = 1
        if past.last[i] == minute:
            past.calls[i] += counts[i]
        elif past.last[i] < minute:
            _saw(past, i, minute, counts[i])


@compiled
def _saw(past: Past, i: int, minute: int, calls: int) -> None:
    """A minute later than the last active one of workload `i` was active."""
    if past.last[i] >= 0:
        past.gaps[i, past.gap_count[i] & (GAPS - 1)] = minute - past.last[i]
        past.gap_count[i] += 1
    else:
        past.first[i] = minute
    past.last[i] = minute
    past.calls[i] = calls
