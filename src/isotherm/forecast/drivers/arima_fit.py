"""One series' ARIMA: stationarity test, order search and estimation by statsforecast. Runs in a worker process."""

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.window import HOUR

__all__ = ["Fitted", "fit_one"]

Doubles = NDArray[numpy.float64]
RHYTHM: Final = 0.3  # the autocorrelation of hourly seasons from which on they are looked for
LEAST_SEASONS: Final = 6


@dataclass(frozen=True, slots=True)
class Fitted:
    """z(t) = sum of ar[i] z(t-1-i) + e(t) + sum of ma[i] e(t-1-i), where z is the logarithm of the count plus one, less
    `level`, less `drift` a minute since the first, less `shape` times yesterday's logarithm. Differences are in `ar`.

    `order`: (p, d, q), `seasonal`: (P, D, Q, season). `minutes`: how many it was fitted on.
    """

    ar: Doubles
    ma: Doubles
    level: float
    drift: float
    shape: float
    sigma2: float
    order: tuple[int, int, int]
    seasonal: tuple[int, int, int, int]
    minutes: int


def fit_one(logs: Doubles, yesterday: Doubles | None) -> Fitted:
    """Fit [m] logarithms, with those of yesterday beside them where known.

    How often to difference is decided by the KPSS test, the order by a stepwise search for the least AICc (Hyndman and
    Khandakar, Automatic time series forecasting, JSS 2008). A season of an hour is tried where the series shows one.
    """
    from statsforecast.arima import auto_arima_f

    season = HOUR if _has_rhythm(logs) else 1
    limits: dict[str, Any] = {"max_p": 3, "max_q": 3, "max_d": 1, "method": "CSS"}
    if season > 1:
        limits |= {"max_p": 2, "max_q": 2, "max_P": 1, "max_Q": 1, "max_D": 1, "approximation": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about single candidates of the search that did not converge
        found = auto_arima_f(
            logs, period=season, xreg=None if yesterday is None else yesterday[:, None], test="kpss", **limits
        )
    return _expanded(found, len(logs))


def _has_rhythm(logs: Doubles) -> bool:
    if len(logs) < LEAST_SEASONS * HOUR:
        return False
    steps = numpy.diff(logs)
    steps = steps - steps.mean()
    power = float(steps @ steps)
    return power > 0 and float(steps[HOUR:] @ steps[:-HOUR]) / power > RHYTHM


def _expanded(found: dict[str, Any], minutes: int) -> Fitted:
    """The polynomials multiplied out."""
    p, q, seasonal_p, seasonal_q, season, d, seasonal_d = (int(each) for each in found["arma"])
    coefficients = {name: float(value) for name, value in found["coef"].items()}
    ar = _polynomial([-coefficients[f"ar{i + 1}"] for i in range(p)])
    ar = numpy.convolve(ar, _polynomial([-coefficients[f"sar{i + 1}"] for i in range(seasonal_p)], season))
    for _ in range(d):
        ar = numpy.convolve(ar, [1.0, -1.0])
    for _ in range(seasonal_d):
        ar = numpy.convolve(ar, _polynomial([-1.0], season))
    ma = _polynomial([coefficients[f"ma{i + 1}"] for i in range(q)])
    ma = numpy.convolve(ma, _polynomial([coefficients[f"sma{i + 1}"] for i in range(seasonal_q)], season))
    return Fitted(
        ar=-ar[1:],
        ma=ma[1:],
        level=coefficients.get("intercept", 0.0),
        drift=coefficients.get("drift", 0.0),
        shape=coefficients.get("ex_1", 0.0),
        sigma2=max(float(found["sigma2"]), 1e-8),
        order=(p, d, q),
        seasonal=(seasonal_p, seasonal_d, seasonal_q, season),
        minutes=minutes,
    )


def _polynomial(coefficients: list[float], step: int = 1) -> Doubles:
    found = numpy.zeros(len(coefficients) * step + 1)
    found[0] = 1.0
    found[step::step] = coefficients
    return found
