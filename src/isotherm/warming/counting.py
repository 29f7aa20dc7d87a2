"""Calls as they are told of, by minute: what is known when a minute is about to end, and what comes late of it."""

from array import array
from dataclasses import dataclass, field

import numpy

from isotherm.forecast.model import Histories
from isotherm.warming.model import Doubles, Integers

__all__ = ["Counted", "Counting", "Series"]


@dataclass(slots=True)
class Counted:
    """One minute of rows [n]: calls, seconds that they ran, and how many of the calls were taken already."""

    calls: Integers
    busy_s: Doubles
    taken: Integers
    revisions: dict[int, dict[str, int]] = field(default_factory=dict)  # calls by row and revision

    def take(self) -> tuple[Integers, Doubles]:
        """(calls, seconds) since this was asked last."""
        fresh = self.calls - self.taken
        busy_s = numpy.where(fresh > 0, self.busy_s, 0.0)
        self.busy_s[:] = 0.0
        self.taken[:] = self.calls
        return fresh, busy_s


class Counting:
    """Of rows [n], the last minutes."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._minutes: dict[int, Counted] = {}

    def add(self, minute: int, row: int, revision_id: str, calls: int, busy_s: float) -> None:
        counted = self.of(minute)
        counted.calls[row] += calls
        counted.busy_s[row] += busy_s
        by_revision = counted.revisions.setdefault(row, {})
        by_revision[revision_id] = by_revision.get(revision_id, 0) + calls

    def of(self, minute: int) -> Counted:
        found = self._minutes.get(minute)
        if found is None:
            empty = numpy.zeros(self._n, numpy.int32)
            found = self._minutes[minute] = Counted(empty, numpy.zeros(self._n), empty.copy())
        return found

    def enlarge(self, n: int) -> None:
        more = n - self._n
        self._n = n
        for each in self._minutes.values():
            for name in ("calls", "busy_s", "taken"):
                before = getattr(each, name)
                setattr(each, name, numpy.concatenate([before, numpy.zeros(more, before.dtype)]))

    def forget(self, row: int) -> None:
        for each in self._minutes.values():
            each.calls[row] = each.busy_s[row] = each.taken[row] = 0
            each.revisions.pop(row, None)

    def drop(self, before: int) -> None:
        """Minutes that are of no more interest."""
        for minute in [each for each in self._minutes if each < before]:
            del self._minutes[minute]


class Series:
    """Counts of many rows in [first, end) minutes, as they are read one by one."""

    def __init__(self, first: int, end: int) -> None:
        self._first, self._end = first, end
        self._rows, self._minutes, self._calls = array("i"), array("i"), array("i")

    def add(self, row: int, minute: int, calls: int) -> None:
        self._rows.append(row)
        self._minutes.append(minute - self._first)
        self._calls.append(calls)

    def busiest(self, names: dict[int, str], limit: int) -> tuple[list[str], Histories]:
        """The rows with most calls, at most `limit`, by their names; each exists since its first call."""
        rows, minutes, calls = (
            numpy.frombuffer(each, numpy.int32) for each in (self._rows, self._minutes, self._calls)
        )
        sums = numpy.bincount(rows, calls) if len(rows) else numpy.zeros(0)
        chosen = [int(row) for row in numpy.argsort(-sums, kind="stable")[:limit] if sums[row] and int(row) in names]
        place = numpy.full(max(len(sums), 1), -1)
        place[chosen] = numpy.arange(len(chosen))
        counts = numpy.zeros((len(chosen), self._end - self._first), numpy.float32)
        mine = place[rows] >= 0
        numpy.add.at(counts, (place[rows[mine]], minutes[mine]), calls[mine])
        since = (counts > 0).argmax(axis=1).astype(numpy.int32)
        return [names[row] for row in chosen], Histories(counts, self._first, since)
