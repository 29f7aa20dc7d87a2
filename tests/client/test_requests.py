"""What the clients send, and what they make of answers: values, errors, repeats. One suite for both."""

import json
from typing import Any

import httpx
import pytest

from isotherm.base.errors import (
    Forbidden,
    Invalid,
    IsothermError,
    NotFound,
    PreconditionFailed,
    TimedOut,
    TooManyRequests,
    Unavailable,
    all_errors,
)
from tests.client.conftest import KEY, Scripted

FUNCTION = {"id": "wl_1", "namespace": "default", "name": "f", "url": "https://c/f/", "live": [], "latest": None}
AWAY = httpx.Response(503, json=Unavailable("control restarts").problem())
OK = httpx.Response(200, json=FUNCTION)


def test_a_value_comes_back_and_the_key_goes_along(client_of: Scripted) -> None:
    client = client_of.answers(OK)
    assert client.functions.get("f").url == "https://c/f/"
    (asked,) = client_of.asked
    assert (asked.method, asked.url.path) == ("GET", "/api/v1/namespaces/default/functions/f")
    assert asked.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("name", ["a/b", "a?b", "../keys", "ä", "a b", "%2e"])
def test_a_name_is_one_segment_of_the_path_whatever_is_in_it(client_of: Scripted, name: str) -> None:
    client_of.answers(OK).functions.get(name)
    path = client_of.asked[-1].url.raw_path.decode()
    assert path.startswith("/api/v1/namespaces/default/functions/")
    assert path.count("/") == 6
    assert client_of.asked[-1].url.path.rpartition("functions/")[2] == name


def test_a_name_that_is_a_step_up_is_refused(client_of: Scripted) -> None:
    for name in ("", ".", ".."):
        with pytest.raises(Invalid):
            client_of.answers(OK).functions.get(name)
    assert client_of.asked == []


@pytest.mark.parametrize("code", sorted(all_errors()))
def test_every_refusal_is_the_exception_of_its_code(client_of: Scripted, code: str) -> None:
    kind = all_errors()[code]
    problem = kind("it went wrong", retry_after_s=7.5, why="so").problem("r-1")
    with pytest.raises(kind) as caught:
        client_of.answers(httpx.Response(kind.status, json=problem), retry_s=0).functions.get("f")
    error = caught.value
    assert type(error) is kind
    assert (error.message, error.retry_after_s, error.request_id) == ("it went wrong", 7.5, "r-1")
    assert error.data == {"why": "so"}


def test_headers_say_what_a_problem_does_not(client_of: Scripted) -> None:
    headers = {"retry-after": "3", "x-amzn-requestid": "r-2"}
    with pytest.raises(TooManyRequests) as caught:
        client_of.answers(httpx.Response(429, text="slow down", headers=headers), retry_s=0).functions.get("f")
    assert (caught.value.retry_after_s, caught.value.request_id) == (3.0, "r-2")
    assert "slow down" in caught.value.message


@pytest.mark.parametrize(
    ("status", "kind"), [(403, Forbidden), (404, NotFound), (418, Invalid), (502, Unavailable), (504, Unavailable)]
)
def test_what_stands_before_the_platform_is_told_by_its_status(
    client_of: Scripted, status: int, kind: type[IsothermError]
) -> None:
    with pytest.raises(kind) as caught:
        client_of.answers(httpx.Response(status, text="<html>"), retry_s=0).functions.get("f")
    assert f"https://platform.example answered {status}" in caught.value.message


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"name": 1}', b"\xff", b""])
def test_an_answer_of_another_kind_is_named(client_of: Scripted, content: bytes) -> None:
    with pytest.raises(IsothermError, match="does not understand"):
        client_of.answers(httpx.Response(200, content=content)).functions.get("f")


def test_fields_of_a_newer_platform_are_left_out(client_of: Scripted) -> None:
    answer = httpx.Response(200, json=FUNCTION | {"colour": "blue"})
    assert client_of.answers(answer).functions.get("f").name == "f"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_stays_here(client_of: Scripted, status: int) -> None:
    away = httpx.Response(status, headers={"location": "https://elsewhere.example/"})
    with pytest.raises(Invalid, match="redirects to https://elsewhere"):
        client_of.answers(away).functions.get("f")
    assert [request.url.host for request in client_of.asked] == ["platform.example"]


def test_what_may_be_repeated_is_while_control_restarts(client_of: Scripted) -> None:
    assert client_of.answers(AWAY, AWAY, OK).functions.get("f").name == "f"
    assert len(client_of.asked) == 3
    secret = httpx.Response(200, json={"name": "s"})
    assert client_of.answers(AWAY, secret).secrets.set("s", "v").name == "s"


@pytest.mark.parametrize("lost", [AWAY, httpx.ReadError("gone"), httpx.RemoteProtocolError("gone")])
def test_a_call_that_may_have_begun_is_not_repeated(client_of: Scripted, lost: Any) -> None:
    client = client_of.answers(OK, lost)
    client.functions.get("f")
    with pytest.raises(Unavailable):
        client.functions.invoke("f")
    assert len(client_of.asked) == 2


