"""Answers in pieces and their credit, by every way of dispatch, on every driver."""

import asyncio
import json
from pathlib import Path

import pytest

from isotherm_runtime.frames import WINDOW_BYTES, Flag, Kind
from tests.contracts.sandbox.client import TIME_LIMIT_S, Client
from tests.contracts.sandbox.conftest import Start
from tests.contracts.sandbox.harness import GATES, open_gate

WAYS = {
    "one": {"concurrency": 1},
    "serial": {"concurrency": 4, "dispatch": "serial"},
    "threads": {"concurrency": 4},
}
SYNC = f"""{GATES}
import time
def handler(event, context):
    try:
        for number in range(event["count"]):
            time.sleep(event.get("pause", 0))
            while number and event.get("gated") and not opened(number):
                time.sleep(0.01)
            yield "x" * event.get("size", 1)
        print("done")
    except GeneratorExit:
        print("closed")
        raise
"""
ASYNC = f"""{GATES}
import asyncio
async def handler(event, context):
    try:
        for number in range(event["count"]):
            await asyncio.sleep(event.get("pause", 0))
            while number and event.get("gated") and not opened(number):
                await asyncio.sleep(0.01)
            yield "x" * event.get("size", 1)
        print("done")
    except (GeneratorExit, asyncio.CancelledError):
        print("closed")
        raise
"""
handlers = pytest.mark.parametrize(
    ("code", "way"),
    [(SYNC, "one"), (SYNC, "serial"), (SYNC, "threads"), (ASYNC, "one"), (ASYNC, "threads")],
    ids=["one", "serial", "threads", "async one", "async many"],
)


async def logged(client: Client, stream: int, line: str) -> None:
    async with asyncio.timeout(TIME_LIMIT_S):
        while line not in client.lines_of(stream):
            await asyncio.sleep(0.005)


@handlers
async def test_each_piece_is_sent_before_the_next_is_made(start: Start, data_dir: Path, code: str, way: str) -> None:
    client = await start(code, **WAYS[way])
    stream = client.request({"count": 4, "gated": True})
    pieces = await client.pieces(stream)
    for number in range(1, 4):
        await client.until(pieces, number)
        assert pieces.size == number
        open_gate(data_dir, number)  # now it may make the next
    assert (await client.whole(stream)).parts == [b"x"] * 4
    assert (await client.whole(client.request({"count": 1}))).body == b"x"  # and the instance goes on


@handlers
async def test_a_reader_that_takes_nothing_stops_the_handler(start: Start, code: str, way: str) -> None:
    client = await start(code, **WAYS[way])
    client.grants = False
    stream = client.request({"count": 500, "size": 1 << 20})
    pieces = await client.pieces(stream)
    await client.until(pieces, WINDOW_BYTES)
    await asyncio.sleep(0.1)
    assert pieces.size == WINDOW_BYTES
    client.send(Kind.WINDOW, stream, deadline_ms=100_000)
    await client.until(pieces, WINDOW_BYTES + 100_000)
    assert pieces.size == WINDOW_BYTES + 100_000
    client.send(Kind.CANCEL, stream)
    end = await asyncio.wait_for(pieces.end, TIME_LIMIT_S)
    assert json.loads(end.head)["kind"] == "cancelled"
    await logged(client, stream, "closed")
    client.grants = True
    assert (await client.whole(client.request({"count": 1}))).body == b"x"


@handlers
async def test_a_cancelled_stream_is_closed_at_its_next_piece(start: Start, code: str, way: str) -> None:
    client = await start(code, **WAYS[way])
    stream = client.request({"count": 10_000, "pause": 0.01})
    pieces = await client.pieces(stream)
    client.send(Kind.CANCEL, stream)
    end = await asyncio.wait_for(pieces.end, TIME_LIMIT_S)
    assert json.loads(end.head)["kind"] == "cancelled"
    await logged(client, stream, "closed")
    assert pieces.size < 1000


@handlers
async def test_a_large_answer_arrives_whole(start: Start, code: str, way: str) -> None:
    client = await start(code, **WAYS[way])
    client.instance.stream.setblocking(False)
    pieces = await client.whole(client.request({"count": 10, "size": 3_000_000}))
    assert pieces.size == 30_000_000
    assert max(len(part) for part in pieces.parts) <= 64 * 1024


async def test_calls_go_on_beside_a_stream_that_nobody_reads(start: Start) -> None:
    for code in (SYNC, ASYNC):
        client = await start(code, concurrency=4)
        client.grants = False
        stuck = [client.request({"count": 500, "size": 1 << 20}) for _ in range(3)]
        for stream in stuck:
            await client.until(await client.pieces(stream), WINDOW_BYTES)
        for _ in range(5):
            assert (await client.whole(client.request({"count": 3}))).body == b"xxx"


async def test_what_waits_behind_a_stream_in_serial_dispatch_is_served_after_it(start: Start) -> None:
    client = await start(SYNC, concurrency=4, dispatch="serial")
    client.grants = False
    stream = client.request({"count": 1, "size": WINDOW_BYTES + 1})
    await client.until(await client.pieces(stream), WINDOW_BYTES)
    later = [client.request({"count": 2}) for _ in range(3)]
    client.send(Kind.PING, 0)
    client.send(Kind.WINDOW, stream, deadline_ms=1)
    assert (await client.whole(stream)).size == WINDOW_BYTES + 1
    for one in later:
        assert (await client.whole(one)).body == b"xx"
    await client.ponged()
    assert client.pongs == 1


