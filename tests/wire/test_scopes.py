"""Scopes: how they are written, and what they reach."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import Invalid
from isotherm.wire.scopes import ANY_FUNCTION, MAX_SCOPES, Scope, parse_scope, parse_scopes


def test_a_scope_is_a_word_with_or_without_a_pattern() -> None:
    assert parse_scope("read") == Scope("read")
    assert parse_scope("invoke:img-*") == Scope("invoke", "img-*")
    assert str(parse_scope("invoke:img-*")) == "invoke:img-*"


@pytest.mark.parametrize(
    "text",
    ["", "write", "READ", "read:", "read:a.b", "read:a/b", "read:a b", "secrets:db", ":x", "read:" + 65 * "a"],
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_scope(text)


def test_a_key_has_some_scopes_or_none_said() -> None:
    assert parse_scopes(None) is None
    assert parse_scopes(["read", "read"]) == (Scope("read"),)
    for wrong in ([], ["read"] * (MAX_SCOPES + 1)):
        with pytest.raises(Invalid):
            parse_scopes(wrong)


@pytest.mark.parametrize(
    ("pattern", "function", "covered"),
    [
        (None, "hello", True),
        (None, None, True),
        ("hello", "hello", True),
        ("hello", "hello2", False),
        ("hello", None, False),
        ("img-*", "img-small", True),
        ("img-*", "img-", True),
        ("img-*", "vid-img-small", False),
        ("*-img", "a-img", True),
        ("a*b*c", "a1b2c", True),
        ("a*b*c", "acb", False),
        ("*", "anything", True),
        ("*", None, False),
        ("hello", ANY_FUNCTION, True),
    ],
)
def test_what_a_pattern_covers(pattern: str | None, function: str | None, covered: bool) -> None:
    assert Scope("read", pattern).covers(function) is covered


@given(st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True))
def test_a_name_covers_itself_and_no_longer_one(name: str) -> None:
    assert Scope("read", name).covers(name)
    assert not Scope("read", name).covers(name + "x")


def test_no_pattern_takes_long_to_fail() -> None:
    began = time.process_time()
    pattern = "a*" * 31
    assert not parse_scope("read:" + pattern + "b").covers("a" * 5000 + "c")
    assert time.process_time() - began < 2  # where each star tried each end it would take years
