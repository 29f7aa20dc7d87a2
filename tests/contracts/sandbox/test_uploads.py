"""Requests whose body comes in pieces, by every way of dispatch, on every driver."""

import asyncio
import hashlib
import json
import os
from pathlib import Path

import pytest

from isotherm_runtime.body import GRANT_BYTES
from isotherm_runtime.frames import WINDOW_BYTES, Kind
from tests.contracts.sandbox.client import TIME_LIMIT_S
from tests.contracts.sandbox.conftest import Start
from tests.contracts.sandbox.harness import GATES, open_gate

SYNC = """
import hashlib, time
def handler(event, context):
    digest, size, pieces = hashlib.sha256(), 0, 0
    for piece in context.body:
        digest.update(piece)
        size += len(piece)
        pieces += 1
    return {"size": size, "pieces": pieces, "digest": digest.hexdigest(), "body": event.get("body")}
"""
ASYNC = SYNC.replace("def handler", "async def handler").replace("for piece", "async for piece")
ways = pytest.mark.parametrize(
    ("code", "changes"),
    [
        (SYNC, {}),
        (SYNC, {"concurrency": 4, "dispatch": "serial"}),
        (SYNC, {"concurrency": 4}),
        (ASYNC, {}),
        (ASYNC, {"concurrency": 4}),
    ],
    ids=["one", "serial", "threads", "async one", "async many"],
)


@ways
async def test_a_body_of_any_size_arrives_in_order(start: Start, code: str, changes: dict[str, object]) -> None:
    client = await start(code, request_body="stream", **changes)
    data = os.urandom(5_000_000)
    for _ in range(2):
        stream = client.http_request("PUT", more=True)
        await client.upload(stream, data, piece=50_000)
        found = json.loads((await client.answer(stream)).body)
        assert (found["size"], found["digest"]) == (5_000_000, hashlib.sha256(data).hexdigest())
        assert (found["pieces"], found["body"]) == (100, None)


@ways
async def test_what_the_handler_does_not_take_is_not_granted(
    start: Start, data_dir: Path, code: str, changes: dict[str, object]
) -> None:
    pause = "await asyncio.sleep(0.01)" if code is ASYNC else "time.sleep(0.01)"
    wait = f"    while not opened('go'):\n        {pause}\n"
    lazy = f"{GATES}import asyncio\n" + code.replace("    digest,", f"{wait}    digest,")
    client = await start(lazy, request_body="stream", **changes)
    stream = client.http_request("PUT", more=True)
    uploading = asyncio.ensure_future(client.upload(stream, b"x" * WINDOW_BYTES))
    await asyncio.sleep(0.1)
    assert client.granted[stream] == WINDOW_BYTES
    open_gate(data_dir, "go")
    await uploading
    assert json.loads((await client.answer(stream)).body)["size"] == WINDOW_BYTES


@ways
async def test_a_whole_body_and_none_are_bodies_too(start: Start, code: str, changes: dict[str, object]) -> None:
    client = await start(code, request_body="stream", **changes)
    assert json.loads((await client.http("POST", body=b"whole")).body)["size"] == 5
    assert json.loads((await client.http("GET")).body)["size"] == 0
    found = (await client.invoke({"body": "of the event"})).value
    assert (found["size"], found["body"]) == (0, "of the event")


@ways
async def test_a_cancelled_upload_ends_the_handler(start: Start, code: str, changes: dict[str, object]) -> None:
    client = await start(code, request_body="stream", **changes)
    stream = client.http_request("PUT", more=True)
    client.send(Kind.CHUNK, stream, body=bytes(GRANT_BYTES))
    async with asyncio.timeout(TIME_LIMIT_S):
        while client.granted[stream] == WINDOW_BYTES:  # until the handler has taken it
            await asyncio.sleep(0.005)
    client.send(Kind.CANCEL, stream)
    error = (await client.answer(stream)).error
    assert error["kind"] == "cancelled" if code is ASYNC else error["error_type"] == "BodyBroken"
    assert json.loads((await client.http("POST", body=b"next")).body)["size"] == 4


async def test_an_answer_may_be_streamed_while_the_body_comes(start: Start) -> None:
    upper = "def handler(event, context):\n    for piece in context.body:\n        yield piece.upper()\n"
    for code in (upper, "async " + upper.replace("for piece", "async for piece")):
        for changes in ({}, {"concurrency": 4}):
            client = await start(code, request_body="stream", **changes)
            stream = client.http_request("PUT", more=True)
            for number in range(3):
                client.send(Kind.CHUNK, stream, body=b"abc")
                await client.until(await client.pieces(stream), 3 * number + 3)
            client.send(Kind.END, stream)
            assert (await client.whole(stream)).body == b"ABC" * 3


async def test_it_can_be_read_as_a_file(start: Start) -> None:
    code = """
def handler(event, context):
    body = context.body
    return [body.read(3).decode(), body.read(2).decode(), body.read().decode(), body.read().decode()]
"""
    for source in (code, code.replace("def ", "async def ").replace("body.read(", "(await body.read(").replace(
        ".decode()", ").decode()"
    )):  # fmt: skip
        client = await start(source, request_body="stream")
        stream = client.http_request("PUT", more=True)
        for part in (b"ab", b"cdef", b"gh"):
            client.send(Kind.CHUNK, stream, body=part)
        client.send(Kind.END, stream)
        assert json.loads((await client.answer(stream)).body) == ["abc", "de", "fgh", ""]


async def test_another_thread_of_the_handler_may_read_it(start: Start) -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
def handler(event, context):
    with ThreadPoolExecutor(1) as pool:
        yield from pool.submit(lambda: [piece for piece in context.body]).result()
"""
    for changes in ({}, {"concurrency": 4}):
        client = await start(code, request_body="stream", **changes)
        stream = client.http_request("PUT", more=True)
        await asyncio.sleep(0.02)
        for part in (b"a", b"b"):
            client.send(Kind.CHUNK, stream, body=part)
        client.send(Kind.END, stream)
        assert (await client.whole(stream)).body == b"ab"


async def test_the_wrong_kind_of_loop_says_which_is_right(start: Start) -> None:
    client = await start("async def handler(event, context):\n    return list(context.body)\n", request_body="stream")
    assert "async for" in (await client.http("POST", body=b"x")).error["error_message"]


async def test_bodies_of_calls_that_wait_their_turn_are_kept_for_them(start: Start) -> None:
    client = await start(SYNC, concurrency=4, dispatch="serial", request_body="stream")
    first, second = client.http_request("PUT", more=True), client.http_request("PUT", more=True)
    for stream, part in ((second, b"22"), (first, b"1"), (second, b"2")):
        client.send(Kind.CHUNK, stream, body=part)
    client.send(Kind.END, second)
    await asyncio.sleep(0.05)
    client.send(Kind.END, first)
    sizes = [json.loads((await client.answer(stream)).body)["size"] for stream in (first, second)]
    assert sizes == [1, 3]


async def test_a_handler_that_takes_nothing_does_not_harm_the_next(start: Start) -> None:
    code = (
        "def handler(event, context):\n    return 'early' if event['rawPath'] == '/' else context.body.read().decode()"
    )
    for changes in ({}, {"concurrency": 4}):
        client = await start(code, request_body="stream", **changes)
        stream = client.http_request("PUT", more=True)
        client.send(Kind.CHUNK, stream, body=b"unread")
        assert (await client.answer(stream)).value == "early"
        client.send(Kind.CHUNK, stream, body=b"late")
        client.send(Kind.END, stream)
        assert (await asyncio.wait_for(client.http("PUT", "/read", body=b"next"), TIME_LIMIT_S)).value == "next"
