"""InvokeWithResponseStream, by boto3 as it is and by the bytes."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from isotherm.wire.eventstream import Event, EventDecoder
from tests.gateway.front import Front

ROWS = """
def handler(event, context):
    print("counting")
    for number in range(event["count"]):
        yield f"row {number}\\n"
    if event.get("fail"):
        raise KeyError("late")
"""


async def events_of(front: Front, name: str, event: Any, **more: Any) -> tuple[int, list[Event]]:
    path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    reply = await front.get(path, method="POST", body=json.dumps(event).encode(), port=front.api, **more)
    if reply.status != 200:
        return reply.status, []
    assert reply.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert reply.headers["x-amz-executed-version"] == "1"
    return reply.status, list(EventDecoder().feed(reply.body))


async def test_pieces_are_events_and_the_last_says_that_it_is_complete(front: Front) -> None:
    front.function("rows", ROWS)
    _, events = await events_of(front, "rows", {"count": 3})
    assert [event.kind for event in events[:-1]] == ["PayloadChunk"] * (len(events) - 1)
    assert b"".join(event.payload for event in events[:-1]) == b"row 0\nrow 1\nrow 2\n"
    assert events[-1] == Event("InvokeComplete", b"{}")


async def test_what_fails_in_the_middle_or_before_is_in_the_last_event(front: Front) -> None:
    front.function("rows", ROWS)
    for count in (0, 2):
        _, events = await events_of(front, "rows", {"count": count, "fail": True}, headers={"X-Amz-Log-Type": "Tail"})
        assert len(events) >= 1 + count // 2
        last = json.loads(events[-1].payload)
        assert last["ErrorCode"] == "Unhandled"
        assert json.loads(last["ErrorDetails"])["errorType"] == "KeyError"
        assert "LogResult" in last


async def test_a_function_that_answers_whole_is_one_piece(front: Front) -> None:
    front.function("echo")
    _, events = await events_of(front, "echo", {"a": 1})
    assert events == [Event("PayloadChunk", b'{"a":1}'), Event("InvokeComplete", b"{}")]


async def test_refusals_are_ordinary_errors(front: Front) -> None:
    front.function("echo")
    front.function(
        "full",
        "import time\ndef handler(event, context):\n    time.sleep(0.5)\n",
        queue_limit=0,
        warm={"max_instances": 1},
    )
    running = asyncio.create_task(events_of(front, "full", {}))
    await front.bench.until(lambda: front.bench.driver.started, "the first call")
    assert (await events_of(front, "missing", {}))[0] == 404
    assert (await events_of(front, "echo", {}, token="iso_wrong"))[0] == 401
    assert (await events_of(front, "full", {}))[0] == 429
    assert (await events_of(front, "echo", {}))[0] == 200
    assert (await running)[0] == 200


async def test_a_connection_serves_plain_and_streamed_invokes_in_turn(front: Front) -> None:
    front.function("echo")
    wire = await front.wire(front.api)
    for prefix, suffix in (("2021-11-15", "response-streaming-invocations"), ("2015-03-31", "invocations")) * 2:
        head = f"POST /{prefix}/functions/echo/{suffix} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer iso_admin\r\n"
        wire.send(head.encode() + b"Content-Length: 2\r\n\r\n{}")
        reply = await wire.reply()
        assert (reply.body == b"{}") == (suffix == "invocations")


@pytest.fixture
def lambda_client(front: Front) -> Callable[[], Any]:
    def make() -> Any:
        client = boto3.client(
            "lambda",
            endpoint_url=f"http://127.0.0.1:{front._numbers[front.api]}",
            region_name="local",
            config=Config(signature_version=UNSIGNED, retries={"max_attempts": 1}),
        )

        def authorize(request: Any, **_: Any) -> None:
            request.headers["Authorization"] = "Bearer iso_admin"

        client.meta.events.register("before-send.lambda", authorize)
        return client

    return make


async def test_boto3_reads_the_stream(front: Front, lambda_client: Callable[[], Any]) -> None:
    front.function("rows", ROWS)

    def call() -> tuple[bytes, dict[str, Any], dict[str, Any]]:
        answer = lambda_client().invoke_with_response_stream(
            FunctionName="rows", Payload=b'{"count": 2, "fail": true}', LogType="Tail"
        )
        body, last = b"", {}
        for event in answer["EventStream"]:
            body += event.get("PayloadChunk", {}).get("Payload", b"")
            last = event.get("InvokeComplete", last)
        return body, last, answer

    body, last, answer = await asyncio.to_thread(call)
    assert (body, answer["StatusCode"], answer["ExecutedVersion"]) == (b"row 0\nrow 1\n", 200, "1")
    assert last["ErrorCode"] == "Unhandled"
    assert "KeyError" in last["ErrorDetails"]
