"""CSV files of traces, parsed at the border: one row a function, one column a minute; and time stamps.

Azure Public Dataset, AzureFunctionsDataset2019 (Shahrad et al., ATC'20): `HashFunction` names the row, minutes are
columns named by consecutive numbers, bare (`480`) or after `minute_`. Rows, counts and bytes are bounded: a trace is
input like any other.
"""

import csv
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.base.errors import Invalid

__all__ = ["MAX_BYTES", "MAX_ROWS", "Counts", "counts_of", "first_line", "read_counts", "rows_by_function", "timestamp"]

MAX_BYTES: Final = 512 * 1024 * 1024  # of one file
MAX_ROWS: Final = 100_000
MAX_COUNT: Final = 10_000_000  # invocations of one function in one minute


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts a minute [f, m] of `f` functions, as a file has them.

    `functions` [f], `lines` [f] where they stand, `others` [f]: what stands in the columns that are no minutes, by
    name. `columns` [m]: the names of those that are; `first` is the number of the first.
    """

    functions: tuple[str, ...]
    lines: tuple[int, ...]
    others: tuple[dict[str, str], ...]
    columns: tuple[str, ...]
    first: int
    counts: NDArray[numpy.int32]


def read_counts(path: Path) -> Counts:
    """Raises `Invalid`: the file, the line and what was expected."""
    columns: list[str] = []
    functions: list[str] = []
    lines: list[int] = []
    others: list[dict[str, str]] = []
    counts: list[NDArray[numpy.int32]] = []
    for key, line, row in rows_by_function(path):
        columns = columns or _minute_columns(path, row)
        counts.append(counts_of(path, line, columns, [row.pop(name) for name in columns]))
        functions.append(key)
        lines.append(line)
        others.append(row)
    if not counts:
        raise Invalid(f"{path}: no rows")
    first = _number(columns[0])
    return Counts(tuple(functions), tuple(lines), tuple(others), tuple(columns), first, numpy.stack(counts))


def rows_by_function(path: Path) -> Iterator[tuple[str, int, dict[str, str]]]:
    """(HashFunction, line, row) of each row of a file, keys unique. Raises `Invalid`."""
    try:
        _check_size(path)
        with path.open(newline="", encoding="utf-8") as file:
            yield from _keyed(path, csv.DictReader(file, strict=True))
    except FileNotFoundError as exc:
        raise Invalid(
            f"{path}: no such file; a trace has invocations.csv, and durations.csv and memory.csv where those are known"
        ) from exc
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise Invalid(f"{path}: cannot be read as CSV: {exc}") from exc


def counts_of(path: Path, line: int, columns: list[str], cells: list[str]) -> NDArray[numpy.int32]:
    """Whole numbers from 0 to MAX_COUNT, of one line. Raises `Invalid` naming the column of the first that is none."""
    whole = "".join(cells)
    if all(cells) and whole.isascii() and whole.isdecimal() and max(map(len, cells)) <= len(str(MAX_COUNT)):
        found = numpy.array(cells).astype(numpy.int32)
        if int(found.max(initial=0)) <= MAX_COUNT:
            return found
    for name, text in zip(columns, cells, strict=True):
        if not (text.isascii() and text.isdecimal() and len(text) <= 20 and int(text) <= MAX_COUNT):
            raise Invalid(f"{path}:{line}: minute {name}: a count up to {MAX_COUNT} was expected, not {text[:20]!r}")
    return numpy.array([int(text) for text in cells], dtype=numpy.int32)  # with zeros before them


def first_line(path: Path) -> str:
    """Up to 200 characters of it: enough to tell layouts apart. Raises `Invalid`."""
    try:
        _check_size(path)
        with path.open(encoding="utf-8") as file:
            return file.readline(200)
    except (OSError, UnicodeDecodeError) as exc:
        raise Invalid(f"{path}: cannot be read: {exc}") from exc


def timestamp(text: str) -> float:
    """Seconds since 1970, of a number of seconds or a time in ISO 8601, in UTC where it says no zone. Raises
    `ValueError`."""
    try:
        return float(text)
    except ValueError:
        at = datetime.datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise Invalid(f"{path}: {size} bytes are over the limit of {MAX_BYTES}")


def _keyed(path: Path, reader: "csv.DictReader[str]") -> Iterator[tuple[str, int, dict[str, str]]]:
    if "HashFunction" not in (reader.fieldnames or ()):
        raise Invalid(f"{path}:1: no column HashFunction in the header")
    seen: set[str] = set()
    for row in reader:
        line = reader.line_num
        if None in row or None in row.values():
            raise Invalid(f"{path}:{line}: {len(reader.fieldnames or ())} columns were expected")
        key = row["HashFunction"]
        if not key or key in seen:
            raise Invalid(f"{path}:{line}: HashFunction is empty or there twice: {key[:12]!r}")
        if len(seen) >= MAX_ROWS:
            raise Invalid(f"{path}:{line}: more than {MAX_ROWS} rows")
        seen.add(key)
        yield key, line, row


def _minute_columns(path: Path, row: dict[str, str]) -> list[str]:
    names = [name for name in row if name.removeprefix("minute_").isdecimal()]
    numbers = [_number(name) for name in names]
    if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise Invalid(f"{path}:1: columns named by consecutive minutes were expected, such as 480, 481, …")
    return names


def _number(column: str) -> int:
    return int(column.removeprefix("minute_"))
