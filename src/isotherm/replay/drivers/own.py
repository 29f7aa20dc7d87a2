"""Isotherm's own records as a log: how many calls came to each function in each minute, and how long they ran."""

from collections.abc import Callable, Iterable

import numpy

from isotherm.base.errors import Invalid, NotFound
from isotherm.replay.model import OwnRecords, RecordedMinute
from isotherm.replay.simulated.log import MARKS, NOMINAL_GB, Log

__all__ = ["read_own"]

MAX_CELLS = 256_000_000  # functions x minutes
TOLD_EVERY = 100_000  # rows


def read_own(records: OwnRecords, say: Callable[[str], None]) -> Log:
    """From the first minute with a call to the last that is over. A function's calls all take its mean: that is what
    is recorded of every call. Raises `NotFound` where none was made, `Invalid` where it is too much."""
    where = f"the records of {records.namespace!r}"
    rows = list(_told(records.minutes, where, say))
    if not rows:
        raise NotFound(
            f"{where} have no call in these {records.days:g} days; --days asks for more, --namespace for others"
        )
    names = tuple(dict.fromkeys(row.name for row in rows))
    number = {name: at for at, name in enumerate(names)}
    first = min(row.minute for row in rows)
    minutes = records.until_minute - first
    if minutes * len(names) > MAX_CELLS:
        raise Invalid(f"{where}: {len(names)} functions x {minutes} minutes are over {MAX_CELLS}: ask for fewer --days")
    function = numpy.array([number[row.name] for row in rows])
    calls = numpy.array([row.count for row in rows])
    counts = numpy.zeros((len(names), minutes), numpy.int32)
    numpy.add.at(counts, (function, numpy.array([row.minute for row in rows]) - first), calls)
    run_s = numpy.bincount(function, [row.run_ms / 1000 for row in rows], len(names))
    mean_s = run_s / numpy.maximum(counts.sum(axis=1), 1)
    gb = numpy.array([records.memory_mb[name] / 1024 if name in records.memory_mb else NOMINAL_GB for name in names])
    return Log(
        f"records of {records.namespace}",
        minutes,
        names,
        names,
        numpy.arange(len(names), dtype=numpy.int32),
        counts,
        mean_s[:, None] * numpy.ones(len(MARKS)),
        gb,
    )


def _told(minutes: Iterable[RecordedMinute], where: str, say: Callable[[str], None]) -> Iterable[RecordedMinute]:
    say(f"reading {where} …")
    for at, row in enumerate(minutes, 1):
        if at % TOLD_EVERY == 0:
            say(f"reading {where}: {at:,} minutes of functions …")
        yield row
