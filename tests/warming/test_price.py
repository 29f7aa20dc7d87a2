"""The price of idle memory follows what was spent."""

import numpy
import pytest

from isotherm.warming.price import ShadowPrices

GROUP = numpy.zeros(4, numpy.int32)
WORTH = numpy.array([8.0, 2.0, 0.5, 0.01])
IDLE = numpy.ones(4)


def prices_after(minutes: int, income: float, credit: float = 0.0) -> float:
    prices = ShadowPrices(1)
    at = 0.0
    for _ in range(minutes):
        prices.learn(GROUP, WORTH, IDLE)
        at = float(prices.at(prices.earn(numpy.array([income]), income), numpy.array([credit]))[0])
    return at


@pytest.mark.parametrize(("income", "held"), [(0.5, 0), (1.0, 1), (2.0, 2), (3.5, 3), (9.0, 4)])
def test_as_much_is_held_as_the_income_pays(income: float, held: int) -> None:
    assert int((prices_after(30, income) <= WORTH).sum()) == held


def test_what_is_left_over_is_spent_and_what_is_overdrawn_is_saved() -> None:
    assert prices_after(30, 2.0, credit=60.0) < prices_after(30, 2.0) < prices_after(30, 2.0, credit=-60.0)


def test_each_group_has_its_own() -> None:
    prices = ShadowPrices(2)
    prices.learn(numpy.array([0, 0, 1, 1], numpy.int32), WORTH, IDLE)
    rate = prices.earn(numpy.array([1.0, 1.0]), 1.0)
    first, second = prices.at(rate, numpy.zeros(2))
    assert 2.0 < first <= 8.0
    assert 0.01 < second <= 0.5


def test_nothing_known_costs_nothing() -> None:
    prices = ShadowPrices(1)
    assert prices.at(numpy.zeros(1), numpy.zeros(1)) == [0.0]
