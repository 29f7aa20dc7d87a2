"""The compiled simulation against a plain one on random small logs, and against what was worked out by hand."""

import os

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.replay.simulated.engine import Resolved, resolve
from isotherm.replay.simulated.log import Events, Log
from isotherm.replay.simulated.score import plane_of, score
from isotherm.warming.drivers.fixed import Fixed
from isotherm.warming.model import KEEP, LET_GO
from tests.replay.plain import simulate_plainly

MINUTES = 8


def log_of(calls: list[tuple[float, float]], minutes: int = MINUTES) -> Log:
    """One function, called (seconds, duration in seconds)."""
    at_s = numpy.array([each[0] for each in calls])
    counts = numpy.zeros((1, minutes), numpy.int32)
    numpy.add.at(counts, (0, (at_s // 60).astype(int)), 1)
    zeros = numpy.zeros(len(calls), numpy.int32)
    events = Events(zeros, at_s, numpy.array([each[1] for each in calls]))
    return Log("made", minutes, ("f",), ("f",), numpy.zeros(1, numpy.int32), counts, events=events)


def told(result: Resolved) -> dict[str, float]:
    return {
        "cold": float(result.cold.sum()),
        "first": float(result.first.sum()),
        "scale_out": float(result.scale_out.sum()),
        "prewarmed": float(result.prewarmed.sum()),
        "idle_s": float(result.idle_s.sum()),
        "busy_s": float(result.busy_s.sum()),
    }


@settings(max_examples=300, deadline=None)  # the first is compiled
@given(
    st.lists(
        st.tuples(st.integers(0, MINUTES * 600 - 1), st.sampled_from([0.0, 0.3, 5.0, 70.0, 200.0])),
        min_size=1,
        max_size=40,
        unique_by=lambda each: each[0],
    ),
    st.lists(st.sampled_from([0, LET_GO, 1, 2, 5, KEEP]), min_size=MINUTES, max_size=MINUTES),
    st.sampled_from([None, 0.0, 20.0, 90.0]),
    st.sampled_from([0.0, 0.5, 3.0]),
    st.sampled_from([0.0, 45.0, 600.0]),
)
def test_it_agrees_with_the_plain_one(
    calls: list[tuple[int, float]], plane: list[int], keep_s: float | None, start_s: float, linger_s: float
) -> None:
    made = sorted((at / 10 + 0.037, duration) for at, duration in calls)
    result = resolve(log_of(made), numpy.array([plane], numpy.int32), keep_s, start_s, 1, linger_s)
    assert told(result) == pytest.approx(simulate_plainly(made, plane, keep_s, start_s, linger_s))


def test_a_keep_alive_has_its_seconds() -> None:
    """Calls at 10, 40 and 200 s that last 10 s, kept for 100 s: the third is 150 s after the end of the second."""
    result = resolve(log_of([(10, 10), (40, 10), (200, 10)]), numpy.zeros((1, MINUTES), numpy.int32), 100.0, 0.0, 1)
    assert told(result) == {
        "cold": 2,
        "first": 1,
        "scale_out": 0,
        "prewarmed": 0,
        "idle_s": 20 + 100 + 100,
        "busy_s": 30,
    }


def test_calls_at_once_need_an_instance_each() -> None:
    result = resolve(log_of([(10, 30), (11, 30), (12, 1)]), numpy.full((1, MINUTES), KEEP, numpy.int32), None, 1.0, 1)
    assert (result.cold.sum(), result.scale_out.sum(), result.most.sum()) == (3, 2, 3)


def counts_log(counts: list[list[int]], units: list[int], seconds: float) -> Log:
    table = numpy.full((len(counts), 7), seconds)
    names = tuple(f"f{i}" for i in range(len(counts)))
    apps = tuple(f"a{i}" for i in range(max(units) + 1))
    made = numpy.array(counts, numpy.int32)
    return Log("made", made.shape[1], names, apps, numpy.array(units, numpy.int32), made, table)


def test_counts_are_spread_in_their_minutes_by_the_seed() -> None:
    log = counts_log([[50, 0, 30, 0, 0, 80], [3, 0, 0, 9, 0, 1]], [0, 0], 2.0)
    plane = plane_of(Fixed(log.demand(by_memory=False), 1), log.counts)
    first, again, other = (resolve(log, plane, 60.0, 0.1, seed) for seed in (1, 1, 2))
    assert told(first) == told(again) != told(other)
    assert first.calls.tolist() == [160, 13]
    assert first.busy_s.sum() == pytest.approx(173 * 2.0 + first.cold.sum() * 0.1)


def test_one_call_a_minute_lies_anywhere_in_it() -> None:
    """Kept for half a minute, a call is met by the next with the chance that two uniform moments, in minutes that
    follow each other, are less than half a minute apart: an eighth."""
    log = counts_log([[1] * 1440 for _ in range(20)], list(range(20)), 0.0)
    result = resolve(log, numpy.zeros((20, 1440), numpy.int32), 30.0, 0.0, 5)
    assert 1 - result.cold.sum() / result.calls.sum() == pytest.approx(1 / 8, abs=0.01)


def test_by_minute_a_keep_alive_costs_what_was_worked_out() -> None:
    """Calls in minutes 0, 4 and 12 of 16, kept for 3: 4 is served at its beginning, 12 is cold; 3 + 3 + 3 idle."""
    log = counts_log([[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]], [0], 0.0)
    counted = score(log, plane_of(Fixed(log.demand(by_memory=False), 3), log.counts))
    assert (counted.cold.tolist(), counted.avoidable.tolist(), counted.idle_minutes.tolist()) == ([2], [1], [9])


def test_an_app_is_warm_when_any_of_its_functions_was_called() -> None:
    log = counts_log([[1, 0, 0, 0], [0, 0, 1, 0]], [0, 0], 0.0)
    counted = score(log, plane_of(Fixed(log.demand(by_memory=False), 2), log.counts))
    assert (counted.cold.tolist(), counted.idle_minutes.tolist()) == ([1], [2])


def test_neither_the_number_of_threads_nor_the_other_units_change_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each unit has a generator of its own: with one processor and with several it is the same, call by call."""
    chance = numpy.random.default_rng(3)
    log = counts_log(chance.poisson(0.7, (40, 60)).tolist(), [k // 2 for k in range(40)], 20.0)
    plane = plane_of(Fixed(log.demand(by_memory=False), 3), log.counts)
    many = resolve(log, plane, None, 0.5, 7)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    one = resolve(log, plane, None, 0.5, 7)
    for name in ("calls", "cold", "first", "scale_out", "idle_s", "busy_s", "prewarmed", "most"):
        assert getattr(many, name).tolist() == getattr(one, name).tolist()
    assert one.calls.sum() == log.invocations
