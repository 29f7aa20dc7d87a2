"""The pool's decisions: properties that hold for all inputs, and the cases that they were made for."""

import hypothesis.strategies as st
from hypothesis import given

from isotherm.base.errors import InstanceCrashed, OutOfMemory
from isotherm.pool import policy
from isotherm.sandbox.model import Exit

small = st.integers(0, 2000)


@given(small, small, small, st.integers(1, 100), st.integers(1, 100), st.none() | st.floats(0, 10))
def test_starts_never_pass_the_limit_nor_what_waits(
    queued: int, starting: int, live: int, limit: int, concurrency: int, mean_run_s: float | None
) -> None:
    wanted = policy.starts_wanted(
        queued=queued, starting=starting, live=live, limit=limit, concurrency=concurrency, mean_run_s=mean_run_s
    )
    assert 0 <= wanted <= max(0, limit - live - starting)
    assert (wanted + starting - 1) * concurrency < max(1, queued) or wanted == 0


def test_a_cold_burst_starts_as_many_as_it_may() -> None:
    assert policy.starts_wanted(queued=500, starting=0, live=0, limit=20, concurrency=1, mean_run_s=None) == 20


def test_calls_that_busy_instances_take_sooner_than_a_start_ask_for_none() -> None:
    fast = policy.starts_wanted(queued=62, starting=0, live=2, limit=20, concurrency=1, mean_run_s=0.0001)
    slow = policy.starts_wanted(queued=62, starting=0, live=2, limit=20, concurrency=1, mean_run_s=0.2)
    assert (fast, slow) == (0, 18)


def test_instances_that_long_calls_hold_are_not_counted_on() -> None:
    free = policy.starts_wanted(queued=1, starting=0, live=3, limit=20, concurrency=1, mean_run_s=0.0001, held=2)
    none = policy.starts_wanted(queued=1, starting=0, live=3, limit=20, concurrency=1, mean_run_s=0.0001, held=3)
    assert (free, none) == (0, 1)


@given(small, small, small, small, small)
def test_spares_stay_within_the_limit(spare: int, parked: int, starting: int, live: int, limit: int) -> None:
    wanted = policy.spares_wanted(spare=spare, parked=parked, starting=starting, live=live, limit=limit)
    assert wanted >= 0
    assert wanted == 0 or live + starting + wanted <= limit


idle_entries = st.lists(st.builds(policy.Idle, small, st.floats(0, 1000), st.integers(0, 1 << 30), st.booleans()))


@given(st.integers(0, 1 << 34), st.integers(0, 1 << 34), idle_entries)
def test_eviction_stops_once_the_budget_is_met(used: int, budget: int, idle: list[policy.Idle]) -> None:
    chosen = policy.evictions(used, budget, idle)
    if used <= budget:
        assert chosen == []
    order = sorted(idle, key=lambda entry: (entry.template, entry.since_s))
    assert chosen == [entry.key for entry in order[: len(chosen)]]
    freed = sum(max(1, entry.memory_bytes) for entry in order[: len(chosen)])
    assert len(chosen) == len(idle) or used - freed <= budget


def test_idle_instances_go_before_templates_and_the_oldest_first() -> None:
    idle = [
        policy.Idle(1, 5.0, 10, template=True),
        policy.Idle(2, 9.0, 10, template=False),
        policy.Idle(3, 1.0, 10, False),
    ]
    assert policy.evictions(25, 0, idle) == [3, 2, 1]


@given(st.lists(st.floats(0, 100)), st.floats(0, 200), st.floats(0, 100), st.integers(0, 5), st.integers(0, 50))
def test_keep_alive_spares_the_minimum(since: list[float], now: float, keep: float, minimum: int, more: int) -> None:
    live = len(since) + more
    over = policy.expired(sorted(since), now, keep, keep_at_least=minimum, live=live)
    assert 0 <= over <= len(since)
    assert over == 0 or live - over >= minimum


def test_what_no_alias_points_to_cools_sooner() -> None:
    assert policy.keep_alive_s(600, referenced=True) == 600
    assert policy.keep_alive_s(600, referenced=False) == policy.RETIRED_KEEP_ALIVE_S
    assert policy.keep_alive_s(1, referenced=False) == 1


@given(st.integers(0, 1000))
def test_retries_wait_longer_each_time_but_not_for_ever(failures: int) -> None:
    assert 0.5 <= policy.retry_delay_s(failures) <= policy.retry_delay_s(failures + 1) <= 30


@given(st.integers(0, 10_000), st.integers(0, 100), st.none() | st.floats(0, 1000))
def test_retry_after_is_between_a_second_and_half_a_minute(queued: int, slots: int, mean: float | None) -> None:
    assert 1 <= policy.retry_after_s(queued, slots, mean) <= 30


def test_a_death_is_told_by_its_cause() -> None:
    memory = policy.death_error(Exit(signal=9, out_of_memory=True), "whatever", 128)
    assert isinstance(memory, OutOfMemory)
    assert "128 MB" in memory.message
    assert "signal 11" in policy.death_error(Exit(signal=11), None, 128).message
    assert policy.death_error(Exit(status=3), None, 128).data == {"exit_status": 3}
    assert policy.death_error(Exit(signal=9, asked=True), "it hung", 128).message == "it hung"
    assert isinstance(policy.death_error(None, None, 128), InstanceCrashed)
