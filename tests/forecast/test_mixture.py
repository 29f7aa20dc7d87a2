"""The mixture: it goes with whoever is right of late, and back to the naive forecast when it drifts."""

import numpy
from numpy.typing import NDArray

from isotherm.forecast.drivers.hybrid import Hybrid
from isotherm.forecast.drivers.windowed import Windowed
from isotherm.forecast.mixture import Drift, Weights
from isotherm.forecast.model import LEVELS, Floats, Histories, Prediction
from isotherm.forecast.window import Window


class Saying(Windowed):
    """Says a value a minute, known beforehand: from the column of now on."""

    def __init__(self, name: str, values: Floats) -> None:
        self.name, self._values = name, values

    def join(self, window: Window) -> None:
        self.window = window

    def follow(self, fresh: int) -> None:
        pass

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        pass

    def predict(self, horizon: int) -> Prediction:
        mean = numpy.repeat(self._values[:, self.window.now, None], horizon, axis=1)
        quantiles = numpy.repeat(mean[:, :, None], len(LEVELS), axis=2)
        return Prediction(self.window.now, mean, quantiles, numpy.clip(mean, 0, 1))


def histories(counts: Floats, until: int) -> Histories:
    return Histories(counts[:, :until], 0, numpy.zeros(len(counts), dtype=numpy.int32))


def test_weight_goes_to_whoever_is_right_per_series() -> None:
    counts = numpy.full((2, 600), 10, dtype=numpy.float32)
    first, second = counts.copy(), counts.copy()
    first[0] = 20
    second[1] = 20
    hybrid = Hybrid([Saying("first", first), Saying("second", second)])
    hybrid.fit(histories(counts, 300))
    weights = hybrid.weights.of_counts(numpy.zeros(2, dtype=numpy.bool_))
    assert (weights[:, 1, 0] > 0.95).all()
    assert (weights[:, 0, 1] > 0.95).all()
    assert numpy.allclose(hybrid.predict(10).mean, 10, atol=0.3)


def test_it_changes_sides_within_hours() -> None:
    counts = numpy.full((1, 2000), 10, dtype=numpy.float32)
    early, late = counts.copy(), counts.copy()
    early[:, 1000:] = 20
    late[:, :1000] = 20
    hybrid = Hybrid([Saying("early", early), Saying("late", late)])
    hybrid.fit(histories(counts, 900))
    assert abs(hybrid.predict(1).mean[0, 0] - 10) < 0.5
    for column in range(900, 1500):
        hybrid.update(counts[:, column : column + 1])
    assert abs(hybrid.predict(1).mean[0, 0] - 10) < 0.5


def test_a_member_that_covers_some_series_has_no_weight_elsewhere() -> None:
    weights = Weights(2, 3)
    weights.cover(0, slice(None))
    weights.cover(1, numpy.array([1]))
    found = weights.of_counts(numpy.zeros(3, dtype=numpy.bool_))
    assert found[0, 1].tolist() == [0, 0.5, 0]
    assert numpy.allclose(found.sum(axis=1), 1)


def test_drift_is_noticed_and_the_naive_forecast_stands_in_for_a_while() -> None:
    drift = Drift(2)
    now = 100
    alarms: list[int] = []
    for _ in range(30):
        now += 1
        alarms += drift.see(
            now, slice(None), numpy.array([5.0, 1.0], dtype=numpy.float32), numpy.ones(2, dtype=numpy.float32)
        ).tolist()
    assert alarms
    assert set(alarms) == {0}
    assert drift.naive_only(now).tolist() == [True, False]
    assert drift.naive_only(now + Drift.REST_MINUTES).tolist() == [False, False]
    weights = Weights(2, 2)
    for member in range(2):
        weights.cover(member, slice(None))
    assert weights.of_counts(drift.naive_only(now))[0, :, 0].tolist() == [1, 0]


def test_a_mixture_that_is_as_good_never_drifts() -> None:
    rng = numpy.random.default_rng(1)
    drift = Drift(100)
    for now in range(3000):
        own, naive = rng.gamma(2, 1, (2, 100)).astype(numpy.float32)
        drift.see(now, slice(None), own * 0.9, naive)
    assert drift.alarms.mean() < 0.5


def test_quality_is_kept_of_every_member_and_of_the_mixture() -> None:
    counts = numpy.random.default_rng(1).poisson(10, (3, 500)).astype(numpy.float32)
    hybrid = Hybrid([Saying("naive", counts + 5), Saying("good", counts)])
    hybrid.fit(histories(counts, 400))
    good, naive = hybrid.quality["good"][0].of_all(), hybrid.quality["naive"][0].of_all()
    assert set(hybrid.quality) == {"naive", "good", "hybrid"}
    assert good.rmse == 0
    assert naive.mase == 1
    own = hybrid.quality["hybrid"][0].of(1)
    assert own.mase is not None
    assert own.mase < 1
