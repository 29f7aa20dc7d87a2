"""Cursors: opaque, and never trusted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import Invalid
from isotherm.db.pages import MAX_PAGE, clamp_limit, decode_cursor, encode_cursor


@given(st.text(max_size=50), st.integers(-(2**62), 2**62))
def test_a_cursor_comes_back_as_it_was(text: str, number: int) -> None:
    cursor = encode_cursor(text, number)
    assert decode_cursor(cursor, tuple[str, int]) == (text, number)
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&? ")


@given(st.text(max_size=60))
def test_any_text_as_a_cursor_is_refused_or_read_but_never_crashes(text: str) -> None:
    try:
        found = decode_cursor(text, tuple[int])
    except Invalid:
        return
    assert isinstance(found[0], int)


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
def test_a_limit_out_of_bounds_is_refused(limit: int) -> None:
    with pytest.raises(Invalid, match="limit"):
        clamp_limit(limit)
    assert clamp_limit(MAX_PAGE) == MAX_PAGE
