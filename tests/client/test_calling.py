"""Calls: whole, in pieces, without waiting; log lines; a deploy. One suite for both clients."""

import asyncio
import base64
import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from isotherm.base.errors import (
    HandlerFailed,
    ImportFailed,
    Invalid,
    InvalidResponse,
    IsothermError,
    NotFound,
    OutOfMemory,
    TimedOut,
    TooLarge,
    Unavailable,
)
from isotherm.client import Client, logs, session
from isotherm.client.model import Progress
from isotherm.wire.eventstream import encode_event
from tests.client.conftest import KEY, URL, Scripted

FUNCTIONS = "/api/v1/namespaces/default/functions"
CALL = {"id": "c-1", "namespace": "default", "name": "f", "state": "queued", "accepted_at_ms": 0, "due_at_ms": 0}


def failed(**body: Any) -> httpx.Response:
    headers = {"x-amz-function-error": "Unhandled", "x-amzn-requestid": "r-1"}
    return httpx.Response(200, json=body, headers=headers)


def test_an_answer_has_all_that_came_with_it(client_of: Scripted) -> None:
    headers = {
        "x-amz-executed-version": "3", "x-amzn-requestid": "r-1", "server-timing": "run;dur=1",
        "x-amz-log-result": base64.b64encode(b"START\n").decode(),
    }  # fmt: skip
    client = client_of.answers(httpx.Response(200, json={"a": 1}, headers=headers))
    answer = client.functions.invoke("f", {"x": "ü"}, qualifier="live", tail=True, client_context={"c": 1})
    assert (answer.json(), answer.version, answer.request_id) == ({"a": 1}, "3", "r-1")
    assert (answer.log, answer.timing, answer.error) == ("START\n", "run;dur=1", None)
    (asked,) = client_of.asked
    assert asked.url.raw_path == b"/2015-03-31/functions/default%2Ff/invocations?Qualifier=live"
    assert json.loads(asked.content) == {"x": "ü"}
    assert asked.headers["x-amz-log-type"] == "Tail"
    assert json.loads(base64.b64decode(asked.headers["x-amz-client-context"])) == {"c": 1}


@pytest.mark.parametrize(("event", "sent"), [(None, b"{}"), (b"[1]", b"[1]"), ("text", b'"text"'), (0, b"0")])
def test_events_are_values_or_bytes_of_json(client_of: Scripted, event: Any, sent: bytes) -> None:
    client_of.answers(httpx.Response(200, json=1)).functions.invoke("team/f:2", event)
    assert client_of.asked[-1].content == sent
    assert client_of.asked[-1].url.raw_path == b"/2015-03-31/functions/team%2Ff%3A2/invocations"


def test_what_json_cannot_hold_is_refused_before_it_is_sent(client_of: Scripted) -> None:
    with pytest.raises(Invalid):
        client_of.answers(httpx.Response(200)).functions.invoke("f", object())
    assert client_of.asked == []


def test_a_payload_that_is_not_json_is_told(client_of: Scripted) -> None:
    answer = client_of.answers(httpx.Response(200, content=b"one two")).functions.invoke("f")
    assert answer.payload == b"one two"
    with pytest.raises(InvalidResponse):
        answer.json()


@pytest.mark.parametrize(
    ("error_type", "kind"),
    [
        ("KeyError", HandlerFailed),
        ("out_of_memory", OutOfMemory),
        ("timed_out", TimedOut),
        ("unauthenticated", HandlerFailed),  # a function that calls its errors like the platform's own
        ("internal", HandlerFailed),
    ],
)
def test_what_a_function_failed_with_is_raised(client_of: Scripted, error_type: str, kind: type[IsothermError]) -> None:
    client = client_of.answers(failed(errorType=error_type, errorMessage="so", stackTrace=["in handler"]))
    with pytest.raises(IsothermError) as caught:
        client.functions.invoke("f")
    error = caught.value
    assert type(error) is kind
    assert (error.message, error.request_id) == (f"{error_type}: so", "r-1")
    assert error.data["stack_trace"] == ["in handler"]
    answer = client.functions.invoke("f", check=False)
    assert (answer.error, answer.json()["errorMessage"]) == ("Unhandled", "so")


def chunks(*pieces: bytes, end: dict[str, str] | None) -> bytes:
    events = [encode_event("PayloadChunk", "a/b", piece) for piece in pieces]
    if end is not None:
        events.append(encode_event("InvokeComplete", "application/json", json.dumps(end).encode()))
    return b"".join(events)


