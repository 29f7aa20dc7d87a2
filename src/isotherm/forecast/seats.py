"""Which series have one of the rows there are: the busiest, by running sums of which half is of the last day."""

from collections.abc import Sequence
from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.model import Floats
from isotherm.forecast.window import DAY

__all__ = ["Seats"]

DECAY: Final = 0.5 ** (1 / DAY)  # of the sums, a minute
OUTSIDE: Final = 20  # names without a row that are remembered, for each row
CHANGE_EVERY: Final = 10  # minutes from one exchange to the next
BUSIER: Final = 2.0  # so many times as busy takes a row from another: who came in would otherwise be put out again
AT_ONCE: Final = 0.05  # share of the rows that change hands at most


class Seats:
    """`row_of`: the rows by name."""

    def __init__(self, rows: int) -> None:
        self.row_of: dict[str, int] = {}
        self._rows = rows
        self._sums: Floats = numpy.zeros(rows, dtype=numpy.float32)
        self._free = list(range(rows - 1, -1, -1))
        self._outside: dict[str, tuple[float, int]] = {}  # sum, and the minute up to which it is decayed
        self._minute = 0

    def rows(self, names: Sequence[str]) -> NDArray[numpy.int64]:
        """-1 where a name has none: [len(names)]."""
        row_of = self.row_of
        return numpy.array([row_of.get(name, -1) for name in names], dtype=numpy.int64)

    def vacant(self) -> NDArray[numpy.int64]:
        return numpy.array(self._free, dtype=numpy.int64)

    def take(self, names: Sequence[str], sums: Floats) -> NDArray[numpy.int64]:
        """Give these names free rows, as many as there are of them: the rows taken."""
        taken = []
        for name, total in zip(names, sums.tolist(), strict=True):
            if not self._free:
                break
            row = self._free.pop()
            self.row_of[name], self._sums[row] = row, total
            self._outside.pop(name, None)
            taken.append(row)
        return numpy.array(taken, dtype=numpy.int64)

    def leave(self, names: Sequence[str]) -> NDArray[numpy.int64]:
        """The rows that are free now."""
        left = []
        for name in names:
            self._outside.pop(name, None)
            row = self.row_of.pop(name, None)
            if row is not None:
                left.append(row)
                self._free.append(row)
                self._sums[row] = 0
        return numpy.array(left, dtype=numpy.int64)

    def admit(self, names: Sequence[str], counts: Floats) -> NDArray[numpy.int64]:
        """What came in this minute: the rows that belong to other names now."""
        fresh: dict[str, float] = {}
        for name, count in zip(names, counts.tolist(), strict=True):
            if count > 0 and name not in self.row_of:
                fresh[name] = fresh.get(name, 0) + count
        some = list(fresh)[: len(self._free)]
        entered = self.take(some, numpy.zeros(len(some), dtype=numpy.float32))  # `see` counts this minute
        for name in some:
            del fresh[name]
        for name, count in fresh.items():
            self._outside[name] = self._decayed(name) + count, self._minute
        if len(self._outside) > OUTSIDE * self._rows:
            self._outside = dict(self._busiest_outside()[: OUTSIDE * self._rows // 2])
        if self._outside and self._minute % CHANGE_EVERY == 0:
            return numpy.concatenate([entered, self._exchange()])
        return entered

    def see(self, counts: Floats) -> None:
        """The minute is over: counts [rows]."""
        self._sums *= DECAY
        self._sums += counts
        self._minute += 1

    def _exchange(self) -> NDArray[numpy.int64]:
        """Rows of quiet names for those outside that are surely busier."""
        most = max(1, int(self._rows * AT_ONCE))
        names = {row: name for name, row in self.row_of.items()}
        quietest = sorted(names, key=lambda row: self._sums[row])[:most]
        changed = []
        for (name, (total, _)), row in zip(self._busiest_outside()[:most], quietest, strict=False):
            if total <= BUSIER * float(self._sums[row]):
                break
            before = names[row]
            self._outside[before] = float(self._sums[row]), self._minute
            del self.row_of[before], self._outside[name]
            self.row_of[name], self._sums[row] = row, total
            changed.append(row)
        return numpy.array(changed, dtype=numpy.int64)

    def _busiest_outside(self) -> list[tuple[str, tuple[float, int]]]:
        decayed = [(name, (self._decayed(name), self._minute)) for name in self._outside]
        return sorted(decayed, key=lambda each: -each[1][0])

    def _decayed(self, name: str) -> float:
        total, minute = self._outside.get(name, (0.0, self._minute))
        return float(total * DECAY ** (self._minute - minute))