@pytest.mark.parametrize(
    "refused",
    [
        httpx.Response(429, json=TooManyRequests("slow", retry_after_s=0.01).problem()),
        httpx.Response(503, json=Unavailable("not begun", begun=False).problem()),
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
    ],
)
def test_a_call_that_was_not_begun_is_repeated(client_of: Scripted, refused: Any) -> None:
    client = client_of.answers(OK, refused, httpx.Response(200, json=5))
    client.functions.get("f")
    assert client.functions.invoke("f").json() == 5
    assert len(client_of.asked) == 3


def test_a_platform_that_was_never_there_is_not_waited_for(client_of: Scripted) -> None:
    with pytest.raises(Unavailable, match=r"cannot reach https://platform\.example"):
        client_of.answers(httpx.ConnectError("refused")).functions.get("f")
    assert len(client_of.asked) == 1


def test_repeats_end(client_of: Scripted) -> None:
    with pytest.raises(Unavailable):
        client_of.answers(AWAY, retry_s=0.3).functions.get("f")
    assert 2 <= len(client_of.asked) <= 6
    asked = len(client_of.asked)
    with pytest.raises(Unavailable):
        client_of.answers(AWAY, retry_s=0).functions.get("f")
    assert len(client_of.asked) == asked + 1


def test_a_wait_that_the_platform_asks_for_beyond_the_limit_is_an_error_at_once(client_of: Scripted) -> None:
    busy = httpx.Response(429, json=TooManyRequests("slow", retry_after_s=60).problem())
    with pytest.raises(TooManyRequests):
        client_of.answers(busy, retry_s=5).functions.get("f")
    assert len(client_of.asked) == 1


def test_what_an_answer_was_lost_of_and_is_gone_was_deleted(client_of: Scripted) -> None:
    gone = httpx.Response(404, json=NotFound("no function f").problem())
    client_of.answers(AWAY, gone).functions.delete("f")
    with pytest.raises(NotFound):
        client_of.answers(gone).functions.delete("f")


def test_what_is_bound_to_an_etag_is_not_repeated(client_of: Scripted) -> None:
    with pytest.raises(Unavailable):
        client_of.answers(AWAY, OK).secrets.set("s", "v", etag="e")
    assert client_of.asked[-1].headers["if-match"] == "e"
    assert len(client_of.asked) == 1


def test_quotas_change_what_is_given_and_keep_the_rest(client_of: Scripted) -> None:
    quota = {"namespace": "default", "own": {"instances": 3, "new_limit": 7}, "limits": {}, "use": {}}
    there = httpx.Response(200, json=quota, headers={"etag": '"e-1"'})
    client = client_of.answers(there, there)
    client.quotas.change({"memory_mb": 100})
    put = client_of.asked[-1]
    assert (put.method, put.headers["if-match"]) == ("PUT", '"e-1"')
    assert json.loads(put.content) == {"instances": 3, "new_limit": 7, "memory_mb": 100}
    stale = httpx.Response(412, json=PreconditionFailed("it changed").problem())
    with pytest.raises(PreconditionFailed):
        client_of.answers(there, stale).quotas.change({"memory_mb": 100})


def test_pages_are_asked_for_when_they_are_needed(client_of: Scripted) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        size, cursor = int(request.url.params["limit"]), request.url.params.get("cursor", "0")
        items = [FUNCTION | {"name": f"f{int(cursor) + number}"} for number in range(size)]
        return httpx.Response(200, json={"items": items, "next_cursor": str(int(cursor) + size)})

    functions = client_of(answer).functions
    found = functions.list()
    assert client_of.asked == []
    assert [next(found).name for _ in range(100)][-1] == "f99"
    assert len(client_of.asked) == 1
    assert next(found).name == "f100"
    found.close()
    assert [each.name for each in functions.list(limit=130)][-1] == "f129"
    assert [dict(request.url.params) for request in client_of.asked[-2:]] == [
        {"limit": "100"},
        {"limit": "30", "cursor": "100"},
    ]
    assert list(functions.list(limit=0)) == []


def test_time_limits_are_those_of_the_call_the_client_or_the_request(client_of: Scripted) -> None:
    def read_s() -> float:
        return float(client_of.asked[-1].extensions["timeout"]["read"])

    client_of.answers(OK).functions.get("f")
    assert read_s() == 30
    client = client_of.answers(OK, timeout_s=7)
    client.functions.get("f")
    assert read_s() == 7
    client.functions.invoke("f")
    assert read_s() == 7
    client.functions.invoke("f", timeout_s=2)
    assert (read_s(), client_of.asked[-1].extensions["timeout"]["connect"]) == (2, 2)
    client_of.answers(OK).functions.invoke("f")
    assert read_s() == 960
    with pytest.raises(Invalid):
        client.functions.invoke("f", timeout_s=0)


def test_a_time_that_is_over_is_told_and_not_spent_again(client_of: Scripted) -> None:
    with pytest.raises(TimedOut, match="within 30 s"):
        client_of.answers(httpx.ReadTimeout("slow")).functions.get("f")
    assert len(client_of.asked) == 1


def test_options_change_for_a_view_that_shares_the_connections(client_of: Scripted) -> None:
    client = client_of.answers(OK)
    view = client.with_options(namespace="team", timeout_s=3)
    view.functions.get("f")
    assert client_of.asked[-1].url.path == "/api/v1/namespaces/team/functions/f"
    assert client_of.asked[-1].extensions["timeout"]["read"] == 3
    client.functions.get("f")
    assert client_of.asked[-1].url.path == "/api/v1/namespaces/default/functions/f"
