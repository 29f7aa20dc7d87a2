"""The rolling origin."""

import numpy
import pytest

from isotherm.base.errors import Invalid
from isotherm.forecast.backtest import backtest
from isotherm.forecast.model import Histories
from isotherm.forecast.registry import DRIVERS, open_forecaster

DAY = 1440


def test_a_series_that_repeats_each_day_is_forecast_without_error() -> None:
    day = numpy.random.default_rng(1).poisson(20, (2, DAY))
    counts = numpy.tile(day, 3).astype(numpy.float32)
    histories = Histories(counts, 0, numpy.zeros(2, dtype=numpy.int32))
    outcome = backtest(open_forecaster("seasonal_naive"), histories, 2 * DAY, (1, 60), every=30)
    assert outcome.origins == list(range(2 * DAY, 3 * DAY - 59, 30))
    assert outcome.errors(60).max() < 1e-4
    scores = outcome.scores(1)
    assert (scores.rmse, scores.r2, scores.coverage) == (0, 1, 1)  # of the mean, which is taken as it is


def test_what_came_stands_beside_what_was_said_of_that_minute() -> None:
    counts = numpy.arange(400, dtype=numpy.float32)[None, :]
    histories = Histories(counts, 0, numpy.zeros(1, dtype=numpy.int32))
    outcome = backtest(open_forecaster("smoothing"), histories, 300, (1, 10), every=7)
    assert outcome.actual[1, :, 0].tolist() == [origin + 9 for origin in outcome.origins]
    assert outcome.naive[0, :, 0].tolist() == [origin - 1 for origin in outcome.origins]
    assert outcome.hour[0, 0, 0] == numpy.arange(240, 300).mean()
    assert outcome.losses(10).shape == (len(outcome.origins), 1)


def test_nothing_to_forecast_is_refused() -> None:
    histories = Histories(numpy.zeros((1, 100), dtype=numpy.float32), 0, numpy.zeros(1, dtype=numpy.int32))
    with pytest.raises(Invalid, match="nothing to forecast"):
        backtest(open_forecaster("smoothing"), histories, 60, (60,))


def test_an_unknown_forecaster_is_named_with_those_there_are() -> None:
    with pytest.raises(Invalid, match="seasonal_naive"):
        open_forecaster("oracle")
    with pytest.raises(Invalid, match="oracle"):
        open_forecaster("hybrid", oracle={})
    assert "hybrid" in DRIVERS
