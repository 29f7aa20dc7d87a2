"""A forecast at minute t sees nothing after t: with another future it is the same, to the bit."""

import numpy
import pytest

from isotherm.forecast.backtest import Outcome, backtest
from isotherm.forecast.model import Floats, Histories, Prediction
from isotherm.forecast.port import Forecaster
from tests.contracts.forecast.conftest import Open
from tests.contracts.forecast.worlds import DAY, poisoned, world

START, TURN, END = 2 * DAY + 30, 2 * DAY + 69, 2 * DAY + 154
EVERY = 3
LEADS = (1, 10, 60)


def run(forecaster: Forecaster, histories: Histories) -> Outcome:
    return backtest(forecaster, histories, START, LEADS, every=EVERY, end=END)


def check(one: Outcome, other: Outcome) -> None:
    """Equal as long as the same was known, and else unlike: so what is compared does depend on what was known."""
    before = [index for index, origin in enumerate(one.origins) if origin <= TURN]
    after = [index for index, origin in enumerate(one.origins) if origin > TURN + EVERY]
    assert len(before) > 10
    assert len(after) > 5
    for name in ("mean", "quantiles"):
        ours: Floats = getattr(one, name)
        theirs: Floats = getattr(other, name)
        assert (ours[:, before] == theirs[:, before]).all(), name
        assert (ours[:, after] != theirs[:, after]).any(), name


def test_with_a_poisoned_future_a_forecast_is_the_same(opens: Open) -> None:
    histories = world()
    check(run(opens(), histories), run(opens(), poisoned(histories, TURN)))


def test_what_was_given_may_change_afterwards(opens: Open) -> None:
    """Neither a view of a larger array nor a buffer that is used again lets anything in from behind."""
    histories = world()
    whole = histories.counts.copy()
    forecaster, again = opens(), opens()
    forecaster.fit(Histories(whole[:, :START], histories.first_minute, histories.since))
    again.fit(histories.until(START))
    buffer = whole[:, START : START + 1].copy()
    forecaster.update(buffer)
    again.update(histories.counts[:, START : START + 1])
    whole[:] = 10_000
    buffer[:] = 10_000
    assert (forecaster.predict(60).quantiles == again.predict(60).quantiles).all()


class Peeping:
    """What this suite is there to find: it looks one minute further than it was given."""

    name = "peeping"

    def fit(self, histories: Histories) -> None:
        base = histories.counts.base
        assert base is not None
        self._all: Floats = base
        self._now = histories.counts.shape[1]
        self._first = histories.first_minute

    def update(self, counts: Floats) -> None:
        self._now += counts.shape[1]

    def predict(self, horizon: int) -> Prediction:
        mean = numpy.repeat(self._all[:, self._now, None], horizon, axis=1)
        return Prediction(self._first + self._now, mean, numpy.repeat(mean[:, :, None], 7, axis=2), (mean > 0) * mean)


def test_a_forecaster_that_peeps_is_found() -> None:
    histories = world()
    with pytest.raises(AssertionError, match="mean"):
        check(run(Peeping(), histories), run(Peeping(), poisoned(histories, TURN)))
