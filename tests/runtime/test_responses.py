"""Lambda's rules for what a handler returns to a function URL's request."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm_runtime.frames import Flag, Kind, split_frames
from isotherm_runtime.responses import BadResponse, Responses
from isotherm_runtime.values import NotJson

LIMIT = 1000
responses = Responses()


def answer(result: object) -> tuple[Any, bytes]:
    """`(head, body)`; the head is None without one."""
    ((kind, flags, stream, _, head, body),) = split_frames(responses.pack(9, result, LIMIT))[0]
    assert (kind, stream) == (Kind.RESPONSE, 9)
    assert bool(head) == bool(flags & Flag.HTTP)
    return json.loads(head) if head else None, body


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], "text", 7, None, True, {}])
def test_anything_without_a_status_is_the_body_as_json(value: object) -> None:
    assert answer(value) == (None, json.dumps(value, separators=(",", ":")).encode())


def test_a_status_alone_is_enough() -> None:
    assert answer({"statusCode": 204}) == ([204, [["content-type", "application/json"]], []], b"")


def test_the_whole_answer() -> None:
    result = {
        "statusCode": 201,
        "headers": {"Content-Type": "text/plain", "X-Count": 3, "X-On": True},
        "cookies": ["a=1; HttpOnly", "b=2"],
        "body": "grüße",
        "isBase64Encoded": False,
    }
    head, body = answer(result)
    assert head == [
        201,
        [["Content-Type", "text/plain"], ["X-Count", "3"], ["X-On", "true"]],
        ["a=1; HttpOnly", "b=2"],
    ]
    assert body == "grüße".encode()


def test_base64_bodies_are_decoded() -> None:
    body = bytes(range(256))
    encoded = base64.b64encode(body).decode()
    assert answer({"statusCode": 200, "body": encoded, "isBase64Encoded": True})[1] == body


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"statusCode": 99}, "statusCode is 99"),
        ({"statusCode": 600}, "statusCode is 600"),
        ({"statusCode": True}, "statusCode is True"),
        ({"statusCode": 200.0}, "statusCode is 200.0"),
        ({"statusCode": "two hundred"}, "statusCode is 'two hundred'"),
        ({"statusCode": None}, "statusCode is None"),
        ({"statusCode": [200]}, "statusCode is [200]"),
        ({"headers": [["a", "b"]]}, "headers is of type list"),
        ({"headers": {"X": None}}, "headers['X'] is of type NoneType"),
        ({"headers": {"X": ["a"]}}, "headers['X'] is of type list"),
        ({"headers": {"X": "a\r\nSet-Cookie: evil=1"}}, "headers['X'] has a line break"),
        ({"headers": {"X Y": "a"}}, "the name 'X Y'"),
        ({"headers": {"X:": "a"}}, "the name 'X:'"),
        ({"headers": {"": "a"}}, "the name ''"),
        ({"headers": {7: "a"}}, "the name 7"),
        ({"cookies": "a=1"}, "cookies is of type str"),
        ({"cookies": [1]}, "cookies[0] is of type int"),
        ({"cookies": ["a\nb"]}, "cookies[0] has a line break"),
        ({"body": {"a": 1}}, "use json.dumps"),
        ({"body": b"raw"}, "base64-encode it"),
        ({"body": "not base64!", "isBase64Encoded": True}, "body is not base64"),
        ({"body": "", "isBase64Encoded": "yes"}, "isBase64Encoded is 'yes'"),
        ({"body": "x" * (LIMIT + 1)}, "the limit is 1000"),
        ({"body": base64.b64encode(b"x" * (LIMIT + 1)).decode(), "isBase64Encoded": True}, "the limit is 1000"),
        ({"headers": {f"x-{n}": "v" * 1000 for n in range(300)}}, "headers take"),
    ],
)
def test_what_breaks_the_rules_is_named(fields: dict[str, object], words: str) -> None:
    for _ in range(2):  # nothing wrong is remembered as right
        with pytest.raises(BadResponse) as caught:
            responses.pack(1, {"statusCode": 200} | fields, LIMIT)
        assert words in str(caught.value)


def test_equal_keys_of_other_types_are_not_taken_from_the_cache() -> None:
    answer({"statusCode": 200, "headers": {"x": 1}})
    assert answer({"statusCode": 200, "headers": {"x": True}})[0][1][0] == ["x", "true"]
    assert answer({"statusCode": 200, "headers": {"x": 1.0}})[0][1][0] == ["x", "1.0"]
    with pytest.raises(BadResponse):
        answer({"statusCode": 200.0, "headers": {"x": 1}})


def test_the_cache_has_a_bound() -> None:
    for number in range(1000):
        answer({"statusCode": 200, "headers": {"x": str(number)}})
    assert len(responses._heads) <= 64


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"statusCode": st.integers(190, 610) | anything},
        optional={
            "headers": st.dictionaries(st.text(), st.text() | anything, max_size=4) | anything,
            "cookies": st.lists(st.text() | anything, max_size=3) | anything,
            "body": st.text() | anything,
            "isBase64Encoded": st.booleans() | anything,
        },
    )
    | anything
)
def test_any_result_is_a_sound_answer_or_a_named_error(result: object) -> None:
    try:
        head, body = answer(result)
    except (BadResponse, NotJson):
        return
    assert len(body) <= LIMIT
    if head is not None:
        status, headers, cookies = head
        assert 200 <= status <= 599
        for text in (*(part for pair in headers for part in pair), *cookies):
            assert not set(text) & set("\r\n\0")
