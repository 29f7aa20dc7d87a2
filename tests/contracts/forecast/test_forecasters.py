"""What every forecaster keeps to."""

import numpy
import pytest

from isotherm.base.errors import Invalid
from isotherm.forecast.model import LEVELS, Histories, Prediction
from isotherm.forecast.port import Forecaster
from tests.contracts.forecast.conftest import Open
from tests.contracts.forecast.worlds import BUSY, DAY, SILENT, STEADY, YOUNG, world


def check(prediction: Prediction, n: int, horizon: int, first_minute: int) -> None:
    assert prediction.first_minute == first_minute
    assert prediction.mean.shape == prediction.any.shape == (n, horizon)
    assert prediction.quantiles.shape == (n, horizon, len(LEVELS))
    for each in (prediction.mean, prediction.quantiles, prediction.any):
        assert each.dtype == numpy.float32
        assert numpy.isfinite(each).all()
        assert (each >= 0).all()
    assert (prediction.any <= 1).all()
    assert (numpy.diff(prediction.quantiles, axis=-1) >= -1e-3 * (1 + prediction.quantiles[..., 1:])).all()


def test_forecasts_have_the_shape_and_bounds_of_the_port(opens: Open) -> None:
    histories = world()
    forecaster = opens()
    forecaster.fit(histories.until(2 * DAY + 100))
    check(forecaster.predict(60), 7, 60, histories.first_minute + 2 * DAY + 100)
    forecaster.update(histories.counts[:, 2 * DAY + 100 : 2 * DAY + 101])
    check(forecaster.predict(1), 7, 1, histories.first_minute + 2 * DAY + 101)
    forecaster.update(histories.counts[:, 2 * DAY + 101 : 2 * DAY + 131])
    check(forecaster.predict(200), 7, 200, histories.first_minute + 2 * DAY + 131)


def test_a_horizon_beyond_a_day(opens: Open) -> None:
    histories = world()
    forecaster = opens()
    forecaster.fit(histories)
    check(forecaster.predict(DAY + 90), 7, DAY + 90, histories.now)


def test_hardly_any_history(opens: Open) -> None:
    histories = world(minutes=300)
    young = Histories(histories.counts[:, :3].copy(), histories.first_minute, numpy.zeros(7, dtype=numpy.int32))
    forecaster = opens()
    forecaster.fit(young)
    check(forecaster.predict(60), 7, 60, histories.first_minute + 3)
    for column in range(3, 40):
        forecaster.update(histories.counts[:, column : column + 1])
    check(forecaster.predict(60), 7, 60, histories.first_minute + 40)


def test_no_series_at_all(opens: Open) -> None:
    forecaster = opens()
    forecaster.fit(Histories(numpy.zeros((0, 100), dtype=numpy.float32), 0, numpy.zeros(0, dtype=numpy.int32)))
    forecaster.update(numpy.zeros((0, 1), dtype=numpy.float32))
    assert forecaster.predict(10).mean.shape == (0, 10)


def test_what_is_expected_is_near_what_comes(opens: Open) -> None:
    histories = world()
    forecaster = opens()
    start = 2 * DAY + 600
    forecaster.fit(histories.until(start))
    prediction = forecaster.predict(30)
    came = histories.counts[:, start : start + 30]
    for series in (BUSY, STEADY, YOUNG):
        assert prediction.mean[series].mean() == pytest.approx(came[series].mean(), rel=0.35) or series == YOUNG
    assert prediction.any[SILENT].max() < 0.1
    assert prediction.mean[SILENT].max() < 0.1
    assert prediction.any[BUSY].min() > 0.9


def test_what_is_not_a_count_is_refused(opens: Open) -> None:
    forecaster = opens()
    forecaster.fit(world(minutes=300))
    for wrong in (numpy.full((7, 1), -1), numpy.full((7, 1), numpy.nan), numpy.zeros((6, 1)), numpy.zeros(7)):
        with pytest.raises(Invalid):
            forecaster.update(wrong.astype(numpy.float32))


def test_it_is_deterministic(opens: Open) -> None:
    histories = world()
    found: list[Prediction] = []
    for _ in range(2):
        forecaster: Forecaster = opens()
        forecaster.fit(histories.until(2 * DAY))
        forecaster.update(histories.counts[:, 2 * DAY : 2 * DAY + 5])
        found.append(forecaster.predict(20))
    assert (found[0].quantiles == found[1].quantiles).all()
    assert (found[0].any == found[1].any).all()
