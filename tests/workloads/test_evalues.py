"""The sequential test: how often it cries wolf, how soon it sees a wolf, and what must not matter."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.workloads.evalues import log_e_slower, log_e_worse

counts = st.integers(0, 400).flatmap(lambda calls: st.tuples(st.integers(0, calls), st.just(calls)))
tolerances = st.sampled_from([0.0, 0.01, 0.05, 0.3])


def alarm_after(rate_old: float, rate_new: float, share: float, tolerance: float, *, calls: int, seed: int) -> int:
    """Calls until the e-value reaches 100, looked at after every single one; 0: never within `calls`."""
    chance = random.Random(seed)
    hits, seen = [0, 0], [0, 0]
    for number in range(1, calls + 1):
        new = chance.random() < share
        seen[new] += 1
        hits[new] += chance.random() < (rate_new if new else rate_old)
        if log_e_worse(hits[0], seen[0], hits[1], seen[1], tolerance) >= math.log(100):
            return number
    return 0


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.2, 0.9])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_an_equal_revision_is_hardly_ever_accused_however_often_one_looks(rate: float, share: float) -> None:
    alarms = sum(alarm_after(rate, rate, share, 0.0, calls=400, seed=seed) > 0 for seed in range(100))
    assert alarms <= 4  # of 100 at a level of 1 %: more has a chance below 1 %


def test_one_that_is_worse_by_less_than_is_tolerated_is_not_accused() -> None:
    alarms = sum(alarm_after(0.05, 0.08, 0.5, 0.05, calls=400, seed=seed) > 0 for seed in range(100))
    assert alarms <= 4


@pytest.mark.parametrize(
    ("rate_old", "rate_new", "share", "within"),
    [(0.0, 1.0, 0.05, 250), (0.0, 0.2, 0.05, 1500), (0.01, 0.10, 0.25, 1500), (0.02, 0.10, 0.5, 2000)],
)
def test_a_worse_one_is_found(rate_old: float, rate_new: float, share: float, within: int) -> None:
    found = [alarm_after(rate_old, rate_new, share, 0.01, calls=within, seed=seed) for seed in range(30)]
    assert sum(each > 0 for each in found) >= 27


@given(counts, counts, tolerances)
def test_it_is_finite_and_negative_where_the_new_one_did_no_worse(
    old: tuple[int, int], new: tuple[int, int], tolerance: float
) -> None:
    log_e = log_e_worse(*old, *new, tolerance)
    assert math.isfinite(log_e)
    if not old[1] or not new[1] or new[0] / new[1] <= old[0] / old[1] + tolerance:
        assert log_e <= 1e-9


@given(counts, counts, tolerances)
def test_tolerance_only_takes_evidence_away(old: tuple[int, int], new: tuple[int, int], tolerance: float) -> None:
    assert log_e_worse(*old, *new, tolerance) <= log_e_worse(*old, *new, 0.0) + 1e-6


@given(counts, counts)
def test_one_more_failure_of_the_new_one_is_never_evidence_for_it(old: tuple[int, int], new: tuple[int, int]) -> None:
    hits, calls = new
    if hits == calls or not old[1] or hits / calls < old[0] / old[1]:
        return
    assert log_e_worse(*old, hits + 1, calls, 0.0) >= log_e_worse(*old, hits, calls, 0.0) - 1e-6


def test_without_calls_there_is_no_evidence() -> None:
    assert log_e_worse(0, 0, 0, 0, 0.0) == 0
    assert log_e_slower([0] * 5, [0] * 5, [(0, 1), (1, 2)], 0.05) == (0.0, None)
    assert log_e_slower([], [], [], 0.05) == (0.0, None)


@given(st.lists(st.integers(0, 60), min_size=6, max_size=6), st.integers(1, 4))
def test_the_mean_over_bounds_lies_among_them(histogram: list[int], shift: int) -> None:
    later = [0] * shift + histogram[: 6 - shift]
    pairs = [(index, index) for index in range(5)]
    mean, pair = log_e_slower(histogram, later, pairs, 0.0)
    each = [log_e_slower(histogram, later, [one], 0.0)[0] for one in pairs]
    assert min(each) - 1e-9 <= mean <= max(each) + 1e-9
    assert pair is None or each[pair] == max(each)


def test_slower_calls_stand_out_at_the_bound_between() -> None:
    old, new = [0, 900, 0, 0, 0], [0, 0, 0, 50, 0]
    log_e, pair = log_e_slower(old, new, [(0, 1), (1, 2), (2, 3)], 0.05)
    assert log_e > math.log(1000)
    assert pair in (0, 1)
    assert log_e_slower(new, old, [(0, 1), (1, 2), (2, 3)], 0.05)[0] < 0
