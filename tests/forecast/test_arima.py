"""ARIMA: what a fit says is what goes on minute by minute, and fits run beside the tick."""

import time
from typing import Any

import numpy
import pytest

pytest.importorskip("statsforecast")

from isotherm.forecast.drivers.arima import Arima, _State
from isotherm.forecast.drivers.arima_fit import Fitted, _expanded, fit_one
from isotherm.forecast.drivers.workers import Workers
from isotherm.forecast.model import Floats, Histories

MINUTE = 29_540_160


def autoregressive(minutes: int, seed: int = 1) -> Floats:
    rng = numpy.random.default_rng(seed)
    log = numpy.zeros(minutes)
    for at in range(1, minutes):
        log[at] = 0.8 * log[at - 1] + rng.normal(0, 0.3)
    return numpy.exp(4 + log)[None, :].astype(numpy.float32)


def fitted(counts: Floats, **options: int) -> Arima:
    forecaster = Arima(workers=0, length=400, **options)
    forecaster.fit(Histories(counts, MINUTE, numpy.zeros(len(counts), dtype=numpy.int32)))
    return forecaster


def test_what_is_forecast_is_what_the_library_forecasts_from_the_same_model() -> None:
    from statsforecast.arima import auto_arima_f, forecast_arima

    logs = numpy.log1p(autoregressive(400)[0].astype(numpy.float64))
    found = auto_arima_f(logs, period=1, max_p=3, max_q=3, max_d=1, method="ML")
    model = _expanded(found, len(logs))
    theirs = forecast_arima(found, h=20, level=[80])
    state = _State(1)
    state.take(0, model, 0)
    state.settle(logs[None, :])
    middle, variance = state.forecast(numpy.zeros((1, 20)), 20)
    assert middle[0] == pytest.approx(theirs["mean"], abs=0.02)
    half = (theirs["upper"]["80%"] - theirs["lower"]["80%"]) / 2
    assert 1.2816 * numpy.sqrt(variance[0]) == pytest.approx(half, rel=0.05)


def seasonal(minutes: int, season: int) -> numpy.typing.NDArray[numpy.float64]:
    rng = numpy.random.default_rng(3)
    log = rng.normal(0, 0.3, minutes)
    for at in range(season, minutes):
        log[at] += 0.7 * log[at - season]
    return 4 + log


def seasonal_forecast(logs: numpy.typing.NDArray[numpy.float64], method: str) -> tuple[Any, Floats, Any]:
    """What the library found, what goes on minute by minute, what the library forecasts."""
    from statsforecast.arima import auto_arima_f, forecast_arima

    found = auto_arima_f(logs, period=12, max_p=0, max_q=0, max_P=1, max_Q=0, max_d=0, method=method)
    model = _expanded(found, len(logs))
    assert model.seasonal[3] == 12
    assert model.seasonal[0] + model.seasonal[1] > 0
    state = _State(1)
    state.take(0, model, 0)
    state.settle(logs[None, :])
    return found, state.forecast(numpy.zeros((1, 30)), 30)[0][0], numpy.asarray(forecast_arima(found, h=30)["mean"])


def test_a_season_goes_on_as_in_the_library() -> None:
    _, ours, theirs = seasonal_forecast(seasonal(144, 12), "ML")
    assert theirs.std() > 0.05  # a flat one would prove nothing
    assert ours == pytest.approx(theirs, abs=0.005)


def test_a_season_fitted_as_ours_are_goes_on_as_its_equation_says() -> None:
    """By conditional least squares, after which the library itself forecasts the mean alone."""
    logs = seasonal(144, 12)
    found, ours, _ = seasonal_forecast(logs, "CSS")
    level, share = found["coef"].get("intercept", 0.0), found["coef"]["sar1"]
    assert share > 0.3
    assert ours[:12] == pytest.approx(level + share * (logs[-12:] - level), abs=1e-6)
    assert ours[12:24] == pytest.approx(level + share**2 * (logs[-12:] - level), abs=1e-6)


def test_intervals_hold_what_comes() -> None:
    counts = autoregressive(900)
    forecaster = fitted(counts[:, :500])
    inside = []
    for origin in range(500, 880):
        quantiles = forecaster.predict(1).quantiles[0, 0]
        inside.append(quantiles[0] <= counts[0, origin] <= quantiles[4])
        forecaster.update(counts[:, origin : origin + 1])
    assert 0.7 < numpy.mean(inside) < 0.9


def test_an_hourly_rhythm_is_fitted_with_a_season() -> None:
    rng = numpy.random.default_rng(1)
    logs = numpy.log1p(rng.poisson(50 + 200 * (numpy.arange(600) % 60 < 5)).astype(numpy.float64))
    model = fit_one(logs, None)
    assert model.seasonal[3] == 60
    assert len(model.ar) > 59


def test_only_the_busiest_are_fitted_and_a_drifted_one_again() -> None:
    counts = numpy.concatenate([autoregressive(500, seed) * seed for seed in (1, 2, 3)])
    forecaster = fitted(counts, most=2)
    assert forecaster.rows.tolist() == [1, 2]
    before = forecaster.models[1]
    forecaster.update(counts[:, :1])
    assert forecaster.models[1] is before
    forecaster.refit(numpy.array([1]))
    forecaster.update(counts[:, :1])
    assert forecaster.models[1] is not before


def test_a_model_that_runs_away_stays_within_what_was_seen() -> None:
    state = _State(1)
    state.take(0, Fitted(numpy.array([1.5]), numpy.array([0.0]), 0, 0, 0, 1.0, (1, 0, 0), (0, 0, 0, 1), 100), 0)
    state.settle(numpy.full((1, 10), 3.0))
    middle, variance = state.forecast(numpy.zeros((1, 60)), 60)
    assert middle.max() <= 4.01
    assert numpy.isfinite(variance).all()


@pytest.mark.slow
def test_fits_run_in_another_process_and_are_taken_over_when_ready() -> None:
    counts = autoregressive(500)
    forecaster = Arima(length=300)
    try:
        began = time.monotonic()
        forecaster.fit(Histories(counts, MINUTE, numpy.zeros(1, dtype=numpy.int32)))
        assert time.monotonic() - began < 5
        assert forecaster.rows.tolist() == []
        assert forecaster.predict(5).mean.shape == (1, 5)  # by the naive forecast, meanwhile
        deadline = time.monotonic() + 90
        while not len(forecaster.rows) and time.monotonic() < deadline:
            time.sleep(0.2)
            forecaster.update(counts[:, -1:])
        assert forecaster.rows.tolist() == [0]
    finally:
        forecaster.close()


def _die() -> None:
    raise SystemExit(3)


def test_a_pool_that_broke_is_replaced() -> None:
    workers = Workers(1)
    try:
        with pytest.raises(SystemExit):
            workers.submit(_die).result(timeout=60)
        workers.close()
        assert workers.submit(abs, -3).result(timeout=60) == 3
    finally:
        workers.close()
