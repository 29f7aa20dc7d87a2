"""Logs for the simulation: both layouts of Azure Functions 2019, CSV of single calls, Isotherm's own records."""

import csv
import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import numpy

from isotherm.base.errors import Invalid
from isotherm.forecast.tables import MAX_ROWS, first_line, read_counts, timestamp
from isotherm.replay.drivers.azure2019 import read_azure2019
from isotherm.replay.simulated.log import Events, Log

__all__ = ["Unit", "read_log"]

Unit = Literal["app", "function"]
MAX_CALLS = 50_000_000
MAX_MINUTES = 60 * 24 * 62
MINUTE_S = 60.0
LEAST_MS = 1e11  # as seconds the year 5138, as milliseconds 1973
DIALECT = "timestamp,name[,duration_ms]"


class _Call(msgspec.Struct, frozen=True):
    """What the simulation takes of a recorded call."""

    name: str
    started_at_ms: int
    namespace: str = ""
    run_ms: float = 0.0


class _Listed(msgspec.Struct, frozen=True):
    items: list[_Call]


def read_log(path: Path, unit: Unit = "app") -> Log:
    """The log at a path: a folder with `invocations.csv` (and `durations.csv`, `memory.csv`, where it has them), such
    a file alone, a CSV of single calls, or what `isotherm invocations --json` printed. `unit`: what is warm or cold as
    a whole. Raises `Invalid`, which names the file, the line and what was expected."""
    if path.is_dir():
        if (path / "durations.csv").exists() or (path / "memory.csv").exists():
            return _azure_whole(path, unit)
        return _azure_counts(path / "invocations.csv", path.name, unit)
    head = first_line(path)
    if path.suffix in (".json", ".jsonl") or head.startswith(("{", "[")):
        return _records(path)
    return _azure_counts(path, path.stem, unit) if "HashFunction" in head else _calls(path, _csv_calls(path))


def _azure_whole(folder: Path, unit: Unit) -> Log:
    trace = read_azure2019(folder)
    keys = [(row.owner, row.app, row.function) for row in trace.rows]
    units, number = _units(keys, unit)
    counts = numpy.array([row.counts for row in trace.rows], numpy.int32)
    duration_s = numpy.array([[value / 1000 for _, value in row.duration_ms.points] for row in trace.rows])
    memory_gb = numpy.array([row.memory_mb.mean / 1024 for row in trace.rows])
    rows = numpy.maximum(numpy.bincount(number, minlength=len(units)), 1)
    gb = numpy.bincount(number, memory_gb, len(units)) / rows  # the data set tells an app's memory with each function
    return Log(
        folder.name, trace.minutes, tuple(row.function for row in trace.rows), units, number, counts, duration_s, gb
    )


def _azure_counts(path: Path, name: str, unit: Unit) -> Log:
    found = read_counts(path)
    keys = [
        (other.get("HashOwner") or "", other.get("HashApp") or function, function)
        for function, other in zip(found.functions, found.others, strict=True)
    ]
    units, number = _units(keys, unit)
    return Log(name, len(found.columns), found.functions, units, number, found.counts)


def _units(keys: list[tuple[str, str, str]], unit: Unit) -> tuple[tuple[str, ...], "numpy.typing.NDArray[numpy.int32]"]:
    """The names of the units in the order in which they appear, and the unit of each (owner, app, function)."""
    number: dict[tuple[str, str, str], int] = {}
    of = [number.setdefault(key if unit == "function" else (*key[:2], ""), len(number)) for key in keys]
    return tuple(key[2] or key[1] for key in number), numpy.array(of, numpy.int32)


def _csv_calls(path: Path) -> Iterator[tuple[str, float, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        try:
            for line, row in enumerate(csv.reader(file, strict=True), 1):
                if line == 1 and row and row[0].strip().lower() == "timestamp":
                    continue
                if row:
                    yield _csv_call(path, line, row)
        except (UnicodeDecodeError, csv.Error) as exc:
            raise Invalid(f"{path}: cannot be read as CSV: {exc}") from exc


def _csv_call(path: Path, line: int, row: list[str]) -> tuple[str, float, float]:
    try:
        if len(row) not in (2, 3) or not row[1].strip():
            raise ValueError("columns")
        duration_ms = float(row[2]) if len(row) == 3 and row[2].strip() else 0.0
        at_s = _seconds(timestamp(row[0].strip()))
        if not (math.isfinite(at_s) and math.isfinite(duration_ms) and duration_ms >= 0):
            raise ValueError("range")
    except ValueError:
        raise Invalid(
            f"{path}:{line}: {DIALECT} was expected, the time in seconds or as 2026-01-31T12:00:00Z (or, since 1970, "
            f"in milliseconds), a duration from 0 up, not {','.join(row)[:60]!r}"
        ) from None
    return row[1].strip(), at_s, duration_ms / 1000


def _seconds(moment: float) -> float:
    """Of a number that can be no count of seconds since 1970, but is one of milli-, micro- or nanoseconds."""
    for factor in (1e9, 1e6, 1e3):
        if abs(moment) >= LEAST_MS * factor / 1e3:
            return moment / factor
    return moment


def _records(path: Path) -> Log:
    try:
        body = path.read_bytes()
        if body.lstrip().startswith(b"["):
            items = msgspec.json.decode(body, type=list[_Call])
        elif body.lstrip().startswith(b'{"items"'):
            items = msgspec.json.decode(body, type=_Listed).items
        else:
            items = [msgspec.json.decode(line, type=_Call) for line in body.splitlines() if line.strip()]
    except (OSError, msgspec.MsgspecError) as exc:
        raise Invalid(
            f"{path}: recorded calls were expected, as `isotherm invocations --json` prints them: {exc}"
        ) from exc
    named = ((f"{one.namespace}/{one.name}".lstrip("/"), one.started_at_ms / 1000, one.run_ms / 1000) for one in items)
    return _calls(path, named)


def _calls(path: Path, calls: Iterable[tuple[str, float, float]]) -> Log:
    """From (name, seconds, duration in seconds) of each call, in any order."""
    number: dict[str, int] = {}
    found = [
        (number.setdefault(name, len(number)), at_s, duration_s)
        for name, at_s, duration_s in itertools.islice(calls, MAX_CALLS + 1)
    ]
    if not found:
        raise Invalid(f"{path}: no calls in it; a line {DIALECT} for each call was expected, or records of calls")
    if len(found) > MAX_CALLS or len(number) > MAX_ROWS:
        raise Invalid(f"{path}: more than {MAX_CALLS} calls or {MAX_ROWS} names")
    function = numpy.array([each[0] for each in found], numpy.int32)
    at_s = numpy.array([each[1] for each in found])
    duration_s = numpy.array([each[2] for each in found])
    order = numpy.argsort(at_s, kind="stable")
    at_s = at_s - numpy.floor(at_s.min() / MINUTE_S) * MINUTE_S
    minutes = int(at_s.max() // MINUTE_S) + 1
    if minutes > MAX_MINUTES:
        raise Invalid(f"{path}: {minutes} minutes between the first call and the last: at most {MAX_MINUTES} are taken")
    counts = numpy.zeros((len(number), minutes), numpy.int32)
    numpy.add.at(counts, (function, (at_s // MINUTE_S).astype(int)), 1)
    names = tuple(number)
    units = numpy.arange(len(names), dtype=numpy.int32)
    events = Events(function[order], at_s[order], duration_s[order])
    return Log(path.stem, minutes, names, names, units, counts, events=events)
