"""Lambda's payload format 2.0 from the compact head."""

import base64
import json
from urllib.parse import parse_qsl, quote, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.events import EventBuilder, is_text, parse_query

ARN = "arn:aws:lambda:local:shop:function:orders"
builder = EventBuilder(RuntimeConfig(handler="app.handler", function_name="orders", function_arn=ARN))


def build(
    headers: list[list[str]] | None = None,
    body: bytes = b"",
    *,
    method: str = "GET",
    path: str = "/",
    query: str = "",
    time_ms: int = 1_583_348_638_390,
    domain: str = "orders.fn.test",
) -> dict[str, object]:
    head = json.dumps(["id-1", time_ms]) + json.dumps([method, path, query, headers or [], "192.0.2.7", domain])
    request_id, event = builder.build(head.encode(), body)
    assert request_id == "id-1"
    return event


def test_the_whole_event() -> None:
    headers = [["Host", "orders.fn.test"], ["User-Agent", "curl/8"], ["Content-Type", "application/json"]]
    assert build(headers, b'{"n": 1}', method="POST", path="/a%20b/c", query="x=1&x=2&y=%2F") == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/a%20b/c",
        "rawQueryString": "x=1&x=2&y=%2F",
        "headers": {"host": "orders.fn.test", "user-agent": "curl/8", "content-type": "application/json"},
        "queryStringParameters": {"x": "1,2", "y": "/"},
        "requestContext": {
            "accountId": "shop",
            "apiId": "orders",
            "domainName": "orders.fn.test",
            "domainPrefix": "orders",
            "http": {
                "method": "POST",
                "path": "/a%20b/c",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "curl/8",
            },
            "requestId": "id-1",
            "routeKey": "$default",
            "stage": "$default",
            "time": "04/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_583_348_638_390,
        },
        "body": '{"n": 1}',
        "isBase64Encoded": False,
    }


def test_events_of_equal_requests_share_nothing_that_a_handler_could_change() -> None:
    def one() -> dict[str, object]:
        return build([["Cookie", "a=1"], ["X-A", "b"]], b"{}", query="x=1")

    def spoil(value: object) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                spoil(inner)
            value.clear()
        elif isinstance(value, list):
            value.clear()

    expected = one()
    spoil(one())
    assert one() == expected


def test_what_differs_between_equal_requests_is_each_ones_own() -> None:
    fixed = json.dumps(["GET", "/", "", [], "192.0.2.7", "orders.fn.test"])
    made = [builder.build(f'["id-{n}",{1000 * n}]{fixed}'.encode(), b"") for n in range(3)]
    assert [request_id for request_id, _ in made] == ["id-0", "id-1", "id-2"]
    contexts = [event["requestContext"] for _, event in made]
    assert [(c["requestId"], c["timeEpoch"]) for c in contexts] == [("id-0", 0), ("id-1", 1000), ("id-2", 2000)]  # type: ignore[index]


@pytest.mark.parametrize("head", [b"", b"[", b'["id-1",1]', b'["id-1",1][]', b'["id-1"]["GET"]', b"[][]"])
def test_a_head_that_is_none_is_an_error_of_that_call(head: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        builder.build(head, b"")


def test_more_different_requests_than_are_remembered_are_all_read_right() -> None:
    for number in (*range(200), *range(200)):
        assert build(path=f"/{number}")["rawPath"] == f"/{number}"


def test_without_query_cookies_and_body_their_fields_are_left_out() -> None:
    assert {"queryStringParameters", "cookies", "body"}.isdisjoint(build())


def test_cookies_of_several_headers_are_one_list_and_no_header() -> None:
    event = build([["Cookie", "a=1; b=2"], ["cookie", "c=3"]])
    assert event["cookies"] == ["a=1", "b=2", "c=3"]
    assert event["headers"] == {}


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("APPLICATION/Problem+JSON", True),
        ("text/html", True),
        ("image/svg+xml", True),
        ("application/xml", True),
        ("", False),
        ("application/octet-stream", False),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
        ("image/png", False),
    ],
)
def test_which_bodies_are_text(content_type: str, text: bool) -> None:
    assert is_text(content_type) is text
    event = build([["content-type", content_type]], b"abc")
    assert event["isBase64Encoded"] is not text
    assert event["body"] == ("abc" if text else "YWJj")


def test_a_text_body_that_is_not_utf_8_goes_as_base64() -> None:
    event = build([["content-type", "text/plain"]], b"\xff\xfe")
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(str(event["body"])) == b"\xff\xfe"


@given(st.lists(st.tuples(st.text(min_size=1), st.text())))
def test_the_query_is_decoded_as_the_standard_library_does(pairs: list[tuple[str, str]]) -> None:
    pairs = [(n, v) for n, v in pairs if not any("\ud800" <= c <= "\udfff" for c in n + v)]
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)
    expected: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        expected[name] = f"{expected[name]},{value}" if name in expected else value
    assert parse_query(query) == expected


@given(st.text("ab%+2fFéG ", max_size=30))
def test_broken_escapes_are_read_as_the_standard_library_does(text: str) -> None:
    assert parse_query(f"q={text}")["q"] == unquote_plus(text)


@given(st.text())
def test_any_query_string_gives_text(query: str) -> None:
    found = parse_query(query)
    assert all(isinstance(part, str) for item in found.items() for part in item)


@given(
    st.lists(st.tuples(st.text(min_size=1), st.text())),
    st.binary(max_size=100),
    st.text(),
    st.integers(0, 4_000_000_000_000),
)
def test_any_head_gives_an_event_that_json_can_hold(
    headers: list[tuple[str, str]], body: bytes, path: str, time_ms: int
) -> None:
    event = build([list(pair) for pair in headers], body, path=path, time_ms=time_ms)
    assert json.loads(json.dumps(event)) == event
    names = [name.lower() for name, _ in headers]
    assert set(event["headers"]) == {name for name in names if name != "cookie"}  # type: ignore[call-overload]


@pytest.mark.parametrize("head", [[], ["id"], ["id", "GET", "/", "", [["only a name"]], "", 0, ""], [1] * 8])
def test_a_head_of_another_shape_is_refused(head: list[object]) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)):
        builder.build(head, b"")
