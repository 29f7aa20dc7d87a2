"""Azure Functions 2019 (Shahrad et al., ATC'20): `invocations.csv`, `durations.csv` and `memory.csv` in a folder.

Column names and units: https://github.com/Azure/AzurePublicDataset/blob/master/AzureFunctionsDataset2019.md
The three join on `HashFunction`. Rows, columns and bytes are bounded: a trace is input like any other.
"""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from isotherm.base.errors import Invalid
from isotherm.replay.model import Distribution, Trace, TraceRow

__all__ = ["MAX_BYTES", "MAX_ROWS", "read_azure2019"]

MAX_BYTES = 512 * 1024 * 1024  # of one file
MAX_ROWS = 100_000
MAX_COUNT = 10_000_000  # invocations of one function in one minute
DURATION_MARKS = (0, 1, 25, 50, 75, 99, 100)
MEMORY_MARKS = (1, 5, 25, 50, 75, 95, 99, 100)


def read_azure2019(folder: Path) -> Trace:
    """The trace in a folder. Raises `Invalid` naming the file, the line and what was expected."""
    durations = {key: _duration(line, row) for key, line, row in _rows(folder / "durations.csv")}
    memory = {key: _memory(line, row) for key, line, row in _rows(folder / "memory.csv")}
    path = folder / "invocations.csv"
    minutes: list[str] = []
    rows: list[TraceRow] = []
    for key, line, row in _rows(path):
        minutes = minutes or _minutes(path, row)
        if key not in durations or key not in memory:
            other = "durations.csv" if key not in durations else "memory.csv"
            raise Invalid(f"{path}:{line}: function {key[:12]} is missing in {other}")
        rows.append(
            TraceRow(
                owner=row.get("HashOwner") or "",
                app=row.get("HashApp") or "",
                function=key,
                trigger=row.get("Trigger") or "",
                counts=tuple(_count(path, line, minute, row[minute]) for minute in minutes),
                duration_ms=durations[key],
                memory_mb=memory[key],
            )
        )
    if not rows:
        raise Invalid(f"{path}: no rows")
    return Trace(folder.name, int(minutes[0]), len(minutes), tuple(rows))


def _rows(path: Path) -> Iterator[tuple[str, int, dict[str, str]]]:
    """(HashFunction, line, row) of each row of a file, keys unique."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise Invalid(f"{path}: {size} bytes are over the limit of {MAX_BYTES}")
        with path.open(newline="", encoding="utf-8") as file:
            yield from _keyed(path, csv.DictReader(file, strict=True))
    except FileNotFoundError as exc:
        raise Invalid(f"{path}: no such file; a trace has invocations.csv, durations.csv and memory.csv") from exc
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise Invalid(f"{path}: cannot be read as CSV: {exc}") from exc


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


def _minutes(path: Path, row: dict[str, str]) -> list[str]:
    """The names of the columns that are minutes: consecutive numbers. Raises `Invalid`."""
    names = [name for name in row if name.isdecimal()]
    numbers = [int(name) for name in names]
    if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise Invalid(f"{path}:1: columns named by consecutive minutes were expected, such as 480, 481, …")
    return names


def _count(path: Path, line: int, minute: str, text: str) -> int:
    count = int(text) if text.isdecimal() else -1
    if not 0 <= count <= MAX_COUNT:
        raise Invalid(f"{path}:{line}: minute {minute}: a count up to {MAX_COUNT} was expected, not {text[:20]!r}")
    return count


def _duration(line: int, row: dict[str, str]) -> Distribution:
    names = [(mark, f"percentile_Average_{mark}") for mark in DURATION_MARKS]
    return _distribution("durations.csv", line, row, names)


def _memory(line: int, row: dict[str, str]) -> Distribution:
    names = [(mark, f"AverageAllocatedMb_pct{mark}") for mark in MEMORY_MARKS]
    # The data set has no 0th percentile of memory: the 1st stands for what lies below it.
    return _distribution("memory.csv", line, row, [(0, names[0][1]), *names])


def _distribution(file: str, line: int, row: dict[str, str], names: list[tuple[int, str]]) -> Distribution:
    points = []
    for percent, name in names:
        try:
            value = float(row[name])
        except KeyError:
            raise Invalid(f"{file}:1: no column {name} in the header") from None
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise Invalid(f"{file}:{line}: {name}: a number from 0 up was expected, not {row[name][:20]!r}")
        points.append((float(percent), value))
    try:
        return Distribution(tuple(points))
    except ValueError as exc:
        raise Invalid(f"{file}:{line}: {exc}") from exc
