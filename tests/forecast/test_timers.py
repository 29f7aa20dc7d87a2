"""Timers and sparse series: the chance of an arrival, minute by minute."""

import numpy
import pytest

from isotherm.forecast.drivers.hybrid import Hybrid
from isotherm.forecast.drivers.periodic import Periodic
from isotherm.forecast.drivers.smoothing import Smoothing
from isotherm.forecast.model import Floats, Histories
from isotherm.forecast.port import Forecaster
from isotherm.forecast.registry import open_forecaster

DAY = 1440
NAIVE_AND_SPARSE = ("seasonal_naive", "smoothing", "periodic", "histogram")


def small_hybrid() -> Hybrid:
    return Hybrid([open_forecaster(name) for name in NAIVE_AND_SPARSE])  # type: ignore[misc]  # these are members


def fitted(forecaster: Forecaster, counts: Floats) -> Forecaster:
    forecaster.fit(Histories(counts, 29_540_160, numpy.zeros(len(counts), dtype=numpy.int32)))
    return forecaster


def timers(minutes: int) -> Floats:
    """Every 5, 15 and 60 minutes; at :00 and :10; at 02:30 each day; every 37."""
    at = numpy.arange(minutes)
    rows = [at % 5 == 2, at % 15 == 3, at % 60 == 59, numpy.isin(at % 60, (0, 10)), at % DAY == 150, at % 37 == 5]
    return numpy.array(rows, dtype=numpy.float32)


@pytest.mark.parametrize("make", [Periodic, small_hybrid])
def test_a_timer_is_expected_when_it_comes_and_not_when_it_does_not(make: type[Forecaster]) -> None:
    counts = timers(4 * DAY + 200)
    start = 4 * DAY + 100
    prediction = fitted(make(), counts[:, :start]).predict(60)
    came = counts[:, start : start + 60] > 0
    assert came.any(axis=1).all()
    daily = 4
    often = numpy.arange(6) != daily
    assert prediction.any[often][came[often]].min() > 0.75
    assert prediction.any[~came].max() < 0.25
    assert prediction.any[daily][came[daily]].min() > 10 * prediction.any[daily][~came[daily]].max()
    assert prediction.mean[often][came[often]].min() > 0.75


def test_a_period_that_changes_is_followed() -> None:
    at = numpy.arange(2 * DAY)
    counts = numpy.where(at < DAY, at % 10 == 0, at % 7 == 0)[None, :].astype(numpy.float32)
    forecaster = Periodic()
    fitted(forecaster, counts[:, :DAY])
    assert forecaster.period.tolist() == [10]
    for column in range(DAY, 2 * DAY):
        forecaster.update(counts[:, column : column + 1])
    assert forecaster.period.tolist() == [7]
    assert forecaster.certainty[0] > 0.9


def test_chances_are_calibrated_for_arrivals_by_chance() -> None:
    rng = numpy.random.default_rng(3)
    counts = (rng.random((300, 2 * DAY)) < 0.05).astype(numpy.float32)
    for name in ("histogram", "periodic", "smoothing"):
        forecaster = fitted(open_forecaster(name), counts[:, : 2 * DAY - 60])
        found = forecaster.predict(60).any
        assert found.mean() == pytest.approx(0.05, rel=0.35), name


def test_smoothing_takes_the_shape_of_yesterday() -> None:
    at = numpy.arange(3 * DAY)
    level = 500 + 450 * numpy.sin(2 * numpy.pi * at / DAY)
    counts = numpy.random.default_rng(1).poisson(level)[None, :].astype(numpy.float32)
    start = 2 * DAY + 700  # the level falls fast
    forecaster = Smoothing()
    forecaster.fit(Histories(counts[:, : start - 300], 29_540_160, numpy.zeros(1, dtype=numpy.int32)))
    for column in range(start - 300, start):
        forecaster.update(counts[:, column : column + 1])
    expected = forecaster.predict(60).mean[0, -1]
    assert abs(expected - level[start + 59]) < 0.5 * abs(level[start] - level[start + 59])
