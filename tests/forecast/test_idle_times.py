"""Idle times: kept by increments as they would be counted anew, and the windows of the paper."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.forecast.idle_times import BINS, IdleTimes, windows
from isotherm.forecast.model import Floats, Histories
from isotherm.forecast.window import Window


def window_of(counts: Floats) -> Window:
    return Window(Histories(counts, 5000, numpy.zeros(len(counts), dtype=numpy.int32)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), rate=st.floats(0.001, 0.9), known=st.integers(1, 600))
def test_minute_by_minute_is_the_same_as_all_at_once(seed: int, rate: float, known: int) -> None:
    counts = (numpy.random.default_rng(seed).random((4, 700)) < rate).astype(numpy.float32)
    whole = IdleTimes.of(window_of(counts))
    window = window_of(counts[:, :known])
    grown = IdleTimes.of(window)
    for column in range(known, 700):
        grown.see(5000 + column, counts[:, column])
    assert (grown.counts == whole.counts).all()
    assert (grown.oob == whole.oob).all()
    assert (grown.last == whole.last).all()


def test_gaps_beyond_four_hours_are_out_of_bounds() -> None:
    counts = numpy.zeros((1, 800), dtype=numpy.float32)
    counts[0, [0, 240, 500, 503]] = 1
    idle = IdleTimes.of(window_of(counts))
    assert numpy.flatnonzero(idle.counts[0]).tolist() == [3, 240]
    assert idle.oob.tolist() == [1]
    assert idle.idle(5800).tolist() == [297]


def made(counts: dict[int, float], oob: float = 0) -> IdleTimes:
    bins = numpy.zeros((1, BINS), dtype=numpy.float32)
    for gap, count in counts.items():
        bins[0, gap] = count
    return IdleTimes(bins, numpy.array([oob], dtype=numpy.float32), numpy.zeros(1, dtype=numpy.int64))


def test_a_timer_is_unloaded_and_loaded_again_just_before() -> None:
    found = windows(made({60: 100}))
    assert found.sure.all()
    assert (found.start[0], found.until[0]) == (54, 66)  # a tenth earlier, and later: rounded outwards


def test_the_head_and_the_tail_are_cut_off() -> None:
    found = windows(made({10: 5, 50: 93, 200: 2}))
    assert (found.start[0], found.until[0]) == (9, 221)
    assert windows(made({10: 4, 50: 95, 200: 1})).start[0] == 45
    assert windows(made({10: 4, 50: 95, 200: 1})).until[0] == 56
    assert windows(made({10: 4, 50: 95, 200: 1}), head=0.01, tail=1).until[0] == 221


def test_short_idle_times_are_never_unloaded() -> None:
    found = windows(made({1: 90, 2: 9, 30: 1}))
    assert (found.start[0], found.until[0]) == (1, 3)


def test_a_flat_or_empty_histogram_or_one_that_is_out_of_bounds_falls_back() -> None:
    for idle in (made({}), made(dict.fromkeys(range(1, BINS), 2.0)), made({5: 4}, oob=10)):
        found = windows(idle)
        assert not found.sure.any()
        assert (found.start[0], found.until[0]) == (1, BINS - 1)


def test_of_some_series_and_with_fewer_bins_it_is_the_same() -> None:
    counts = (numpy.random.default_rng(2).random((5, 600)) < 0.05).astype(numpy.float32)
    short = IdleTimes.empty(5, 61)
    for minute in range(600):
        short.see(minute, counts[:, minute])
    whole = IdleTimes.of(window_of(counts))
    assert (short.counts == whole.counts[:, :61]).all()
    assert (short.oob == whole.oob + whole.counts[:, 61:].sum(axis=1)).all()
    rows = numpy.array([3, 1])
    assert (windows(whole, rows).until == windows(whole).until[rows]).all()


def test_the_policy_of_warmth_holds_by_the_same_windows() -> None:
    """It has a compiled loop of its own, four times as fast over a replay: what it holds is what these windows say."""
    pytest.importorskip("numba")
    from isotherm.warming.drivers.histogram import Histogram
    from isotherm.warming.model import KEEP, LET_GO, Demand

    rng = numpy.random.default_rng(5)
    n, minutes = 12, 900
    at = numpy.arange(minutes)
    timers = at[None, :] % numpy.array([[7], [30], [60], [90], [200], [300]]) == 0
    counts = numpy.concatenate([timers, rng.random((6, minutes)) < [[0.9], [0.3], [0.1], [0.03], [0.01], [0.003]]])
    counts = counts.astype(numpy.int32)
    policy = Histogram(Demand(numpy.arange(n, dtype=numpy.int32), numpy.ones(n), numpy.zeros(n)))
    idle = IdleTimes.empty(n)
    prewarmed = 0
    for minute in range(minutes):
        found = windows(idle)
        after = minute - idle.last
        inside = (after >= found.start) & (after <= found.until)
        expected = numpy.where(inside, numpy.where(found.start > 1, 1, KEEP), 0)
        expected = numpy.where(after == found.until + 1, LET_GO, expected)
        assert (policy.hold(minute) == numpy.where(idle.last >= 0, expected, 0)).all(), minute
        prewarmed += int((inside & (found.start > 1)).sum())
        policy.observe(minute, counts[:, minute])
        idle.see(minute, counts[:, minute])
    assert prewarmed > 100
