"""The rivals on small logs that are worked out by hand."""

import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.warming.drivers.fixed import Fixed, LikeFixed, PerDay
from isotherm.warming.drivers.greedy_dual import GreedyDual
from isotherm.warming.drivers.histogram import Histogram
from isotherm.warming.drivers.oracle import Oracle
from isotherm.warming.model import Demand
from tests.warming.logs import demand, played, signs


def row(calls: str) -> numpy.ndarray:
    return numpy.array([[int(each != ".") for each in calls]], numpy.int32)


def test_a_fixed_keep_alive_lets_go_after_its_minutes_and_serves_what_comes_just_then() -> None:
    assert signs(played(Fixed(demand(1), 3), row("x......x.x"))[0]) == ".kkk-...kk"


def test_none_serves_only_what_follows_at_once() -> None:
    assert signs(played(Fixed(demand(1), 0), row("xx..x"))[0]) == ".--.."


def test_an_allowance_like_a_keep_alive_is_what_that_would_have_spent() -> None:
    counts = row("x.....x")
    allowance = LikeFixed(demand(1, gb=0.5), 3)
    income = []
    for minute in range(counts.shape[1]):
        income.append(float(allowance.income(minute)[0]))
        allowance.observe(minute, counts[:, minute])
    assert income == [0.0, 0.0, 0.5, 0.5, 0.5, 0.0, 0.0]


def test_an_allowance_a_day_comes_each_minute_and_ends_with_its_period() -> None:
    allowance = PerDay(2, 0.25)
    assert allowance.income(7).tolist() == [0.25, 0.25]
    assert [allowance.remaining(minute) for minute in (0, 1439, 1440)] == [1440, 1, 1440]


def test_the_histogram_prewarms_before_the_head_and_keeps_until_the_tail() -> None:
    """Gaps of 10 minutes: loaded 9 minutes after a call, which is the head less a tenth, kept until 11 after it. Before
    the first gap is known it keeps for its range."""
    held = played(Histogram(demand(1), 60), row("x.........x.........x..........................."))
    assert signs(held[0]) == ".kkkkkkkkkk........11........111-" + "." * 15


def test_a_flat_histogram_says_nothing_and_the_fallback_keeps_for_the_range() -> None:
    gaps = [1, 2, 3, 4, 5, 6]
    counts = numpy.zeros((1, 40), numpy.int32)
    counts[0, [0, *itertools.accumulate(gaps)]] = 1
    held = played(Histogram(demand(1), 6), counts)
    assert signs(held[0])[22:] == "kkkkkk-" + "." * 11


def test_the_cache_evicts_the_least_frequent_for_its_size_when_memory_is_short() -> None:
    """Room for two. The third unit comes; the second, called once, goes, and not the first, called three times."""
    counts = numpy.array([[1, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]], numpy.int32)
    held = played(GreedyDual(demand(3), 2), counts)
    assert [signs(each) for each in held] == [".kkkkk", "..kk..", "....kk"]


def test_the_caches_clock_rises_so_that_once_frequent_units_go_at_last() -> None:
    counts = numpy.zeros((3, 9), numpy.int32)
    counts[0, :2] = 1  # twice, long ago
    counts[1, [2, 4, 6]] = counts[2, [3, 5, 7]] = 1  # in turns, room for one beside the first
    held = played(GreedyDual(demand(3), 2), counts)
    assert signs(held[0]).endswith(".")


@given(
    st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=1, max_size=3),
    st.integers(0, 14),
    st.sampled_from([None, 1, 2]),
    st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=3, max_size=3),
)
def test_the_oracle_has_no_more_cold_starts_than_any_choice_of_gaps(
    active: list[list[bool]], limit: int, lead: int | None, sizes: list[float]
) -> None:
    counts = numpy.array(active, numpy.int32)
    gb = numpy.array(sizes[: len(active)])
    known = Demand(numpy.arange(len(active), dtype=numpy.int32), gb, numpy.zeros(len(active)))
    held = played(Oracle(known, counts, float(limit), lead), counts)
    idle = ((held > 0) & (counts == 0)).sum(axis=1) @ gb
    assert idle <= limit + 1e-9
    gaps = []
    for i, each in enumerate(counts):
        minutes = numpy.flatnonzero(each)
        gaps += [(b - a - 1 if lead is None else min(b - a - 1, lead)) * gb[i] for a, b in itertools.pairwise(minutes)]
    bridged = sum(
        bool(counts[i, m] and held[i, m]) for i in range(len(counts)) for m in range(12) if counts[i, :m].any()
    )
    if len(gaps) > 12:
        gaps = sorted(gaps)[:12]
        bridged = min(bridged, 12)
    most = max(
        size
        for size in range(len(gaps) + 1)
        if any(sum(chosen) <= limit + 1e-9 for chosen in itertools.combinations(sorted(gaps)[:size], size))
    )
    assert bridged >= most


@pytest.mark.parametrize("policy", [Fixed(demand(2), 10), Histogram(demand(2)), GreedyDual(demand(2), 5)])
def test_nothing_is_held_before_a_first_call(policy: Fixed | Histogram | GreedyDual) -> None:
    assert (played(policy, numpy.zeros((2, 5), numpy.int32)) == 0).all()
