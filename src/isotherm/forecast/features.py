"""What learned forecasters look at: the calendar, lags of a day and a week, moving averages, trend."""

from dataclasses import dataclass
from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.model import Floats
from isotherm.forecast.window import DAY, WEEK, Window

__all__ = ["KNOTS", "PAST", "RECENT", "STEP", "Inputs", "calendar", "inputs", "log_around"]

STEP: Final = 5  # minutes that are averaged into one step of the past
PAST: Final = 180  # minutes of the past, in steps
RECENT: Final = 15  # of the last minutes, one by one
KNOTS: Final = (1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60)  # minutes ahead that are forecast; between them by a line
AROUND: Final = 7
FLOOR: Final = 0.05  # of a series' scale
LEVEL: Final = 5  # minutes whose mean is the level
_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday
Doubles = NDArray[numpy.float64]


def calendar(minutes: NDArray[numpy.int64]) -> Floats:
    """Sine and cosine of the time of day and of the time of the week, in UTC: [..., 4]."""
    day = 2 * numpy.pi * (minutes % DAY) / DAY
    week = 2 * numpy.pi * ((minutes + _EPOCH_WEEKDAY * DAY) % WEEK) / WEEK
    return numpy.stack([numpy.sin(day), numpy.cos(day), numpy.sin(week), numpy.cos(week)], axis=-1).astype(
        numpy.float32
    )


def log_around(window: Window, rows: NDArray[numpy.int64], ago: int, minutes: int, around: int) -> Doubles:
    """The logarithm of one plus the mean count about each of `minutes` minutes from `ago` back on: [rows, minutes].

    Zero where the window does not reach; what lies ahead of now is left out of the means, and, where a whole mean would
    lie there, the same minutes of a day before stand in.
    """
    total = window.minutes
    places = total - ago + numpy.arange(minutes)
    places = numpy.where(places + around >= total, places - DAY * (-(-(places + around - total + 1) // DAY)), places)
    found = numpy.zeros((len(rows), minutes))
    inside = places - around >= 0
    if not inside.any() or len(rows) == 0:
        return found
    first, last = int(places[inside].min()) - around, int(places[inside].max()) + around + 1
    slab = numpy.zeros((len(rows), last - first + 1))
    numpy.cumsum(window.counts[rows, first:last], axis=1, out=slab[:, 1:])
    at = places[inside] - first
    found[:, inside] = numpy.log1p((slab[:, at + around + 1] - slab[:, at - around]) / (2 * around + 1))
    return found


@dataclass(frozen=True, slots=True)
class Inputs:
    """Of `k` samples, each a series at a minute. All logarithms are of counts plus one, less `level`, over `scale`.

    `past` [k, PAST / STEP, 11]: mean and greatest of a step, moving averages of half an hour and of all, the trend, the
    same step yesterday and a week ago (zero where unknown, and whether it is known), calendar of the day.
    `recent` [k, RECENT]: the last minutes. `ahead` [k, KNOTS, 8]: of each minute that is forecast how yesterday
    and last week went on until there, whether these are known, calendar. `level`, `scale` [k].
    """

    past: Floats
    recent: Floats
    ahead: Floats
    level: Floats
    scale: Floats


def inputs(
    counts: Floats,
    rows: NDArray[numpy.int64],
    ends: NDArray[numpy.int64],
    first_minute: int,
    since: NDArray[numpy.int64],
) -> Inputs:
    """Samples of the series `rows`, each as known before the column in `ends`: nothing at or after it is read.

    `counts` [n, m] begins at `first_minute`; `since` [n]: the column from which on a series exists, less than 0 too.
    """
    logs = numpy.log1p(_gather(counts, rows, ends - PAST, PAST))
    level = logs[:, -LEVEL:].mean(axis=1)
    scale = logs.std(axis=1) + FLOOR
    logs = (logs - level[:, None]) / scale[:, None]
    steps = logs.reshape(len(rows), PAST // STEP, STEP)
    mean = steps.mean(axis=2)
    half_hour = _moving(mean, 30 // STEP)
    places = numpy.arange(PAST // STEP) - (PAST // STEP - 1) / 2
    trend = ((mean * places).sum(axis=1) / (places**2).sum())[:, None] * places
    past = [mean, steps.max(axis=2), half_hour, numpy.repeat(mean.mean(axis=1)[:, None], mean.shape[1], axis=1), trend]
    ahead = []
    for season in (DAY, WEEK):
        known = (ends - season - PAST - AROUND >= numpy.maximum(since[rows], 0))[:, None]
        long = _gather(counts, rows, ends - season - PAST - AROUND, PAST + max(KNOTS) + 2 * AROUND)
        smooth = numpy.log1p(_moving_centred(long, AROUND))  # of PAST + 60 minutes, from PAST before the same time
        there = (smooth - level[:, None]) / scale[:, None]
        past += [numpy.where(known, there[:, STEP // 2 : PAST : STEP], 0)]
        onwards = (smooth[:, PAST - 1 :][:, list(KNOTS)] - smooth[:, PAST - 1 : PAST]) / scale[:, None]
        ahead += [numpy.where(known, onwards, 0), numpy.repeat(known, len(KNOTS), axis=1)]
    now = first_minute + ends
    of_steps = calendar(now[:, None] - PAST + numpy.arange(PAST // STEP) * STEP)
    of_knots = calendar(now[:, None] + numpy.array(KNOTS) - 1)
    stacked = numpy.concatenate([numpy.stack(past, axis=2), of_steps], axis=2)
    return Inputs(
        past=numpy.clip(stacked, -20, 20).astype(numpy.float32),
        recent=numpy.clip(logs[:, -RECENT:], -20, 20).astype(numpy.float32),
        ahead=numpy.clip(numpy.concatenate([numpy.stack(ahead, axis=2), of_knots], axis=2), -20, 20).astype(
            numpy.float32
        ),
        level=level.astype(numpy.float32),
        scale=scale.astype(numpy.float32),
    )


def _gather(counts: Floats, rows: NDArray[numpy.int64], begins: NDArray[numpy.int64], length: int) -> Floats:
    """`length` columns from each beginning; zeros before the first column: [k, length]."""
    places = begins[:, None] + numpy.arange(length)
    found = counts[rows[:, None], numpy.clip(places, 0, counts.shape[1] - 1)]
    return numpy.where(places >= 0, found, 0).astype(numpy.float32)


def _moving(values: Floats, width: int) -> Floats:
    """The mean of each and the ones before it, `width` at most: [k, m]."""
    total = numpy.cumsum(numpy.pad(values, ((0, 0), (1, 0))), axis=1)
    ends = numpy.arange(1, values.shape[1] + 1)
    begins = numpy.maximum(ends - width, 0)
    found: Floats = (total[:, ends] - total[:, begins]) / (ends - begins)
    return found


def _moving_centred(values: Floats, around: int) -> Floats:
    """The mean of each and `around` to each side: [k, m - 2 around]."""
    total = numpy.cumsum(numpy.pad(values, ((0, 0), (1, 0))), axis=1, dtype=numpy.float64)
    width = 2 * around + 1
    found: Floats = ((total[:, width:] - total[:, :-width]) / width).astype(numpy.float32)
    return found
