"""Our own policy: what it learns, that it cannot see what is to come, and that it keeps its budget."""

import itertools
import json

import numpy
import pytest

from isotherm.base.errors import Invalid
from isotherm.warming.drivers.features import FEATURES, describe, names
from isotherm.warming.drivers.fixed import Fixed, LikeFixed, PerDay
from isotherm.warming.drivers.foresight import (
    Foresight,
    hazards,
    instances_for,
    load_trees,
    outlook,
    shipped_trees,
    trees_to_json,
)
from isotherm.warming.drivers.greedy_dual import GreedyDual
from isotherm.warming.drivers.histogram import Histogram
from isotherm.warming.drivers.oracle import Oracle
from isotherm.warming.drivers.past import GAPS, Past, observe
from isotherm.warming.drivers.trees import fit_trees, scores
from isotherm.warming.model import Demand, Rung
from isotherm.warming.port import Policy
from tests.warming.logs import demand, played

MINUTES = 240


def mixed(units: int = 24, seed: int = 3) -> numpy.ndarray:
    """Timers of several periods, busy units and seldom ones, [n, m]."""
    chance = numpy.random.default_rng(seed)
    rates = 10.0 ** chance.uniform(-2.3, 0, units)
    counts = (chance.random((units, MINUTES)) < rates[:, None]).astype(numpy.int32)
    for i, period in enumerate((5, 7, 15, 20, 30, 60)):
        counts[i] = numpy.arange(MINUTES) % period == i % period
    return counts


def policies(counts: numpy.ndarray) -> dict[str, Policy]:
    known = demand(len(counts))
    return {
        "fixed": Fixed(known, 10),
        "histogram": Histogram(known, 60),
        "greedy_dual": GreedyDual(known, 8),
        "foresight": Foresight(known, LikeFixed(known, 10, MINUTES)),
        "foresight, a day's budget": Foresight(known, PerDay(1, 3.0)),
        "oracle": Oracle(known, counts, 500),
    }


@pytest.mark.parametrize("name", ["fixed", "histogram", "greedy_dual", "foresight", "foresight, a day's budget"])
@pytest.mark.parametrize("minute", [1, 60, 170])
def test_a_shuffled_future_changes_nothing_before_it(name: str, minute: int) -> None:
    counts = mixed()
    shuffled = counts.copy()
    order = numpy.random.default_rng(minute).permutation(MINUTES - minute)
    shuffled[:, minute:] = counts[:, minute:][:, order]
    shuffled[:, minute] = 1 - counts[:, minute]  # and what comes in the very minute that is asked about
    before = played(policies(counts)[name], counts)
    after = played(policies(shuffled)[name], shuffled)
    assert (before[:, : minute + 1] == after[:, : minute + 1]).all()
    assert (before != after).any()


def test_the_same_test_finds_one_who_does_see_the_future() -> None:
    counts = mixed()
    shuffled = counts.copy()
    shuffled[:, 60:] = counts[:, 60:][:, ::-1]
    before, after = (played(policies(each)["oracle"], each) for each in (counts, shuffled))
    assert (before[:, :60] != after[:, :60]).any()


@pytest.mark.parametrize("minutes", [2, 10, 30])
def test_it_spends_no_more_than_the_keep_alive_and_has_fewer_cold_starts(minutes: int) -> None:
    counts = mixed(60)
    known = demand(60)
    ours = played(Foresight(known, LikeFixed(known, minutes, MINUTES)), counts)
    theirs = played(Fixed(known, minutes), counts)
    idle = [int(((held > 0) & (counts == 0)).sum()) for held in (ours, theirs)]
    cold = [int(((held == 0) & (counts > 0)).sum()) for held in (ours, theirs)]
    assert idle[0] <= idle[1] * 1.005
    assert cold[0] < cold[1]


def test_a_days_budget_is_kept_in_gb() -> None:
    counts = mixed(40)
    known = Demand(numpy.arange(40, dtype=numpy.int32), numpy.linspace(0.05, 0.5, 40), numpy.zeros(40))
    held = played(Foresight(known, PerDay(1, 1.5, MINUTES)), counts)
    spent = float(((held > 0) & (counts == 0)).sum(axis=1) @ known.gb)
    assert 0.8 * 1.5 * MINUTES < spent <= 1.005 * 1.5 * MINUTES


def test_the_same_log_gives_the_same_plan() -> None:
    counts = mixed()
    first, second = (played(policies(counts)["foresight"], counts) for _ in range(2))
    assert (first == second).all()


def test_a_timer_is_expected_in_its_minute_and_not_between() -> None:
    past = Past.empty(1)
    for minute in range(150):
        observe(past, minute, numpy.array([int(minute % 30 == 0)], numpy.int32))
    ahead = outlook(shipped_trees(), past, 150, 5)
    assert ahead[0, 0] > 0.8
    for minute in range(150, 179):
        assert hazards(shipped_trees(), past, minute)[0] > 0.8 if minute == 150 else True
        observe(past, minute, numpy.array([int(minute == 150)], numpy.int32))
    assert hazards(shipped_trees(), past, 179)[0] < 0.1
    observe(past, 179, numpy.zeros(1, numpy.int32))
    assert hazards(shipped_trees(), past, 180)[0] > 0.8


