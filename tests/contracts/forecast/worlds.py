"""Small worlds of demand, all by a seed: busy series with a day's shape, timers, sparse and silent ones."""

import numpy

from isotherm.forecast.model import Floats, Histories

DAY = 1440
MONDAY = 1_772_409_600 // 60  # 2026-03-02T00:00Z

BUSY, STEADY, TIMER, PHASES, SPARSE, SILENT, YOUNG = range(7)


def world(minutes: int = 3 * DAY, seed: int = 1) -> Histories:
    """Seven series. `YOUNG` begins four hours before the end."""
    rng = numpy.random.default_rng(seed)
    at = numpy.arange(minutes)
    counts = numpy.zeros((7, minutes), dtype=numpy.float32)
    counts[BUSY] = rng.poisson(200 + 150 * numpy.sin(2 * numpy.pi * at / DAY))
    counts[STEADY] = rng.poisson(4, minutes)
    counts[TIMER, 3::15] = 2
    counts[PHASES] = numpy.isin(at % 60, (0, 10)) * 5
    counts[SPARSE] = rng.random(minutes) < 0.01
    counts[YOUNG, -240:] = rng.poisson(30, 240)
    since = numpy.zeros(7, dtype=numpy.int32)
    since[YOUNG] = minutes - 240
    return Histories(counts, MONDAY, since)


def poisoned(histories: Histories, column: int, seed: int = 7) -> Histories:
    """The same until `column`; from there on shuffled over minutes and series, and a thousand times as much."""
    rng = numpy.random.default_rng(seed)
    counts = histories.counts.copy()
    future: Floats = counts[:, column:].ravel()
    rng.shuffle(future)
    counts[:, column:] = (1000 * future + 7).reshape(len(counts), -1)
    return Histories(counts, histories.first_minute, histories.since)
