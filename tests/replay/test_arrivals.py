"""The plan of a replay: counts are kept, seeds decide, rows do not disturb each other."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.ids import is_name
from isotherm.replay.model import Distribution, Scale, Trace, TraceRow
from isotherm.replay.policy import drawn_ms, expected_busy, plan_arrivals, stand_in

FLAT = Distribution(((0.0, 100.0), (100.0, 300.0)))
SCALE = Scale(speed=60.0, duration=1 / 60, memory=1 / 16)
counts_of_rows = st.integers(1, 6).flatmap(
    lambda minutes: st.lists(
        st.lists(st.integers(0, 30), min_size=minutes, max_size=minutes).map(tuple), min_size=0, max_size=5
    ).map(lambda rows: (minutes, rows))
)


def make_trace(minutes: int, rows: list[tuple[int, ...]]) -> Trace:
    made = tuple(
        TraceRow("owner", "app", f"function-{index}", "http", counts, FLAT, FLAT) for index, counts in enumerate(rows)
    )
    return Trace("made", 480, minutes, made)


@given(counts_of_rows, st.integers(0, 2**32))
def test_every_minute_of_every_row_keeps_its_count(shape: tuple[int, list[tuple[int, ...]]], seed: int) -> None:
    minutes, rows = shape
    plan = plan_arrivals(make_trace(minutes, rows), SCALE, seed)

    assert len(plan) == sum(sum(row) for row in rows)
    assert plan.length_s == minutes * 60 / SCALE.speed
    for index, row in enumerate(rows):
        planned = np.bincount((plan.at_s[plan.row == index] * SCALE.speed / 60).astype(int), minlength=minutes)
        assert tuple(planned) == row


@given(counts_of_rows, st.integers(0, 2**32))
def test_a_plan_is_ordered_and_within_bounds(shape: tuple[int, list[tuple[int, ...]]], seed: int) -> None:
    plan = plan_arrivals(make_trace(*shape), SCALE, seed)

    assert np.all(np.diff(plan.at_s) >= 0)
    assert np.all((plan.at_s >= 0) & (plan.at_s < plan.length_s))
    assert np.all((plan.u >= 0) & (plan.u < 1) & (plan.v >= 0) & (plan.v < 1))


def test_the_seed_decides() -> None:
    trace = make_trace(2, [(20, 30), (5, 0)])
    one, same, other = (plan_arrivals(trace, SCALE, seed) for seed in (1, 1, 2))

    assert np.array_equal(one.at_s, same.at_s)
    assert np.array_equal(one.u, same.u)
    assert not np.array_equal(one.at_s, other.at_s)


def test_a_row_is_planned_alike_whatever_the_others_are() -> None:
    trace = make_trace(2, [(20, 30), (5, 7)])
    alone = Trace("made", 480, 2, trace.rows[1:])

    together, single = plan_arrivals(trace, SCALE, 7), plan_arrivals(alone, SCALE, 7)
    assert np.array_equal(together.at_s[together.row == 1], single.at_s)


def test_a_share_of_the_arrivals_is_a_part_of_all() -> None:
    trace = make_trace(1, [(4000,)])
    whole = plan_arrivals(trace, SCALE, 3)
    part = plan_arrivals(trace, Scale(SCALE.speed, SCALE.duration, SCALE.memory, arrivals=0.25), 3)

    assert set(part.at_s) <= set(whole.at_s)
    assert 800 < len(part) < 1200


def test_calls_in_progress_follow_littles_law() -> None:
    # 600 calls a minute of 200 ms on average are 2 in progress; 60 times as fast and 60 times as short, too.
    assert expected_busy(make_trace(1, [(600,)]), SCALE) == 2.0


def test_a_stand_in_is_told_its_distributions_scaled() -> None:
    made = stand_in(make_trace(1, [(1,)]).rows[0], 0, SCALE)

    assert is_name(made.name)
    environment = dict(made.environment)
    assert json.loads(environment["STANDIN_DURATION_MS"]) == [[0.0, 1.666667], [100.0, 5.0]]
    assert json.loads(environment["STANDIN_MEMORY_MB"]) == [[0.0, 6.25], [100.0, 18.75]]


def test_what_a_stand_in_will_sleep_is_known_ahead() -> None:
    trace = make_trace(1, [(50,), (50,)])
    plan = plan_arrivals(trace, SCALE, 5)
    assert np.allclose(drawn_ms(trace, SCALE, plan), (100 + 200 * plan.u) / 60)
