"""What a step of a rollout comes to: when it goes on, when it waits, when it goes back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import Invalid
from isotherm.wire.telemetry import LATENCY_BUCKETS_MS, MinuteAggregate
from isotherm.workloads.rollout_model import Counts, RolloutPlan
from isotherm.workloads.rollout_policy import (
    FEWEST_CALLS,
    Advance,
    Hold,
    RollBack,
    at_once,
    check_plan,
    counts_of,
    decide,
    instances_wanted,
    since,
    stages,
    weights_at,
)

BUCKETS = len(LATENCY_BUCKETS_MS) + 1
CANARY = RolloutPlan(strategy="canary", steps=(5, 50, 100), step_s=10, max_step_s=100, min_samples=100)


def counts(calls: int, errors: int = 0, latency_ms: float = 3.0) -> Counts:
    """So many calls, all of this latency."""
    latency = [0] * BUCKETS
    latency[next((i for i, bound in enumerate(LATENCY_BUCKETS_MS) if latency_ms <= bound), BUCKETS - 1)] = calls
    return Counts(calls=calls, errors=errors, latency=latency)


def decided(old: Counts, new: Counts, *, plan: RolloutPlan = CANARY, step: int = 1, **changes: Any) -> Any:
    values: dict[str, Any] = {"paused": False, "elapsed_s": 20.0} | changes
    return decide(plan, step, old=old, new=new, **values)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (RolloutPlan(), [("whole", 1.0, 0.0, 0)]),
        (RolloutPlan(bake_s=7), [("whole", 1.0, 0.0, 7)]),
        (CANARY, [("canary", 0.05, 0.0, 10), ("canary", 0.5, 0.0, 10), ("whole", 1.0, 0.0, 0)]),
        (RolloutPlan(strategy="blue-green"), [("whole", 1.0, 0.0, 300)]),
        (
            RolloutPlan(strategy="blue-green", shadow=10, bake_s=1),
            [("shadow", 0.0, 0.1, 60), ("whole", 1.0, 0.0, 1)],
        ),
    ],
)
def test_a_plan_is_stages_that_end_with_all_calls(plan: RolloutPlan, expected: list[Any]) -> None:
    assert [(each.kind, each.weight, each.shadow, each.least_s) for each in stages(plan)] == expected


def test_only_a_move_that_nobody_watches_is_at_once() -> None:
    assert at_once(RolloutPlan())
    assert not at_once(RolloutPlan(bake_s=1))
    assert not at_once(RolloutPlan(shadow=1))
    assert not at_once(CANARY)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"steps": (50, 5, 100)}, "each step must be above"),
        ({"steps": (5, 50)}, "the last step must be 100"),
        ({"step_s": 20, "max_step_s": 10}, "max_step_s is 10, below"),
    ],
)
def test_a_plan_that_does_not_fit_together_is_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(Invalid, match=what):
        check_plan(RolloutPlan(strategy="canary", **changes))


def test_it_begins_unless_it_is_paused() -> None:
    assert decided(Counts(), Counts(), step=0) == Advance(None)
    assert decided(Counts(), Counts(), step=0, paused=True) == Hold(None)


def test_a_step_goes_on_after_its_time_with_enough_calls_of_both() -> None:
    assert isinstance(decided(counts(1900), counts(100)), Advance)
    assert isinstance(decided(counts(1900), counts(100), elapsed_s=9.9), Hold)
    assert isinstance(decided(counts(1900), counts(99)), Hold)
    assert isinstance(decided(counts(99), counts(100)), Hold)
    assert isinstance(decided(counts(1900), counts(100), paused=True), Hold)


def test_one_that_fails_goes_back_with_the_evidence_also_while_it_is_paused() -> None:
    for paused in (False, True):
        decision = decided(counts(1900, 2), counts(50, 25), elapsed_s=1.0, paused=paused)
        assert isinstance(decision, RollBack)
        assert decision.rule == "errors"
        assert decision.reading is not None
        assert decision.reading.error_e >= decision.reading.threshold
        assert (decision.reading.new.errors, decision.reading.new.error_rate) == (25, 0.5)


def test_one_that_is_slower_goes_back() -> None:
    decision = decided(counts(1900, latency_ms=3), counts(50, latency_ms=60))
    assert isinstance(decision, RollBack)
    assert decision.rule == "latency"
    assert decision.reading is not None
    assert decision.reading.slower_ms is not None
    assert decision.reading.slower_ms <= 100


@pytest.mark.parametrize(("old_ms", "new_ms"), [(0.3, 6), (3, 12), (100, 250), (3, 3), (60, 3)])
def test_a_little_slower_or_faster_is_no_reason(old_ms: float, new_ms: float) -> None:
    assert isinstance(decided(counts(1900, latency_ms=old_ms), counts(500, latency_ms=new_ms)), Advance)


def test_the_first_few_calls_accuse_nobody() -> None:
    few = FEWEST_CALLS - 1
    assert isinstance(decided(counts(10_000), counts(few, few)), Hold)


def test_without_the_gate_only_time_counts() -> None:
    plan = RolloutPlan(strategy="canary", gate=False, step_s=10)
    assert isinstance(decided(counts(100), counts(100, 100), plan=plan), Advance)
    assert isinstance(decided(counts(0), counts(0), plan=plan, elapsed_s=9), Hold)


@pytest.mark.parametrize(
    ("on_quiet", "errors", "expected"),
    [("advance", 0, Advance), ("advance", 3, RollBack), ("hold", 0, Hold), ("roll-back", 0, RollBack)],
)
def test_too_few_calls_are_decided_as_the_plan_says(on_quiet: Any, errors: int, expected: type) -> None:
    plan = RolloutPlan(strategy="canary", step_s=10, max_step_s=100, on_quiet=on_quiet)
    assert isinstance(decided(counts(50), counts(9, errors), plan=plan, elapsed_s=99), Hold)
    decision = decided(counts(50), counts(9, errors), plan=plan, elapsed_s=100)
    assert isinstance(decision, expected)
    if isinstance(decision, RollBack):
        assert decision.rule == "quiet"


def test_a_bake_ends_with_its_time_however_few_calls_came() -> None:
    plan = RolloutPlan(strategy="blue-green", bake_s=30)
    assert isinstance(decided(counts(0), counts(3), plan=plan, elapsed_s=29), Hold)
    assert isinstance(decided(counts(0), counts(3), plan=plan, elapsed_s=30), Advance)
    assert isinstance(decided(counts(0), counts(3, 1), plan=plan, elapsed_s=30), RollBack)
    assert isinstance(decided(counts(1000), counts(40, 20), plan=plan, elapsed_s=2), RollBack)


def test_what_was_turned_away_at_a_limit_is_neither_a_call_nor_an_error() -> None:
    outcomes = {"ok": 5, "rejected": 7, "handler_error": 1, "timeout": 1, "out_of_memory": 1, "crash": 1}
    minute = MinuteAggregate(
        namespace="default",
        name="hello",
        revision_id="rev_1",
        minute=1,
        count=18,
        outcomes=outcomes | {"import_error": 1, "invalid": 1},
        cold={},
        latency=[18] + [0] * (BUCKETS - 1),
        total_ms=0,
        run_ms=0,
        queue_ms=0,
    )
    found = counts_of([minute, minute])
    assert (found.calls, found.errors) == (22, 12)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_counts_on_top_of_a_mark_are_never_negative(calls: int, then: int, errors: int) -> None:
    found = since(counts(calls, min(errors, calls)), counts(then, min(errors, then)))
    assert 0 <= found.errors <= found.calls <= calls
    assert all(each >= 0 for each in found.latency)
    assert since(counts(calls), Counts()) == counts(calls)


@given(st.integers(1, 50), st.integers(51, 99), st.floats(0, 1))
def test_the_shares_of_a_stage_sum_to_one(before: int, to: int, weight: float) -> None:
    shares = weights_at(before, to, weight)
    assert sum(share.weight for share in shares) == pytest.approx(1)
    assert weights_at(to, before, 1.0)[0].number == before


@given(st.integers(0, 100), st.integers(1, 20))
def test_as_many_instances_are_wanted_as_the_share_needs_but_one_at_least(live: int, limit: int) -> None:
    five, _, whole = stages(CANARY)
    assert 1 <= instances_wanted(live, five, limit) <= instances_wanted(live, whole, limit) <= limit
    assert instances_wanted(live, whole, 1000) == max(1, live)
