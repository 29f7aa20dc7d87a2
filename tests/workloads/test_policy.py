"""Weights, rollbacks, what stays callable, how large env is."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from isotherm.base.errors import Conflict, Invalid
from isotherm.workloads.model import RevisionState, Weight
from isotherm.workloads.policy import (
    CALLABLE_REVISIONS,
    KEPT_REVISIONS,
    MAX_ENV_BYTES,
    MAX_WEIGHTS,
    callable_numbers,
    check_env_size,
    check_weights,
    dropped_numbers,
    rollback_target,
)

states = st.dictionaries(st.integers(1, 80), st.sampled_from(["building", "ready", "failed"]), max_size=80)
weights = st.builds(Weight, st.integers(1, 12), st.floats(allow_nan=True, allow_infinity=True))
ten_ready: dict[int, RevisionState] = dict.fromkeys(range(1, 13), "ready")


@given(st.dictionaries(st.integers(1, 12), st.floats(0.001, 1000), min_size=1, max_size=MAX_WEIGHTS))
def test_shares_that_sum_to_one_are_taken_in_order_and_sum_exactly(shares: dict[int, float]) -> None:
    total = math.fsum(shares.values())
    given_weights = [Weight(number, share / total) for number, share in shares.items()]
    checked = check_weights(given_weights, ten_ready)
    assert [weight.number for weight in checked] == sorted(shares)
    assert abs(math.fsum(weight.weight for weight in checked) - 1) < 1e-12
    again = check_weights(checked, ten_ready)
    assert [weight.weight for weight in again] == pytest.approx([weight.weight for weight in checked], rel=1e-12)


@given(st.lists(weights, max_size=12))
def test_whatever_else_comes_is_refused(given_weights: list[Weight]) -> None:
    total = sum(weight.weight for weight in given_weights)
    numbers = [weight.number for weight in given_weights]
    good = (
        0 < len(given_weights) <= MAX_WEIGHTS
        and len(set(numbers)) == len(numbers)
        and all(0 < weight.weight <= 1 for weight in given_weights)
        and abs(total - 1) < 1e-5
    )
    assume(not good)
    with pytest.raises(Invalid):
        check_weights(given_weights, ten_ready)


@pytest.mark.parametrize(
    ("given_weights", "what"),
    [
        ([], "1 to 10"),
        ([Weight(1, 0.5), Weight(1, 0.5)], "twice"),
        ([Weight(1, 0.3), Weight(2, 0.3)], r"sum to 0\.6"),
        ([Weight(1, 1.5), Weight(2, -0.5)], "above 0"),
        ([Weight(1, float("nan"))], "above 0"),
        ([Weight(99, 1.0)], "revision 99 is unknown"),
    ],
)
def test_a_refusal_says_what_is_wrong(given_weights: list[Weight], what: str) -> None:
    with pytest.raises(Invalid, match=what):
        check_weights(given_weights, ten_ready)


@given(states, st.integers(1, 80))
def test_a_rollback_goes_to_the_newest_ready_revision_below(known: dict[int, RevisionState], now: int) -> None:
    below = [number for number, state in known.items() if state == "ready" and number < now]
    if below:
        assert rollback_target(known, [Weight(now, 1.0)]) == max(below)
    else:
        with pytest.raises(Conflict):
            rollback_target(known, [Weight(now, 1.0)])


@given(states, st.lists(st.integers(1, 80), max_size=5))
def test_the_newest_ready_revisions_and_all_in_aliases_are_callable(
    known: dict[int, RevisionState], pinned: list[int]
) -> None:
    found = callable_numbers(known, [[Weight(number, 1.0)] for number in pinned])
    ready = {number for number, state in known.items() if state == "ready"}
    assert set(pinned) <= found <= ready | set(pinned)
    left_out = ready - found
    assert not left_out or len(ready & found) >= CALLABLE_REVISIONS
    assert all(number < max(found) for number in left_out)


@given(st.integers(0, 500), st.lists(st.integers(1, 500), max_size=4), st.integers(0, 300))
def test_what_is_forgotten_is_old_and_in_no_alias(count: int, pinned: list[int], dropped: int) -> None:
    numbers = range(dropped + 1, dropped + count + 1)
    known: dict[int, RevisionState] = dict.fromkeys(numbers, "failed")
    gone = dropped_numbers(known, [[Weight(number, 1.0)] for number in pinned])
    assert not set(gone) & set(pinned)
    assert gone == sorted(gone)
    left = [number for number in numbers if number not in gone]
    assert left[-KEPT_REVISIONS:] == list(numbers)[-KEPT_REVISIONS:]
    assert len(left) <= KEPT_REVISIONS + len(pinned)


def test_an_environment_fits_into_the_message_that_carries_it() -> None:
    check_env_size({"A": "x" * (MAX_ENV_BYTES - 1)})
    with pytest.raises(Invalid, match=f"have {MAX_ENV_BYTES + 1} bytes"):
        check_env_size({"A": "x" * MAX_ENV_BYTES})
    with pytest.raises(Invalid, match="JSON escapes"):
        check_env_size({"A": "\x01" * 30_000})
