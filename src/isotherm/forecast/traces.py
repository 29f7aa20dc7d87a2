"""Histories from files: the layouts of the Azure Functions traces, and one series by time stamps.

`tables` has the first. The other has a row a minute, with `period` (ISO 8601, UTC) and `count`.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy

from isotherm.base.errors import Invalid
from isotherm.forecast.model import Histories
from isotherm.forecast.tables import counts_of, first_line, read_counts, timestamp

__all__ = ["read_trace"]

MAX_MINUTES: Final = 16_000_000  # of a series by time stamps, from the first to the last
DAY_OF_TRACE: Final = 26_052_480  # 2019-07-15T00:00Z, a Monday: the traces give times of day without a date
MINUTE_S: Final = 60


def read_trace(path: Path) -> Histories:
    """Of a file, or of `invocations.csv` in a folder. Raises `Invalid`: the file, the line and what was expected."""
    file = path / "invocations.csv" if path.is_dir() else path
    if first_line(file).strip() == "period,count":
        return _by_time(file)
    found = read_counts(file)
    first = found.first - (1 if found.columns[0].startswith("minute_") or found.first == 1 else 0)
    since = numpy.zeros(len(found.functions), dtype=numpy.int32)
    return Histories(found.counts.astype(numpy.float32), DAY_OF_TRACE + first, since)


def _by_time(file: Path) -> Histories:
    """One series; minutes that are missing get what lies between their neighbours."""
    minutes: list[int] = []
    counts: list[int] = []
    for line, at, count in _rows(file):
        if minutes and not minutes[-1] < at <= minutes[0] + MAX_MINUTES:
            raise Invalid(f"{file}:{line}: the time is not after that of the line before, or too far from the first")
        minutes.append(at)
        counts.append(count)
    if not minutes:
        raise Invalid(f"{file}: no rows")
    whole = numpy.interp(numpy.arange(minutes[0], minutes[-1] + 1), minutes, counts).astype(numpy.float32)
    return Histories(whole[None, :], minutes[0], numpy.zeros(1, dtype=numpy.int32))


def _rows(file: Path) -> Iterator[tuple[int, int, int]]:
    """(line, minute since 1970, count) of each row."""
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = csv.reader(lines, strict=True)
            next(rows)
            for row in rows:
                if len(row) != 2:
                    raise Invalid(f"{file}:{rows.line_num}: {len(row)} columns, expected period,count")
                try:
                    minute = int(timestamp(row[0]) // MINUTE_S)
                except (ValueError, OverflowError) as exc:
                    raise Invalid(f"{file}:{rows.line_num}: {row[0][:40]!r} is not a time in ISO 8601") from exc
                yield rows.line_num, minute, int(counts_of(file, rows.line_num, ["count"], [row[1]])[0])
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise Invalid(f"{file}: cannot be read as CSV: {exc}") from exc
