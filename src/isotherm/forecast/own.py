"""Histories from counts by name and minute, as a platform's own records tell them."""

from collections.abc import Iterable
from typing import Final

import numpy

from isotherm.base.errors import Invalid
from isotherm.forecast.model import Histories

__all__ = ["histories_of"]

MAX_CELLS: Final = 256_000_000  # series times minutes: a gigabyte


def histories_of(counts: Iterable[tuple[str, int, int]], since: int, until: int) -> tuple[tuple[str, ...], Histories]:
    """Of (name, minute, count) in [since, until), minutes since 1970: (names as they come first, histories).

    What has the same name and minute adds up. A series begins with its first count: before that nothing is known of it.
    Raises `Invalid` where a minute is outside, or there is more than fits into a gigabyte.
    """
    row_of: dict[str, int] = {}
    rows, minutes, values = [], [], []
    most = MAX_CELLS // max(until - since, 1)
    for name, minute, count in counts:
        if not since <= minute < until:
            raise Invalid(f"a count of the minute {minute} where {since} to {until} were asked for")
        rows.append(row_of.setdefault(name, len(row_of)))
        minutes.append(minute - since)
        values.append(count)
        if len(row_of) > most:
            raise Invalid(f"more than {most} series over {until - since} minutes: ask for fewer days, or one namespace")
    found = numpy.zeros((len(row_of), max(until - since, 0)), dtype=numpy.float32)
    first = numpy.full(len(row_of), found.shape[1], dtype=numpy.int32)
    if rows:
        numpy.add.at(found, (rows, minutes), values)
        numpy.minimum.at(first, rows, numpy.array(minutes, dtype=numpy.int32))
    return tuple(row_of), Histories(found, since, first)
