"""JSON in and out against the standard library, and what is said where JSON cannot hold a value."""

import datetime
import json
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isotherm_runtime.values import NotJson, decode, encode

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_what_is_encoded_is_read_back_by_any_json_parser(value: object) -> None:
    assert json.loads(encode(value)) == value


@given(json_values, st.sampled_from(["", " ", "\n\t "]), st.sampled_from([None, 2]))
def test_any_spelling_of_json_is_decoded(value: object, space: str, indent: int | None) -> None:
    assert decode((space + json.dumps(value, indent=indent) + space).encode()) == value


def refuse(constant: str) -> object:
    raise ValueError(constant)


@given(st.binary(max_size=50))
@example(b"NaN")
@example(b'{"a": [Infinity]}')
@example(b" -Infinity")
def test_what_the_standard_library_refuses_is_refused(data: bytes) -> None:
    try:
        expected = json.loads(data.decode(), parse_constant=refuse)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - any of its messages
            decode(data)
    else:
        assert repr(decode(data)) == repr(expected)


def test_decimals_become_numbers() -> None:
    assert encode([Decimal("1.5"), Decimal(20), Decimal("1E+2")]) == b"[1.5,20,100]"


def test_lone_surrogates_are_escaped() -> None:
    assert json.loads(encode({"text": "\ud800"})) == {"text": "\ud800"}


cycle: list[object] = []
cycle.append({"again": cycle})
deep: object = 1
for _ in range(5000):
    deep = [deep]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, {"when": datetime.date(2026, 1, 1)}]}, "$.a[1].when is of type date"),
        ([float("inf")], "$[0] is inf"),
        ({"x": float("nan")}, "$.x is nan"),
        ({(1, 2): 3}, "has the key (1, 2) of type tuple"),
        ({"data": b"raw"}, "$.data is bytes: decode it"),
        (object(), "$ is of type object"),
        ([Decimal("NaN")], "$[0] is not a finite number"),
        (cycle, "$[0].again contains itself"),
        (deep, "nested too deeply"),
        ((n for n in [1]), "to stream it, return it by itself"),
    ],
)
def test_the_message_names_where(value: object, words: str) -> None:
    with pytest.raises(NotJson) as caught:
        encode(value)
    assert words in str(caught.value)


def test_a_coroutine_is_named_with_the_remedy() -> None:
    async def forgotten() -> None: ...

    coroutine = forgotten()
    with pytest.raises(NotJson, match="async def"):
        encode(coroutine)
    coroutine.close()
