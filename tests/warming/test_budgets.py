"""Budgets of groups: each keeps to its own, by idle memory, by a share of cold starts, or by memory at once."""

import numpy
import pytest

from isotherm.warming.budgets import Budget
from isotherm.warming.drivers.fixed import PerDay
from isotherm.warming.drivers.foresight import Foresight
from isotherm.warming.model import Demand, Groups, Observed, Outlook, Prices, Rung
from isotherm.warming.policy import plan
from isotherm.warming.price import ColdPrices
from tests.warming.logs import demand, played
from tests.warming.test_foresight import MINUTES, mixed

DAY = 1440


def long(units: int, minutes: int = DAY, seed: int = 5) -> numpy.ndarray:
    chance = numpy.random.default_rng(seed)
    rates = 10.0 ** chance.uniform(-2.0, -0.3, units)
    return (chance.random((units, minutes)) < rates[:, None]).astype(numpy.int32)


def cold_shares(held: numpy.ndarray, counts: numpy.ndarray, since: int) -> tuple[int, int]:
    """(minutes that began cold and need not have, minutes with calls), from a minute on."""
    known = numpy.cumsum(counts, axis=1) - counts > 0
    active = (counts > 0)[:, since:]
    return int((active & known[:, since:] & (held[:, since:] == 0)).sum()), int((active & known[:, since:]).sum())


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_a_share_of_cold_starts_is_kept_to(share: float) -> None:
    counts = long(40)
    groups = Groups.one(40, Budget("p_cold", share))
    held = played(Foresight(demand(40), PerDay(1, 0.0), groups=groups), counts)
    cold, active = cold_shares(held, counts, 240)
    assert 0.6 * share <= cold / active <= 1.25 * share


def test_a_smaller_share_takes_more_memory() -> None:
    counts = long(40)
    idle = []
    for share in (0.3, 0.1, 0.02):
        groups = Groups.one(40, Budget("p_cold", share))
        held = played(Foresight(demand(40), PerDay(1, 0.0), groups=groups), counts)
        idle.append(int(((held > 0) & (counts == 0)).sum()))
    assert idle == sorted(idle)
    assert idle[0] < 0.8 * idle[-1]


def test_memory_at_once_is_never_exceeded_and_is_used() -> None:
    counts = mixed(60)
    known = demand(60, gb=0.5)
    policy = Foresight(known, PerDay(1, 0.0), groups=Groups.one(60, Budget("host", 4.0)))
    held = played(policy, counts)
    at_once = (held > 0).sum(axis=0) * 0.5
    assert at_once.max() <= 4.0
    assert at_once[60:].min() >= 3.5


def test_each_group_spends_its_own() -> None:
    counts = numpy.concatenate([mixed(30), mixed(30)])
    known = demand(60)
    of = numpy.repeat([0, 1], 30).astype(numpy.int32)
    groups = Groups(of, numpy.full(2, numpy.nan), numpy.full(2, numpy.inf))

    class Unequal(PerDay):
        def income(self, minute: int) -> numpy.ndarray:
            return numpy.array([1.0, 4.0])

        def headroom(self, minute: int) -> numpy.ndarray:
            return self.income(minute)

    held = played(Foresight(known, Unequal(2, 0.0, MINUTES), groups=groups), counts)
    spent = [float(((held[of == g] > 0) & (counts[of == g] == 0)).sum()) for g in (0, 1)]
    assert 0.7 * MINUTES < spent[0] <= 1.005 * MINUTES
    assert 2 * spent[0] < spent[1] <= 4.02 * MINUTES


def test_one_with_a_share_and_one_with_memory_do_not_disturb_each_other() -> None:
    counts = numpy.concatenate([long(30), long(30, seed=6)])
    of = numpy.repeat([0, 1], 30).astype(numpy.int32)
    groups = Groups(of, numpy.array([0.05, numpy.nan]), numpy.array([numpy.inf, 3.0]))
    held = played(Foresight(demand(60), PerDay(2, 0.0), groups=groups), counts)
    cold, active = cold_shares(held[:30], counts[:30], 240)
    assert 0.02 <= cold / active <= 0.07
    assert (held[30:] > 0).sum(axis=0).max() <= 3


def test_the_price_of_a_share_is_the_highest_at_which_it_holds() -> None:
    prices = ColdPrices(2)
    worth = numpy.array([1.0, 2.0, 4.0, 8.0])
    prices.learn(numpy.array([0, 0, 0, 1], numpy.int32), worth, numpy.ones(4))
    found = prices.at(numpy.array([0.07, 0.0]))  # it aims at five times as much where none was cold yet
    assert 1.0 < found[0] <= 2.0
    assert 0.0 <= found[1] <= 8.0


def test_the_plan_for_the_coming_minute_is_what_the_policy_holds() -> None:
    counts = mixed(40)
    known = Demand(numpy.arange(40, dtype=numpy.int32), numpy.linspace(0.05, 0.5, 40), numpy.ones(40))
    policy = Foresight(known, PerDay(1, 1.0, MINUTES))
    for minute in range(MINUTES):
        before = policy.rung.copy()
        was = numpy.where(before == Rung.WARM, 1, 0).astype(numpy.int32)
        instances = policy.hold(minute)
        names = tuple(f"r{i}" for i in range(40))
        observed = Observed(names, policy.groups.of, policy.gb, policy.start_s, before, was)
        outlook = Outlook(policy.probability[:, None], instances, policy.weight)
        actions = plan(observed, outlook, Budget("idle", 1.0), policy.prices, minute)
        after = {f"r{i}": (int(before[i]), int(was[i])) for i in range(40)}
        after |= {each.revision: (int(each.rung), each.instances) for each in actions}
        assert after == {f"r{i}": (int(policy.rung[i]), int(instances[i])) for i in range(40)}
        policy.observe(minute, counts[:, minute])
    assert isinstance(policy.prices, Prices)
