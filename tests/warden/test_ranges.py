"""User ids are handed out once at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.warden.ranges import RANGE_SIZE, NoIdsLeft, RangeAllocator, UidAllocator


def test_ranges_do_not_overlap_and_lie_above_those_of_containers() -> None:
    ranges = RangeAllocator("here")
    taken = [ranges.take() for _ in range(500)]
    assert len(set(taken)) == 500
    assert all(base % RANGE_SIZE == 0 for base in taken)
    assert min(taken) >= 0x70000000
    assert max(taken) + RANGE_SIZE <= 1 << 31


def test_all_ranges_can_be_taken_and_no_more() -> None:
    ranges = RangeAllocator("here")
    taken = [ranges.take() for _ in range(0x0FFF)]
    assert len(set(taken)) == len(taken)
    with pytest.raises(NoIdsLeft):
        ranges.take()
    ranges.give_back(taken[7])
    assert ranges.take() == taken[7]


def test_platforms_start_in_different_places() -> None:
    assert RangeAllocator("one").take() != RangeAllocator("two").take()


@given(st.lists(st.booleans(), max_size=200))
def test_a_live_id_is_never_handed_out(steps: list[bool]) -> None:
    uids = UidAllocator(first=1001, last=1010)
    live: list[int] = []
    for take in steps:
        if take and len(live) < 10:
            uid = uids.take()
            assert uid not in live
            assert 1001 <= uid <= 1010
            live.append(uid)
        elif live:
            uids.give_back(live.pop(0))


def test_a_full_range_says_so() -> None:
    uids = UidAllocator(first=1, last=3)
    assert {uids.take() for _ in range(3)} == {1, 2, 3}
    with pytest.raises(NoIdsLeft):
        uids.take()