SHAPES = """
import asyncio
def numbers():
    yield b"one "
    yield "tw\\u00f6 "
    yield bytearray(b"three ")
    yield {"four": 4}
async def anumbers():
    for item in numbers():
        await asyncio.sleep(0)
        yield item
def empty():
    return
    yield
HEAD = {"statusCode": 201, "headers": {"X-Kind": "test"}, "cookies": ["a=1"]}
"""
ALL = "one tw\u00f6 three ".encode() + b'{"four":4}\n'


@pytest.mark.parametrize(
    ("prefix", "body"),
    [
        ("", "yield from numbers()"),
        ("", "return numbers()"),
        ("", "return map(lambda item: item, list(numbers()))"),
        ("", "return anumbers()"),
        ("async ", "return anumbers()"),
        ("async ", "return numbers()"),
        ("async ", "async for item in anumbers(): yield item"),
    ],
)
async def test_generators_and_iterators_of_every_kind_are_streamed(start: Start, prefix: str, body: str) -> None:
    client = await start(f"{SHAPES}\n{prefix}def handler(event, context):\n    {body}\n")
    pieces = await client.whole(client.http_request())
    assert pieces.body == ALL
    assert pieces.begun.http == (200, {"content-type": "application/octet-stream"}, [])
    assert (await client.whole(client.request({}))).body == ALL
    assert (await client.whole(client.request({}))).begun.flags == Flag.MORE  # an Invoke has no head


@pytest.mark.parametrize(
    "body",
    [
        "yield HEAD; yield 'text'",
        "return HEAD | {'body': iter(['text'])}",
        "async def made():\n        yield 'text'\n    return HEAD | {'body': made()}",
    ],
)
async def test_status_headers_and_cookies_come_first(start: Start, body: str) -> None:
    client = await start(f"{SHAPES}\ndef handler(event, context):\n    {body}\n")
    pieces = await client.whole(client.http_request())
    assert pieces.begun.http == (201, {"x-kind": "test", "content-type": "application/octet-stream"}, ["a=1"])
    assert pieces.body == b"text"


@pytest.mark.parametrize(
    ("item", "content_type"),
    [
        ("'text'", "text/plain; charset=utf-8"),
        ("b'x'", "application/octet-stream"),
        ("[1]", "application/x-ndjson"),
        ("{'statusCode': 200, 'headers': {'Content-Type': 'text/event-stream'}}", "text/event-stream"),
    ],
)
async def test_the_content_type_is_that_of_the_first_item(start: Start, item: str, content_type: str) -> None:
    client = await start(f"def handler(event, context):\n    yield {item}\n")
    assert (await client.whole(client.http_request())).begun.http[1] == {"content-type": content_type}


async def test_a_generator_that_yields_nothing_is_an_empty_answer(start: Start) -> None:
    client = await start(f"{SHAPES}\ndef handler(event, context):\n    return empty()\n")
    pieces = await client.whole(client.http_request())
    assert (pieces.body, pieces.begun.http[0]) == (b"", 200)


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_what_goes_wrong_before_the_first_piece_is_an_error_and_after_it_an_end(
    start: Start, prefix: str
) -> None:
    client = await start(f"""
{prefix}def handler(event, context):
    if event["after"]:
        yield "first"
    if event["what"] == "raise":
        raise KeyError("late")
    yield {{1, 2}} if event["what"] == "set" else {{"statusCode": 99}}
""")
    error = (await client.invoke({"after": False, "what": "raise"})).error
    assert (error["kind"], error["error_type"]) == ("handler", "KeyError")
    assert "in handler" in error["stack_trace"][0]
    assert (await client.invoke({"after": False, "what": "set"})).error["kind"] == "response"
    for what, kind in (("raise", "handler"), ("set", "response")):
        pieces = await client.pieces(client.request({"after": True, "what": what}))
        end = await asyncio.wait_for(pieces.end, TIME_LIMIT_S)
        assert (pieces.body, json.loads(end.head)["kind"]) == (b"first", kind)
    assert (await client.invoke({"after": False, "what": "raise"})).kind == Kind.ERROR


async def test_output_in_a_generator_belongs_to_its_call(start: Start) -> None:
    for code in (SYNC, ASYNC):
        client = await start(code, concurrency=4)
        streams = [client.request({"count": 3, "pause": 0.01}) for _ in range(4)]
        for stream in streams:
            await client.whole(stream)
            await logged(client, stream, "done")
            assert client.lines_of(stream) == ["done"]


async def test_an_async_stream_is_cancelled_at_its_deadline(start: Start) -> None:
    client = await start(ASYNC, concurrency=2)
    stream = client.request({"count": 10_000, "pause": 0.01}, deadline_ms=2000)
    end = await asyncio.wait_for((await client.pieces(stream)).end, TIME_LIMIT_S)
    assert json.loads(end.head)["kind"] == "cancelled"
    await logged(client, stream, "closed")


async def test_a_sync_stream_that_waits_for_its_reader_ends_at_its_deadline(start: Start) -> None:
    client = await start(SYNC)
    client.grants = False
    stream = client.request({"count": 10_000, "size": 100_000}, deadline_ms=2000)
    end = await asyncio.wait_for((await client.pieces(stream)).end, TIME_LIMIT_S)
    assert json.loads(end.head)["kind"] == "cancelled"
    await logged(client, stream, "closed")
