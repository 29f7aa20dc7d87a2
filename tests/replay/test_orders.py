"""Kills and rollouts as the command line orders them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import Invalid
from isotherm.replay.model import StandIn
from isotherm.replay.orders import (
    STRATEGIES,
    KillOrder,
    busiest,
    choose_victims,
    deal_rollouts,
    kill_times,
    parse_kill,
    parse_strategies,
    rollout_plan,
)
from isotherm.replay.policy import Plan
from isotherm.workloads.rollout_model import RolloutPlan
from isotherm.workloads.rollout_policy import check_plan, stages


def plan_of(rows: list[int]) -> Plan:
    count = len(rows)
    return Plan(np.arange(count, dtype=np.float64), np.array(rows, dtype=np.int32), *(np.zeros(count),) * 2, 60.0)


def stand_ins(count: int) -> list[StandIn]:
    return [StandIn(f"replay-{row:04d}", row, ()) for row in range(count)]


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("control", KillOrder("control")),
        ("control@10", KillOrder("control", at_s=(10.0,))),
        ("control/7.5", KillOrder("control", every_s=7.5)),
        ("instances", KillOrder("instances", 0.1)),
        ("instances:0.5@4,8", KillOrder("instances", 0.5, (4.0, 8.0))),
        ("instances:1/5", KillOrder("instances", 1.0, every_s=5.0)),
    ],
)
def test_a_kill_says_what_how_much_and_when(text: str, order: KillOrder) -> None:
    assert parse_kill(text) == order
    assert parse_kill(order.text) == order


@pytest.mark.parametrize(
    "text", ["host", "control:0.5", "instances:0", "instances:1.5", "instances@x", "control/0.2", "control@1.2.3", ""]
)
def test_what_is_no_kill_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="--kill"):
        parse_kill(text)


@given(st.text(max_size=30))
def test_any_text_is_a_kill_or_invalid(text: str) -> None:
    try:
        order = parse_kill(text)
    except Invalid:
        return
    assert parse_kill(order.text) == order


def test_a_kill_without_a_time_is_in_the_middle() -> None:
    assert kill_times(parse_kill("control"), 30.0) == [15.0]
    assert kill_times(parse_kill("control@20,5"), 30.0) == [5.0, 20.0]


@given(st.floats(1.0, 50.0), st.floats(2.0, 500.0))
def test_repeated_kills_lie_within_the_replay(every_s: float, length_s: float) -> None:
    order = KillOrder("control", every_s=every_s)
    if every_s >= length_s:
        with pytest.raises(Invalid):
            kill_times(order, length_s)
        return
    times = kill_times(order, length_s)
    assert all(0 < at < length_s for at in times)
    assert len(times) == -(-length_s // every_s) - 1


def test_a_kill_after_the_end_is_refused() -> None:
    with pytest.raises(Invalid, match="takes 30 s"):
        kill_times(parse_kill("control@30"), 30.0)


@given(st.integers(0, 300), st.floats(0.01, 1.0), st.integers(0, 2**32), st.integers(0, 50))
def test_victims_are_that_share_by_the_seed(count: int, share: float, seed: int, turn: int) -> None:
    chosen = choose_victims(count, share, seed, turn)
    assert chosen == choose_victims(count, share, seed, turn)
    assert len(chosen) == len(set(chosen)) == (min(count, max(1, round(share * count))) if count else 0)
    assert set(chosen) <= set(range(count))


def test_each_kill_chooses_anew() -> None:
    assert len({tuple(choose_victims(100, 0.1, 1, turn)) for turn in range(10)}) == 10
    assert choose_victims(100, 0.1, 1, 0) != choose_victims(100, 0.1, 2, 0)


def test_strategies_are_named_once_and_all_means_all() -> None:
    assert parse_strategies(["shadow", "canary", "shadow"]) == ["shadow", "canary"]
    assert parse_strategies(["canary", "all"]) == list(STRATEGIES)
    assert parse_strategies([]) == []
    with pytest.raises(Invalid, match="--rollout big-bang"):
        parse_strategies(["big-bang"])


@given(st.lists(st.integers(0, 9), max_size=200), st.integers(1, 12))
def test_the_busiest_have_the_most_calls(rows: list[int], count: int) -> None:
    found = busiest(plan_of(rows), count)
    calls = [rows.count(row) for row in found]
    assert calls == sorted(calls, reverse=True)
    assert len(found) == min(count, len(set(rows)))
    assert all(rows.count(other) <= min(calls) for other in set(rows) - set(found))


def test_strategies_are_dealt_to_the_busiest_in_turn() -> None:
    plan = plan_of([0] * 2 + [1] * 9 + [2] * 5 + [3])
    dealt = deal_rollouts(plan, stand_ins(4), ["canary", "shadow"], 3)
    assert [(one.stand_in.row, one.strategy) for one in dealt] == [(1, "canary"), (2, "shadow"), (0, "canary")]
    assert len(deal_rollouts(plan, stand_ins(4), list(STRATEGIES), 1)) == 4
    assert deal_rollouts(plan, stand_ins(4), [], 3) == []


def test_too_few_functions_for_the_strategies_are_refused() -> None:
    with pytest.raises(Invalid, match="4 strategies need as many functions"):
        deal_rollouts(plan_of([0, 1]), stand_ins(3), list(STRATEGIES), 3)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("step_s", [0.2, 1.0, 30.0])
def test_a_strategy_is_a_plan_that_the_platform_takes(strategy: str, step_s: float) -> None:
    plan = RolloutPlan(**{key: tuple(v) if key == "steps" else v for key, v in rollout_plan(strategy, step_s).items()})
    check_plan(plan)
    kinds = [stage.kind for stage in stages(plan)]
    wanted = {"canary": ["canary", "canary", "whole"], "shadow": ["shadow", "whole"]}
    assert kinds == wanted.get(strategy, ["whole"])
    assert stages(plan)[-1].least_s == (2 * step_s if strategy == "blue-green" else 0.0)
