"""Measures of quality, against their definitions."""

import numpy
import pytest

from isotherm.forecast.quality import Quality, is_spike

LEVELS = (0.1, 0.5, 0.9)


def floats(*values: float) -> "numpy.typing.NDArray[numpy.float32]":
    return numpy.array(values, dtype=numpy.float32)


def seen(decay: float = 1.0) -> Quality:
    """One series: 10, 20, 40 came; the median said 12, 20, 30, the naive one 15, 15, 15."""
    quality = Quality(1, LEVELS, decay)
    for actual, median, naive in ((10, 12, 15), (20, 20, 15), (40, 30, 15)):
        quantiles = floats(median - 5, median, median + 5)[None, :]
        quality.see(slice(None), floats(actual), floats(median + 1), quantiles, floats(naive), floats(10))
    return quality


def test_each_measure_is_what_it_is_called() -> None:
    scores = seen().of_all()
    actual, median, mean = floats(10, 20, 40), floats(12, 20, 30), floats(13, 21, 31)
    assert scores.judged == 3
    assert scores.mase == pytest.approx((2 + 0 + 10) / (5 + 5 + 25))
    assert scores.mape == pytest.approx(float((numpy.abs(actual - median) / actual).mean()))
    assert scores.rmse == pytest.approx(float(((actual - mean) ** 2).mean() ** 0.5))
    rest = float(((actual - mean) ** 2).sum() / ((actual - actual.mean()) ** 2).sum())
    assert scores.r2 == pytest.approx(1 - rest)
    assert scores.coverage == pytest.approx(2 / 3)
    away = actual[:, None] - numpy.stack([median - 5, median, median + 5], axis=1)
    levels = numpy.array(LEVELS)
    assert scores.pinball == pytest.approx(float(numpy.maximum(levels * away, (levels - 1) * away).mean()))


def test_a_spike_is_caught_where_the_upper_quantile_reached_it() -> None:
    assert is_spike(floats(29, 30, 31), floats(10, 10, 10)).tolist() == [False, True, True]
    scores = seen().of_all()
    assert (scores.spikes, scores.spikes_caught) == (1, 0)
    quality = Quality(1, LEVELS)
    quality.see(slice(None), floats(40), floats(20), floats(5, 20, 45)[None, :], floats(1), floats(10))
    assert quality.of(0).spikes_caught == 1


def test_what_is_not_defined_is_none() -> None:
    nothing = Quality(2, LEVELS).of_all()
    assert (nothing.judged, nothing.mase, nothing.r2) == (0, None, None)
    quality = Quality(1, LEVELS)
    quality.see(slice(None), floats(0), floats(0), floats(0, 0, 0)[None, :], floats(0), floats(0))
    scores = quality.of_all()
    assert (scores.mape, scores.mase, scores.r2, scores.spikes_caught) == (None, None, None, None)


def test_with_decay_the_past_counts_for_less() -> None:
    late, whole = seen(0.5).of(0).mase, seen().of(0).mase
    assert late is not None
    assert whole is not None
    assert late == pytest.approx((2 / 4 + 10) / (5 / 4 + 5 / 2 + 25))


def test_only_the_rows_given_are_judged() -> None:
    quality = Quality(3, LEVELS)
    rows = numpy.array([1])
    quality.see(rows, floats(1), floats(1), floats(1, 1, 1)[None, :], floats(1), floats(1))
    assert [quality.of(series).judged for series in range(3)] == [0, 1, 0]
