"""Azure Functions 2019 (Shahrad et al., ATC'20): `invocations.csv`, `durations.csv` and `memory.csv` in a folder.

Column names and units: https://github.com/Azure/AzurePublicDataset/blob/master/AzureFunctionsDataset2019.md
The three join on `HashFunction`.
"""

import math
from pathlib import Path

from isotherm.base.errors import Invalid
from isotherm.forecast.tables import read_counts, rows_by_function
from isotherm.replay.model import Distribution, Trace, TraceRow

__all__ = ["read_azure2019"]

DURATION_MARKS = (0, 1, 25, 50, 75, 99, 100)
MEMORY_MARKS = (1, 5, 25, 50, 75, 95, 99, 100)


def read_azure2019(folder: Path) -> Trace:
    """The trace in a folder. Raises `Invalid` naming the file, the line and what was expected."""
    durations = {key: _duration(line, row) for key, line, row in rows_by_function(folder / "durations.csv")}
    memory = {key: _memory(line, row) for key, line, row in rows_by_function(folder / "memory.csv")}
    path = folder / "invocations.csv"
    found = read_counts(path)
    rows: list[TraceRow] = []
    for function, line, other, counts in zip(found.functions, found.lines, found.others, found.counts, strict=True):
        if function not in durations or function not in memory:
            file = "durations.csv" if function not in durations else "memory.csv"
            raise Invalid(f"{path}:{line}: function {function[:12]} is missing in {file}")
        rows.append(
            TraceRow(
                owner=other.get("HashOwner") or "",
                app=other.get("HashApp") or "",
                function=function,
                trigger=other.get("Trigger") or "",
                counts=tuple(counts.tolist()),
                duration_ms=durations[function],
                memory_mb=memory[function],
            )
        )
    return Trace(folder.name, found.first, len(found.columns), tuple(rows))


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