class Dripping(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body of ten bytes at a time; knows how much was taken and whether it was closed."""

    def __init__(self, content: bytes) -> None:
        self.parts = [content[start : start + 10] for start in range(0, len(content), 10)]
        self.taken = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            self.taken += 1
            yield part

    async def __aiter__(self) -> Any:
        for part in self:
            yield part

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def test_pieces_come_as_they_are_read_and_leaving_closes_the_answer(client_of: Scripted) -> None:
    body = Dripping(chunks(b"one ", b"two", end={}))
    client = client_of(lambda _: httpx.Response(200, stream=body))
    assert list(client.functions.stream("f", {"x": 1})) == [b"one ", b"two"]
    assert body.closed
    assert client_of.asked[-1].url.raw_path.endswith(b"default%2Ff/response-streaming-invocations")
    body = Dripping(chunks(b"one ", b"two" * 1000, end={}))
    with client.functions.stream("f") as pieces:
        assert not body.taken
        assert next(iter(pieces)) == b"one "
        assert 0 < body.taken < 20
    assert body.closed
    assert list(pieces) == []


def test_an_answer_that_drips_ends_with_its_time(client_of: Scripted) -> None:
    class Slow(Dripping):
        def __iter__(self) -> Iterator[bytes]:
            for part in super().__iter__():
                time.sleep(0.02)
                yield part

    body = Slow(b"x" * 10_000)
    with pytest.raises(TimedOut, match=r"did not end its answer within 0\.1 s"):
        client_of(lambda _: httpx.Response(200, stream=body)).functions.invoke("f", timeout_s=0.1)
    assert body.closed
    assert body.taken < 20


def test_an_answer_without_end_is_left(client_of: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_ANSWER_BYTES", 100)
    body = Dripping(b"x" * 10_000)
    with pytest.raises(TooLarge):
        client_of(lambda _: httpx.Response(200, stream=body)).functions.invoke("f")
    assert body.closed
    monkeypatch.setattr(session, "MAX_LINE_BYTES", 100)
    body = Dripping(b"x" * 10_000)
    with pytest.raises(TooLarge):
        list(client_of(lambda _: httpx.Response(200, stream=body)).revisions.progress("f", 1))
    assert body.closed


async def test_the_blocking_client_works_where_a_loop_runs(environment: None) -> None:
    """It blocks that loop, but does not stumble over it; a stream that nobody closed ends with its last reference."""
    body = Dripping(chunks(b"one", b"two" * 100, end={}))
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
    with Client(URL, KEY, transport=transport) as client:
        pieces = client.functions.stream("f")
        assert next(pieces) == b"one"
        del pieces
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert body.closed


def test_a_stream_says_how_it_ended(client_of: Scripted) -> None:
    details = json.dumps({"errorType": "KeyError", "errorMessage": "late", "requestId": "r-9"})
    end = {"ErrorCode": "Unhandled", "ErrorDetails": details, "LogResult": base64.b64encode(b"a log").decode()}
    said: list[str] = []
    pieces = client_of.answers(httpx.Response(200, content=chunks(b"one", end=end))).functions.stream(
        "f", on_log=said.append
    )
    assert next(pieces) == b"one"
    with pytest.raises(HandlerFailed, match="KeyError: late") as caught:
        next(pieces)
    assert (caught.value.request_id, said) == ("r-9", ["a log"])
    with pytest.raises(IsothermError, match="broke off"):
        list(client_of.answers(httpx.Response(200, content=chunks(b"one", end=None))).functions.stream("f"))
    with pytest.raises(IsothermError, match="not an event stream"):
        list(client_of.answers(httpx.Response(200, content=b"x" * 100)).functions.stream("f"))
    with pytest.raises(Unavailable):
        list(client_of.answers(httpx.Response(503, text="no")).functions.stream("f"))


def detail(**changes: Any) -> httpx.Response:
    return httpx.Response(200, json={"call": CALL | changes, "event": {}, "result": changes.get("status")})


def test_an_asynchronous_call_is_waited_for_by_its_id(client_of: Scripted) -> None:
    accepted = httpx.Response(202, headers={"x-amzn-requestid": "c-1"})
    done = detail(state="succeeded", status=200)
    call = client_of.answers(accepted, detail(), detail(state="running"), done).functions.invoke_async("f", 5)
    assert (call.id, client_of.asked[0].headers["x-amz-invocation-type"]) == ("c-1", "Event")
    assert "c-1" in repr(call)
    assert call.wait().result == 200
    assert client_of.asked[-1].url.path == "/api/v1/namespaces/default/calls/c-1"


def test_a_dead_letter_is_raised_and_a_wait_ends(client_of: Scripted) -> None:
    dead = detail(state="dead", error_code="handler_failed", error_type="KeyError", error_message="x")
    with pytest.raises(HandlerFailed, match="KeyError: x") as caught:
        client_of.answers(dead).calls.wait("c-1")
    assert caught.value.request_id == "c-1"
    assert client_of.answers(dead).calls.wait("c-1", check=False).call.state == "dead"
    with pytest.raises(TimedOut, match=r"is queued after 0\.1 s"):
        client_of.answers(detail()).calls.wait("c-1", 0.1)


def line(at_ms: int, message: str) -> dict[str, Any]:
    return {"at_ms": at_ms, "message": message}


def test_lines_that_come_are_given_once_over_a_break(client_of: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the newest moment are asked for again: there may be more of them."""
    monkeypatch.setattr(logs, "PAUSE_S", 0.0)
    written = [line(1, "a"), line(2, "b"), line(2, "b"), line(2, "c"), line(3, "d"), line(3, "e")]
    gone = httpx.Response(404, json={"code": "not_found", "detail": "gone"})
    streams: list[Any] = [written[:2], [*written[4:5], written[5]], gone]  # the second repeats what was caught up with

    def answer(request: httpx.Request) -> httpx.Response:
        if "follow" in request.url.params:
            found = streams.pop(0)
            return found if found is gone else httpx.Response(200, content=ndjson(found))
        since = int(request.url.params["since_ms"])
        items = [each for each in written[:5] if each["at_ms"] >= since]
        return httpx.Response(200, json={"items": items, "next_cursor": None})

    following = client_of(answer).functions.logs("f", follow=True)
    assert [next(following).message for _ in range(6)] == ["a", "b", "b", "c", "d", "e"]
    with pytest.raises(NotFound):
        next(following)


def test_lines_of_the_past_are_paged_from_a_moment_on(client_of: Scripted) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        items = [line(5, "x")] * min(int(request.url.params["limit"]), 1000)
        return httpx.Response(200, json={"items": items, "next_cursor": "more"})

    asked: list[dict[str, str]] = []
    functions = client_of(answer).functions
    assert len(list(functions.logs("f", limit=1500, since_ms=5))) == 1500
    assert asked == [
        {"limit": "1000", "since_ms": "5"},
        {"limit": "500", "since_ms": "5", "cursor": "more"},
    ]
    assert len(list(functions.logs("f", limit=7, invocation="r-1"))) == 7
    assert asked[2:] == [{"limit": "7", "invocation": "r-1"}]


@pytest.mark.parametrize("follow", [False, True])
def test_without_a_limit_all_lines_from_a_moment_on_are_given(client_of: Scripted, follow: bool) -> None:
    """With `follow` too: what comes must not begin behind a gap."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        if "follow" in asked:
            return httpx.Response(200, content=ndjson([line(2500, "x"), line(2501, "new")]))
        first = int(asked.get("cursor", asked["since_ms"]))
        items = [line(at, "x") for at in range(first, min(first + int(asked["limit"]), 2501))]
        following = items[-1]["at_ms"] + 1
        return httpx.Response(200, json={"items": items, "next_cursor": str(following) if following < 2501 else None})

    found = client_of(answer).functions.logs("f", since_ms=1, follow=follow)
    assert [next(found).at_ms for _ in range(2500)] == list(range(1, 2501))
    if follow:
        assert next(found).message == "new"
    else:
        assert list(found) == []


def ndjson(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n\n" for each in lines)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "isotherm.toml").write_text('name = "f"\n[env]\nA = "1"\n[rollout]\nstrategy = "canary"\nstep_s = 2\n')
    (folder / "app.py").write_text("def handler(event, context): return event\n")
    return folder


class Deploys:
    """A platform that takes a deploy; its stream of progress breaks once."""

    def __init__(self, *ends: dict[str, Any]) -> None:
        self.config: Any = None
        self.streams = [[{"step": "unpack", "state": "done"}], list(ends)]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        revision = {"id": "rev_1", "number": 4, "state": "building", "created_at_ms": 0}
        if path.endswith("/packages"):
            return httpx.Response(201, json={"digest": "ab" * 32, "size_bytes": 9, "files": 2})
        if path.endswith("/progress"):
            lines = self.streams.pop(0)
            return httpx.Response(200, content=ndjson(lines))
        if path.endswith("/rollouts"):
            rollout = {"id": "roll_1", "alias": "live", "before": 3, "to": 4, "state": "open"}
            return httpx.Response(200, json={"items": [rollout], "next_cursor": None})
        if request.method == "PUT":
            self.config = json.loads(request.content)
            return httpx.Response(202, json=revision)
        live = [{"number": 3, "weight": 1}]
        return httpx.Response(
            200, json={"id": "wl", "namespace": "default", "name": "f", "url": "https://c/f/", "live": live}
        )


def test_a_deploy_follows_its_revision_over_a_break(client_of: Scripted, code: Path) -> None:
    platform, told = Deploys({"done": True, "state": "ready"}), []
    deployed = client_of(platform).functions.deploy(
        str(code), env={"B": "2"}, public=True, rollout={"step_s": 5}, on_progress=told.append
    )
    assert (deployed.number, deployed.url, deployed.moved, deployed.rollout) == (4, "https://c/f/", True, "roll_1")
    assert not deployed.unchanged
    assert [(each.step, each.state) for each in told] == [
        ("upload", "running"), ("package", "done"), ("revision", "done"), ("unpack", "done"),
    ]  # fmt: skip
    assert all(isinstance(each, Progress) for each in told)
    assert platform.config["env"] == {"A": "1", "B": "2"}
    assert platform.config["public"] is True
    assert (platform.config["rollout"]["strategy"], platform.config["rollout"]["step_s"]) == ("canary", 5)


def test_a_deploy_that_fails_raises_why(client_of: Scripted, code: Path) -> None:
    problem = ImportFailed("no module", error_type="ImportError").problem()
    with pytest.raises(ImportFailed, match="no module"):
        client_of(Deploys({"done": True, "state": "failed", "problem": problem})).functions.deploy(code)
    with pytest.raises(Invalid):
        client_of(Deploys()).functions.deploy(code, rollout={"strategy": "sideways"})
