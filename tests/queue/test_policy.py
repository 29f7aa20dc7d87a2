"""Retries, waits and due times, for all that can come."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import all_errors
from isotherm.queue.policy import LATE_MS, MAX_MISSED, backoff_ms, due_times, judge, throttle_ms
from isotherm.wire.desired import AsyncSpec

RULES = st.builds(
    AsyncSpec,
    retries=st.integers(0, 50),
    retry_delay_s=st.floats(0, 1000),
    max_retry_delay_s=st.floats(0, 1000),
    max_age_s=st.floats(0.001, 1e6),
)
SPREAD = st.floats(0, 1, exclude_max=True)
CODES = st.sampled_from(sorted(all_errors()))


@given(CODES, st.integers(1, 100), st.integers(0, 10**9), RULES, SPREAD)
def test_no_call_is_tried_past_its_attempts_or_its_age(
    code: str, attempts: int, age_ms: int, rules: AsyncSpec, spread: float
) -> None:
    verdict = judge(code, attempts, age_ms, rules, spread)
    if age_ms >= rules.max_age_s * 1000:
        assert verdict.action == "dead"
    if verdict.action == "retry":
        assert attempts <= rules.retries
        assert 0 <= verdict.wait_ms <= rules.max_retry_delay_s * 1000 + 1
    if verdict.action == "dead":
        assert verdict.condition


@given(st.integers(1, 100), RULES)
def test_waits_grow_and_half_of_each_is_certain(attempts: int, rules: AsyncSpec) -> None:
    least, most = backoff_ms(attempts, rules, 0.0), backoff_ms(attempts, rules, 0.999999)
    assert abs(2 * least - most) <= 2 + most * 1e-5
    assert backoff_ms(attempts + 1, rules, 0.0) >= least


def test_a_function_without_room_is_left_alone_longer_and_longer_up_to_half_a_minute() -> None:
    waits = [throttle_ms(refusals, 0.5) for refusals in range(60)]
    assert all(before <= after for before, after in pairwise(waits))
    assert max(waits) <= 30_000


def every(minutes: int, at_ms: int) -> int:
    step = minutes * 60_000
    return (at_ms // step + 1) * step


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**8),
    st.integers(1, 500),
    st.sampled_from(["skip", "once", "all"]),
)
def test_each_due_time_is_taken_once_however_the_looks_fall(
    position_ms: int, slept_ms: int, minutes: int, missed: str
) -> None:
    now_ms = position_ms + slept_ms
    due = due_times(lambda at: every(minutes, at), position_ms, now_ms, missed)  # type: ignore[arg-type]
    assert due.next_ms is not None
    assert due.next_ms > now_ms
    assert due.times_ms == sorted(set(due.times_ms))
    assert all(position_ms < at <= now_ms for at in due.times_ms)
    late = [at for at in due.times_ms if now_ms - at > LATE_MS]
    assert len(late) <= {"skip": 0, "once": 1, "all": MAX_MISSED}[missed]
    assert len(due.times_ms) + due.dropped == now_ms // (minutes * 60_000) - position_ms // (minutes * 60_000)
    again = due_times(lambda at: every(minutes, at), due.position_ms, now_ms, missed)  # type: ignore[arg-type]
    assert (again.times_ms, again.dropped) == ([], 0)