def test_what_is_expected_given_silence_is_what_silence_brings() -> None:
    counts = mixed(8)
    past = Past.empty(8)
    for minute in range(200):
        observe(past, minute, counts[:, minute].copy())
    ahead = outlook(shipped_trees(), past, 200, 20)
    for minute in range(200, 220):
        assert hazards(shipped_trees(), past, minute) == pytest.approx(ahead[:, minute - 200])
        observe(past, minute, numpy.zeros(8, numpy.int32))


def plain_features(minutes: list[int], calls: int, minute: int) -> dict[str, float]:
    """A few of the features, the slow way."""
    gaps = [b - a for a, b in itertools.pairwise(minutes)]
    recent = gaps[::-1][:GAPS]
    age = minute - minutes[-1]
    weights = [0.9**k for k in range(len(recent))]
    lasted = sum(w for w, gap in zip(weights, recent, strict=True) if gap >= age)
    ended = sum(w for w, gap in zip(weights, recent, strict=True) if gap == age)
    after = [gap for before, gap in itertools.pairwise(gaps) if before == gaps[-1] and gap >= age]
    return {
        "age": age,
        "gaps": len(gaps),
        "hazard": (ended + 0.02) / (lasted + 1),
        "survivors_after": len(after),
        "hazard_after": (after.count(age) + 0.05) / (len(after) + 1),
        "active_60": sum(minute - 60 <= each < minute for each in minutes),
        "calls": calls,
        "active 30 ago": sum(minute - 30 * k in minutes for k in (1, 2, 3) if minute - 30 * k >= minutes[0])
        / max(1, sum(minute - 30 * k >= minutes[0] for k in (1, 2, 3))),
    }


@pytest.mark.parametrize("unit", range(10))
def test_features_are_what_their_names_say(unit: int) -> None:
    counts = mixed(10, seed=11)
    past = Past.empty(10)
    out = numpy.zeros(FEATURES, numpy.float32)
    for minute in range(MINUTES):
        active = [m for m in range(minute) if counts[unit, m]]
        if len(active) > 2 and len(active) <= GAPS and minute - active[0] > 90:
            describe(past, unit, minute, minute, out)
            told = dict(zip(names(), out, strict=True))
            for name, value in plain_features(active, 1, minute).items():
                assert told[name] == pytest.approx(value, rel=1e-5), (name, minute)
        observe(past, minute, counts[:, minute].copy())


def test_trees_learn_a_rule_and_give_probabilities() -> None:
    chance = numpy.random.default_rng(0)
    x = chance.random((20_000, 3)).astype(numpy.float32)
    p = numpy.where((x[:, 0] > 0.5) & (x[:, 2] < 0.3), 0.9, 0.1)
    trees = fit_trees(x, chance.random(20_000) < p, trees=30, depth=3)
    asked = numpy.array([[0.8, 0.5, 0.1], [0.2, 0.5, 0.1]], numpy.float32)
    assert scores(trees, numpy.ascontiguousarray(asked.T)) == pytest.approx([0.9, 0.1], abs=0.06)


def test_the_model_comes_back_from_json() -> None:
    trees = shipped_trees()
    again = load_trees(trees_to_json(trees, {"trained on": "a test"}))
    assert (again.feature == trees.feature).all()
    assert numpy.allclose(again.value, trees.value)


@pytest.mark.parametrize(
    "change", [{"features": ["age"]}, {"value": [[1.0]]}, {"feature": [[99] * 31]}, {"base": None}]
)
def test_a_model_for_other_features_is_refused(change: dict[str, object]) -> None:
    body = json.loads(trees_to_json(shipped_trees(), {})) | change
    with pytest.raises(Invalid, match="model of arrivals"):
        load_trees(json.dumps(body))


def test_instances_follow_the_load() -> None:
    """Of 0.01 calls at once none needs a second instance; of 20, a minute that needs 30 is likely."""
    found = instances_for(numpy.array([0.0, 0.01, 1.0, 20.0]), numpy.array([0.0, 1.0, 1.0, 1.0]))
    assert found[:2].tolist() == [1, 1]
    assert 3 <= found[2] <= 6
    assert 27 <= found[3] <= 36


def test_templates_are_held_before_a_first_call_where_they_are_cheap() -> None:
    known = demand(30, gb=1.0)
    ladder_gb = numpy.tile([0.0, numpy.inf, 0.001, 1.001], (30, 1))
    start_s = numpy.tile([0.1, 0.1, 0.01, 0.0], (30, 1))
    policy = Foresight(known, PerDay(1, 0.5, MINUTES), None, ladder_gb, start_s)
    played(policy, mixed(30)[:, :60] * 0)
    assert (policy.rung == Rung.TEMPLATE).all()
