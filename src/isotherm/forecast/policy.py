"""Pure arithmetic of forecasts: quantiles from what is known of a distribution, cut-offs of idle times."""

from statistics import NormalDist
from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.model import LEVELS, Floats

__all__ = ["hurdle_quantiles", "mean_of_quantiles", "normal_quantiles", "renewals", "row_quantiles", "sorted_quantiles"]

_LEVELS: Final = numpy.array([NormalDist().inv_cdf(each) for each in LEVELS])
_PROBABILITIES: Final = numpy.linspace(0.0005, 0.9995, 2000, dtype=numpy.float32)
_NORMAL: Final = numpy.array([NormalDist().inv_cdf(float(each)) for each in _PROBABILITIES], dtype=numpy.float32)


def _normal(probabilities: Floats) -> Floats:
    """The normal quantile, from a table: within 0.001 between 0.005 and 0.995, cut off beyond 0.0005 and 0.9995."""
    place = (probabilities - _PROBABILITIES[0]) / (_PROBABILITIES[1] - _PROBABILITIES[0])
    low = numpy.clip(place, 0, len(_NORMAL) - 2).astype(numpy.int32)
    share = numpy.clip(place - low, 0, 1).astype(numpy.float32)
    found: Floats = _NORMAL[low] * (1 - share) + _NORMAL[low + 1] * share
    return found


def hurdle_quantiles(any_: Floats, log_mean: Floats, log_sd: Floats) -> Floats:
    """Quantiles of counts that are zero with 1 - `any_` [n, h], and else log-normal, at least 1: [n, h, LEVELS].

    `log_mean` and `log_sd` broadcast to [n, h]: of the logarithm of the counts that are not zero.
    """
    n, h = any_.shape
    found = numpy.zeros((n, h, len(LEVELS)), dtype=numpy.float32)
    mean, sd = numpy.broadcast_to(log_mean, (n, h)), numpy.broadcast_to(log_sd, (n, h))
    for index, level in enumerate(LEVELS):
        some = numpy.nonzero(any_ > 1 - level)  # elsewhere it is zero
        beyond = ((level - 1 + any_[some]) / any_[some]).astype(numpy.float32)
        drawn = numpy.exp(mean[some] + sd[some] * _normal(beyond))
        found[some[0], some[1], index] = numpy.maximum(numpy.rint(drawn), 1)
    return found


def normal_quantiles(mean: NDArray[numpy.float64], sd: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """Of normal distributions [n, h]: [n, h, LEVELS]."""
    found: NDArray[numpy.float64] = mean[:, :, None] + sd[:, :, None] * _LEVELS
    return found


def sorted_quantiles(quantiles: Floats) -> Floats:
    """Ascending along the last axis and not negative, in place."""
    numpy.maximum(quantiles, 0, out=quantiles)
    return numpy.maximum.accumulate(quantiles, axis=-1, out=quantiles)


def mean_of_quantiles(quantiles: Floats) -> Floats:
    """An estimate of the mean from quantiles at `LEVELS`: trapezia between them, the ends drawn on: [...]."""
    levels = numpy.array(LEVELS, dtype=numpy.float32)
    edges = numpy.concatenate([[0], (levels[1:] + levels[:-1]) / 2, [1]]).astype(numpy.float32)
    found: Floats = quantiles @ numpy.diff(edges)
    return found


def renewals(first: Floats, fresh: Floats) -> Floats:
    """The chance of an event in each of `h` minutes, of a renewal process: [n, h].

    `first` [n, h]: the chance that the next event comes in that minute; `fresh` [n, h]: the same right after an event,
    `fresh[:, 0]` one minute after it.
    """
    h = first.shape[1]
    again = numpy.zeros_like(fresh)  # the chance of an event so many minutes after another
    found = numpy.zeros_like(first)
    for j in range(h):
        again[:, j] = fresh[:, j] + numpy.einsum("ij,ij->i", fresh[:, :j], again[:, :j][:, ::-1])
        found[:, j] = first[:, j] + numpy.einsum("ij,ij->i", first[:, :j], again[:, :j][:, ::-1])
    return numpy.clip(found, 0, 1, out=found)


def row_quantiles(values: Floats) -> Floats:
    """Empirical quantiles at `LEVELS` of each row of [n, m], NaN left out; zeros where nothing is left: [n, LEVELS]."""
    if values.shape[1] == 0:
        return numpy.zeros((values.shape[0], len(LEVELS)), dtype=numpy.float32)
    ordered = numpy.sort(values, axis=1)  # NaN comes last
    known = (~numpy.isnan(values)).sum(axis=1)
    place = numpy.maximum(known - 1, 0)[:, None] * numpy.array(LEVELS)
    low = place.astype(numpy.int64)
    share = (place - low).astype(numpy.float32)
    high = numpy.minimum(low + 1, numpy.maximum(known - 1, 0)[:, None])
    found = numpy.take_along_axis(ordered, low, 1) * (1 - share) + numpy.take_along_axis(ordered, high, 1) * share
    return numpy.where(known[:, None] > 0, found, 0).astype(numpy.float32)
