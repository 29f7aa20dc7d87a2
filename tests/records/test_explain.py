"""Explanations: every cause of a cold start in words, with remedies and what it cost."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.functions.model import FunctionConfig, WarmConfig
from isotherm.prices.machines import default_machine
from isotherm.records.decision import decision
from isotherm.records.model import Decision, Explanation
from isotherm.records.policy import explain
from isotherm.warming.receipt import Reason, Receipt, RungName
from isotherm.wire.desired import RevisionSpec, WarmSpec
from isotherm.wire.telemetry import ColdCause, InvocationRecord, Outcome
from tests.records.test_decisions import receipt
from tests.records.test_records import NOW_MS, record

causes: tuple[ColdCause, ...] = get_args(ColdCause)
times = st.floats(0, 1e6)


def spec(**fields: Any) -> RevisionSpec:
    given_fields = {
        "id": "rev_1",
        "workload_id": "wl_1",
        "namespace": "default",
        "name": "hello",
        "number": 1,
        "runtime": "python3.11",
        "handler": "app.handler",
        "package": "0" * 64,
        "memory_mb": 512,
    }
    return RevisionSpec(**(given_fields | fields))


def explained(called: InvocationRecord, revision: RevisionSpec | None = None) -> Explanation:
    return explain(called, revision or spec(), default_machine())


def settings_of(explanation: Explanation) -> dict[str, Any]:
    return {remedy.setting: remedy.proposed for remedy in explanation.remedies}


def test_a_warm_call_needs_no_remedy() -> None:
    found = explained(record(1))
    assert found.cold is None
    assert found.remedies == []
    assert "warm" in found.summary
    assert [(phase.name, phase.ms) for phase in found.phases] == [
        ("queue", 0.1),
        ("start", 0.0),
        ("run", 2.0),
        ("other", pytest.approx(0.4)),
    ]


@pytest.mark.parametrize("cause", causes)
def test_every_cause_is_told_in_words_with_a_remedy_that_exists(cause: ColdCause) -> None:
    found = explained(record(1, cold_cause=cause, start_ms=5.0, total_ms=7.5))
    assert found.cold
    assert "cold" in found.summary
    known = set(FunctionConfig.__struct_fields__) | {f"warm.{name}" for name in WarmConfig.__struct_fields__}
    assert found.remedies
    assert set(settings_of(found)) <= known, "as in isotherm.toml"


@pytest.mark.parametrize(
    ("cause", "setting", "proposed"),
    [
        ("first", "warm.min_instances", 1),
        ("template", "warm.spare", 2),
        ("spare", "warm.warm_event", None),
        ("scale_out", "warm.spare", 2),
        ("expired", "warm.keep_alive_s", 1200.0),
        ("evicted", "warm.min_instances", 1),
        ("replaced", "warm.spare", 2),
    ],
)
def test_the_first_remedy_fits_the_cause(cause: ColdCause, setting: str, proposed: object) -> None:
    first = explained(record(1, cold_cause=cause, start_ms=5.0)).remedies[0]
    assert (first.setting, first.proposed) == (setting, proposed)


def test_a_warm_event_that_is_there_is_not_proposed_again() -> None:
    warmed = spec(warm=WarmSpec(warm_event={"ping": True}))
    assert "warm.warm_event" not in settings_of(explained(record(1, cold_cause="spare"), warmed))


def test_a_call_that_mostly_waited_wants_more_instances() -> None:
    found = explained(record(1, queue_ms=900.0, run_ms=50.0, total_ms=951.0))
    assert settings_of(found) == {"warm.max_instances": 40, "concurrency": 2}


@pytest.mark.parametrize(
    ("outcome", "setting", "proposed"), [("timeout", "timeout_s", 60.0), ("out_of_memory", "memory_mb", 1024)]
)
def test_a_limit_that_was_hit_is_named(outcome: Outcome, setting: str, proposed: float) -> None:
    assert settings_of(explained(record(1, outcome=outcome)))[setting] == proposed


def test_the_cost_is_memory_times_time_at_a_dated_price() -> None:
    found = explained(record(1, cold_cause="first", start_ms=1500.0, run_ms=500.0, total_ms=2000.1))
    assert found.gb_s == pytest.approx(0.5 * 2.0)
    assert found.cost_usd == pytest.approx(default_machine().usd_per_gb_s)
    assert found.cold_cost_usd == pytest.approx(0.75 * default_machine().usd_per_gb_s)
    assert default_machine().as_of.isoformat() in found.price


def test_a_revision_that_is_gone_leaves_causes_but_no_costs() -> None:
    found = explain(record(1, cold_cause="template", start_ms=5.0), None, default_machine())
    assert (found.gb_s, found.cost_usd, found.cold_cost_usd) == (None, None, None)
    assert {remedy.now for remedy in found.remedies} == {None}
    assert found.cold


def test_the_steps_of_a_start_come_longest_first_and_the_longest_is_named() -> None:
    steps = {"fork": 1.0, "import": 900.0, "verify": 0.4}
    found = explained(record(1, cold_cause="first", start_ms=901.4, start_steps_ms=steps))
    assert list(found.start_steps_ms) == ["import", "fork", "verify"]
    assert "import: 900.0 ms" in found.summary


def test_what_holds_other_steps_is_not_the_longest() -> None:
    steps = {"total": 14.0, "keeper": 12.0, "clone": 7.0, "verify": 0.3}
    found = explained(record(1, cold_cause="scale_out", start_ms=14.2, start_steps_ms=steps))
    assert "clone: 7.0 ms" in found.summary
    assert "total" not in found.summary


def test_a_spare_and_the_error_are_named() -> None:
    spare = explained(record(1, cold_cause="spare", start_ms=0.0))
    assert next(phase.what for phase in spare.phases if phase.name == "start") == "a parked spare took it"
    failed = explained(record(1, outcome="handler_error", error_type="KeyError", error_message="no such key"))
    assert "KeyError: no such key" in failed.summary


@given(times, times, times, times, st.sampled_from([None, *causes]), st.sampled_from(get_args(Outcome)))
def test_any_record_can_be_explained(
    queue_ms: float, start_ms: float, run_ms: float, total_ms: float, cause: ColdCause | None, outcome: Outcome
) -> None:
    called = record(
        1,
        queue_ms=queue_ms,
        start_ms=start_ms,
        run_ms=run_ms,
        total_ms=total_ms,
        cold_cause=cause,
        outcome=outcome,
    )
    for revision in (spec(), None):
        found = explain(called, revision, default_machine())
        assert all(0 <= phase.share <= 1 and phase.ms >= 0 for phase in found.phases)
        settings = [remedy.setting for remedy in found.remedies]
        assert len(settings) == len(set(settings))


def decided(called: InvocationRecord, about: Receipt | None, **revision: Any) -> Decision:
    return decision(called, about, spec(**revision), default_machine(), "foresight")


def cold(**fields: Any) -> InvocationRecord:
    return record(1, **({"cold_cause": "expired", "start_ms": 180.0} | fields))


def test_a_decision_is_told_with_its_forecast_its_reason_and_what_the_other_would_have_cost() -> None:
    about = receipt(0, at_ms=NOW_MS - 200_000, again_ms=NOW_MS + 720_000)
    found = decided(cold(), about, memory_mb=512)
    assert found.receipt == about
    assert found.waited_ms == 180.0
    assert found.kept_gb_s == pytest.approx(0.5 * 200)
    assert found.kept_usd == pytest.approx(100 * default_machine().usd_per_gb_s)
    assert found.summary == (
        "3.3 minutes before the call the policy put the probability of a call within the minute at 0.8 %, with 0.0081 "
        "calls on the mean. It let the revision wait cold (before: warm with 1 instance), because the odds of a call "
        "were not worth its memory at the price of the moment. One GB·minute of idle memory had to avoid 0.0021 cold "
        "starts then; the budget was platform: idle <= keep_alive. It was to be warm again 12.0 minutes after this "
        "call. To keep one instance more warm from then until the call would have cost at most 100 GB·s, $0.00028; the "
        "call waited 180.0 ms for its start instead."
    )


def test_a_revision_that_was_warm_and_too_few_says_how_many() -> None:
    about = receipt(0, at_ms=NOW_MS - 1500, rung="warm", instances=2, reason="peak")
    found = decided(cold(cold_cause="scale_out"), about)
    assert "1.5 s before the call" in found.summary
    assert "wait warm with 2 instances (before: warm with 1 instance), because so many calls at once" in found.summary


@pytest.mark.parametrize("reason", get_args(Reason))
@pytest.mark.parametrize("rung", get_args(RungName))
def test_every_reason_and_rung_is_told_in_words(reason: Reason, rung: RungName) -> None:
    found = decided(cold(), receipt(0, reason=reason, rung=rung, instances=1))
    assert ", because " in found.summary
    assert "{" not in found.summary


def test_a_decision_about_a_revision_that_is_gone_tells_no_costs() -> None:
    found = decision(cold(), receipt(0), None, default_machine(), "foresight")
    assert (found.kept_gb_s, found.kept_usd, found.waited_ms) == (None, None, 180.0)
    assert "the call waited 180.0 ms" in found.summary


def test_no_decision_says_why_there_is_none() -> None:
    assert "receipt_days" in decided(cold(), None).summary
    assert 'warm.policy is "keep_alive"' in decided(cold(), None, warm=WarmSpec(policy="keep_alive")).summary
    off = decision(cold(), None, spec(), default_machine(), "keep_alive")
    assert "setting warming is keep_alive" in off.summary
    assert (off.receipt, off.kept_gb_s, off.waited_ms) == (None, None, 180.0)
