"""Identifiers: what may be a name, and what is never made twice."""

import re

from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.ids import NAME_PATTERN, content_digest, is_name, new_id, new_token, request_ids, token_digest


@given(st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True))
def test_a_dns_label_that_starts_with_a_letter_is_a_name(text: str) -> None:
    assert is_name(text)


@given(st.text(max_size=80))
def test_a_name_is_nothing_else(text: str) -> None:
    assert is_name(text) == bool(re.fullmatch(NAME_PATTERN.strip("^$"), text))


def test_a_name_is_at_most_63_characters_and_one_line() -> None:
    assert is_name("a" * 63)
    assert not is_name("a" * 64)
    assert not is_name("a\n")
    assert not is_name("")


def test_ids_carry_their_prefix_and_do_not_repeat() -> None:
    ids = {new_id("rev") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"rev_[0-9a-hjkmnp-tv-z]{26}", made) for made in ids)


def test_a_token_is_stored_as_its_digest_only() -> None:
    token = new_token()
    assert token.startswith("iso_")
    assert len(token) == 47
    assert token_digest(token) == content_digest(token.encode())
    assert token not in token_digest(token)


def test_request_ids_are_uuid_shaped_and_unlike_those_of_another_process() -> None:
    first, second = request_ids(), request_ids()
    made = [first() for _ in range(100)] + [second() for _ in range(100)]
    assert len(set(made)) == 200
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", each) for each in made)
