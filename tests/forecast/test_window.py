"""The window: the last minutes of all series, in bounded memory."""

import numpy
import pytest

from isotherm.base.errors import Invalid
from isotherm.forecast.model import Floats, Histories
from isotherm.forecast.window import LEAST, Window


def histories(n: int, m: int, since: int = 0) -> Histories:
    counts = numpy.arange(n * m, dtype=numpy.float32).reshape(n, m)
    return Histories(counts, 1000, numpy.full(n, since, dtype=numpy.int32))


def test_it_goes_on_where_the_histories_end() -> None:
    window = Window(histories(2, 100))
    window.append(numpy.array([[7, 8], [9, 10]], dtype=numpy.float32))
    assert (window.now, window.minutes, window.first_minute) == (1102, 102, 1000)
    assert window.at(1).tolist() == [8, 10]
    assert window.at(2).tolist() == [7, 9]
    assert window.at(103).tolist() == [0, 0]
    assert window.last(3)[0].tolist() == [99, 7, 8]


def test_what_is_kept_is_the_end_however_it_came() -> None:
    rng = numpy.random.default_rng(1)
    whole: Floats = rng.integers(0, 9, (3, 9000)).astype(numpy.float32)
    window = Window(Histories(whole[:, :10], 0, numpy.zeros(3, dtype=numpy.int32)), budget_bytes=1)
    at = 10
    while at < 9000:
        k = int(rng.integers(1, 3000))
        window.append(whole[:, at : at + k])
        at = min(9000, at + k)
        assert (window.counts == whole[:, max(0, at - LEAST) : at]).all()
        assert window.now == at
    assert window.minutes == window.capacity == LEAST


def test_memory_is_bounded_by_the_budget_and_not_by_the_minutes() -> None:
    budget = 64 * 1024 * 1024
    window = Window(histories(4000, 3), budget_bytes=budget)
    assert 4 * 4000 * window.capacity * 1.25 <= budget
    assert window.capacity >= LEAST


def test_ages_are_counted_from_the_beginning_of_a_series() -> None:
    window = Window(histories(1, 100, since=90))
    assert window.age.tolist() == [10]
    window.append(numpy.zeros((1, 5), dtype=numpy.float32))
    assert window.age.tolist() == [15]


@pytest.mark.parametrize("wrong", [[[1.0]], [[-1.0], [0.0]], [[numpy.inf], [0.0]]])
def test_what_does_not_fit_is_refused_and_changes_nothing(wrong: list[list[float]]) -> None:
    window = Window(histories(2, 10))
    with pytest.raises(Invalid):
        window.append(numpy.array(wrong, dtype=numpy.float32))
    assert window.now == 1010
