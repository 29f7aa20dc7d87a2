"""The gate: what is surely better passes, and what is better by chance does not."""

import numpy
import pytest

from isotherm.base.errors import Invalid
from isotherm.forecast.model import Floats
from isotherm.forecast.promotion import gate, relative_difference


def losses(seed: int, o: int = 600, n: int = 4) -> Floats:
    """That hang together over half an hour, of series of unlike size."""
    rng = numpy.random.default_rng(seed)
    slow = numpy.repeat(rng.gamma(2, 1, (o // 30, n)), 30, axis=0)
    return (slow * rng.gamma(8, 1 / 8, (o, n)) * numpy.array([1, 10, 100, 1000])[:n]).astype(numpy.float32)


def test_without_a_current_model_the_first_is_promoted() -> None:
    assert gate(losses(1), None, block=36, current_version=None).promoted


def test_what_is_better_everywhere_is_promoted_and_what_is_worse_is_not() -> None:
    current = losses(1)
    better = gate((current * 0.9).astype(numpy.float32), current, block=36, current_version=3)
    assert better.promoted
    assert better.high is not None
    assert better.high < 0
    worse = gate((current * 1.1).astype(numpy.float32), current, block=36, current_version=3)
    assert not worse.promoted
    assert "worse" in worse.reason


def test_of_models_that_are_alike_hardly_any_is_promoted() -> None:
    promoted = 0
    for seed in range(15):
        noise = numpy.random.default_rng(1000 + seed)
        current = losses(seed, o=300)
        blockwise = numpy.repeat(numpy.exp(noise.normal(0, 0.2, (10, 4))), 30, axis=0)
        candidate = (current * blockwise / numpy.exp(0.02)).astype(numpy.float32)
        promoted += gate(candidate, current, block=30, current_version=1).promoted
    assert promoted <= 2


def test_one_series_that_is_much_better_does_not_carry_the_others() -> None:
    current = losses(2, n=4)
    candidate = (current * numpy.array([0.2, 1.05, 1.05, 1.05])).astype(numpy.float32)
    assert not gate(candidate, current, block=36, current_version=1).promoted


def test_losses_of_unlike_shapes_are_refused() -> None:
    with pytest.raises(Invalid):
        relative_difference(losses(1), losses(1, n=2), block=10)
