"""JSON values against each other."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.cli.compare import MISSING, at, differences, lacking, side_by_side, without

scalars = (
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, width=16) | st.text("ab~/", max_size=3)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=3)
)


@given(values)
def test_a_value_is_like_itself_and_lacks_nothing(value: Any) -> None:
    assert differences(value, value) == lacking(value, value) == []


@given(values, values)
def test_a_difference_is_where_it_says(one: Any, other: Any) -> None:
    for each in differences(one, other):
        assert at(one, each.place) is each.expected or at(one, each.place) == each.expected
        assert at(other, each.place) is each.actual or at(other, each.place) == each.actual
    assert bool(differences(one, other)) == bool(differences(other, one)), "whichever way round"
    assert set(map(str, lacking(one, other))) <= set(map(str, differences(one, other)))


@pytest.mark.parametrize(
    ("expected", "actual", "found"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, ["/a: expected 1, got true"]),
        ({"a": [1, 2]}, {"a": [1]}, ["/a/1: expected 2, got nothing"]),
        ({"a": 1}, {"a": 1, "b/c": 2}, ["/b~1c: expected nothing, got 2"]),
        (1, "1", ['(the answer): expected 1, got "1"']),
    ],
)
def test_differences_are_named(expected: Any, actual: Any, found: list[str]) -> None:
    assert [str(each) for each in differences(expected, actual)] == found


def test_what_is_not_asked_for_does_not_count() -> None:
    assert lacking({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}) == []
    assert [each.place for each in lacking({"a": {"b": 1}}, {"a": {"b": 2, "c": 2}})] == ["/a/b"]
    assert [each.place for each in lacking([1], [1, 2])] == ["/1"], "lists are whole"


def test_places_may_be_left_out_with_all_below() -> None:
    found = differences({"a": {"b": 1, "c": 1}, "ab": 1}, {"a": {"b": 2, "c": 2}, "ab": 2})
    assert [each.place for each in without(found, ["/a"])] == ["/ab"]
    assert [each.place for each in without(found, ["/a/b", "/ab"])] == ["/a/c"]


def test_what_is_nowhere_is_missing() -> None:
    assert at({"a": [1]}, "/a/1") is at([1], "/x") is at(1, "/a") is MISSING


def test_two_values_side_by_side() -> None:
    lines = side_by_side({"a": 1, "b": 2}, {"a": 1, "b": 3})
    assert '-  "b": 2' in lines
    assert '+  "b": 3' in lines
