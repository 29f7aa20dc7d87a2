"""What the network looks at: nothing from the sample's minute on, in the series' own scale."""

import numpy
import pytest

from isotherm.forecast.features import KNOTS, PAST, RECENT, Inputs, calendar, inputs
from isotherm.forecast.model import Floats

DAY = 1440
MONDAY = 1_772_409_600 // 60  # 2026-03-02T00:00Z


def made(counts: Floats, ends: list[int], since: int = 0) -> Inputs:
    rows = numpy.zeros(len(ends), dtype=numpy.int64)
    return inputs(counts, rows, numpy.array(ends), MONDAY, numpy.array([since]))


def series(minutes: int = 9 * DAY, seed: int = 1) -> Floats:
    level = 100 + 80 * numpy.sin(2 * numpy.pi * numpy.arange(minutes) / DAY)
    return numpy.random.default_rng(seed).poisson(level)[None, :].astype(numpy.float32)


@pytest.mark.parametrize("end", [PAST, 2 * DAY, 8 * DAY + 500])
def test_nothing_from_the_end_on_is_read(end: int) -> None:
    counts = series()
    poisoned = counts.copy()
    poisoned[:, end:] = 1e6
    cut = made(counts[:, :end], [end])
    for one, other, short in zip(
        vars_of(made(counts, [end])), vars_of(made(poisoned, [end])), vars_of(cut), strict=True
    ):
        assert (one == other).all()
        assert (one == short).all()


def vars_of(given: Inputs) -> list[Floats]:
    return [given.past, given.recent, given.ahead, given.level, given.scale]


def test_a_series_of_another_size_looks_alike() -> None:
    counts = series() + 50
    small, large = made(counts, [8 * DAY]), made(counts * 100, [8 * DAY])
    for name in ("past", "recent", "ahead"):
        assert numpy.abs(getattr(small, name) - getattr(large, name)).max() < 0.3, name
    assert large.level[0] > small.level[0] + 4


def test_yesterday_and_last_week_are_known_only_where_they_were() -> None:
    young, day, week = made(series(), [DAY // 2, 2 * DAY, 8 * DAY + 300]).ahead[:, :, (1, 3)]
    assert (young == 0).all()
    assert (day[:, 0] == 1).all()
    assert (day[:, 1] == 0).all()
    assert (week == 1).all()
    assert (made(series(), [8 * DAY + 300], since=8 * DAY).ahead[:, :, (1, 3)] == 0).all()


def test_how_yesterday_went_on_is_seen_ahead() -> None:
    rising = made(series(), [8 * DAY])
    falling = made(series(), [8 * DAY + DAY // 2])
    assert rising.ahead[0, -1, 0] > 0.3
    assert falling.ahead[0, -1, 0] < -0.3


def test_shapes_are_those_that_models_are_trained_for() -> None:
    given = made(series(), [3 * DAY, 4 * DAY])
    assert given.past.shape == (2, 36, 11)
    assert given.recent.shape == (2, RECENT)
    assert given.ahead.shape == (2, len(KNOTS), 8)


def test_the_calendar_knows_hours_and_weekdays() -> None:
    midnight, six, next_monday = calendar(numpy.array([MONDAY, MONDAY + 360, MONDAY + 7 * DAY]))
    assert midnight == pytest.approx([0, 1, 0, 1], abs=1e-6)
    assert six[:2] == pytest.approx([1, 0], abs=1e-6)
    assert next_monday == pytest.approx(midnight, abs=1e-5)
