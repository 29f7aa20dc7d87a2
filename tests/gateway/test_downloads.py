"""Answers in pieces, as clients of function URLs and of Invoke see them."""

import asyncio
from pathlib import Path

import pytest

from isotherm_runtime.frames import WINDOW_BYTES
from tests.gateway.front import Front, Wire

EVENTS = """
import os, time
HEAD = {"statusCode": 200, "headers": {"Content-Type": "text/event-stream"}}
def handler(event, context):
    yield HEAD
    for number in range(3):
        yield f"data: {number}\\n\\n"
        time.sleep(0.1)
"""
ENDLESS = """
import json, time
closed = []
def handler(event, context):
    if event.get("rawPath") == "/closed":
        return json.dumps(closed)
    return stream(int(event.get("rawQueryString") or 65536))
def stream(size):
    try:
        while True:
            yield b"x" * size
            time.sleep(0)
    finally:
        closed.append("yes")
"""
REQUEST = b"GET /%b HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer iso_admin\r\n\r\n"


async def head_of(wire: Wire) -> str:
    async with asyncio.timeout(10):
        return (await wire.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()


async def chunk_of(wire: Wire) -> bytes:
    async with asyncio.timeout(10):
        size = int(await wire.reader.readline(), 16)
        return (await wire.reader.readexactly(size + 2))[:-2]


async def test_the_first_piece_is_there_long_before_the_handler_ends(front: Front, tmp_path: Path) -> None:
    go = tmp_path / "go"
    held = f"while not os.path.exists({str(go)!r}):\n            time.sleep(0.005)"
    front.function("events", EVENTS.replace("time.sleep(0.1)", held))
    wire = await front.wire()
    wire.send(REQUEST % b"events")
    head = await head_of(wire)
    assert "content-type: text/event-stream" in head
    assert "transfer-encoding: chunked" in head
    assert "server-timing: queue;dur=" in head
    assert await chunk_of(wire) == b"data: 0\n\n"
    go.touch()
    for number in (1, 2):
        assert await chunk_of(wire) == f"data: {number}\n\n".encode()
    assert await chunk_of(wire) == b""
    wire.send(REQUEST % b"events")
    assert (await wire.reply()).body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


async def test_a_length_that_the_function_gives_is_kept_and_held_to(front: Front) -> None:
    code = """
def handler(event, context):
    size = int(event["rawQueryString"])
    return {"statusCode": 200, "headers": {"Content-Length": "10"}, "body": iter(["x" * size])}
"""
    front.function("long", code)
    reply = await front.get("/long?10")
    assert (reply.headers["content-length"], reply.body) == ("10", b"x" * 10)
    assert "transfer-encoding" not in reply.headers
    for size in (9, 11):
        with pytest.raises(asyncio.IncompleteReadError):
            await front.get(f"/long?{size}")
    records = front.bench.recorder.collect().invocations
    assert [record.outcome for record in records if record.why_kept == "failed"] == ["invalid", "invalid"]


async def test_http_1_0_gets_the_body_up_to_the_end_of_the_connection(front: Front) -> None:
    front.function("events", EVENTS)
    wire = await front.wire()
    wire.send(b"GET /events HTTP/1.0\r\nAuthorization: Bearer iso_admin\r\nConnection: keep-alive\r\n\r\n")
    head = await head_of(wire)
    assert "connection: close" in head
    assert "transfer-encoding" not in head
    async with asyncio.timeout(10):
        assert await wire.reader.read() == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


async def test_head_and_204_take_the_head_alone_and_the_stream_is_closed(front: Front) -> None:
    front.function("endless", ENDLESS)
    reply = await front.get("/endless", method="HEAD")
    assert (reply.status, reply.body) == (200, b"")
    await front.bench.until(lambda: front.bench.pool.revisions["rev_1"].free, "the free instance")
    assert (await front.get("/endless/closed")).body == b'"[\\"yes\\"]"'
    front.function("nothing", "def handler(event, context):\n    yield {'statusCode': 204}\n    yield 'more'\n")
    wire = await front.wire()
    wire.send((REQUEST % b"nothing") * 2)
    assert [(await wire.reply()).status for _ in range(2)] == [204, 204]


async def test_pipelined_requests_are_answered_in_order(front: Front) -> None:
    front.function("events", EVENTS)
    front.function("echo")
    wire = await front.wire()
    wire.send(REQUEST % b"events" + REQUEST % b"echo" + REQUEST % b"events")
    assert (await wire.reply()).body.startswith(b"data: 0")
    assert (await wire.reply()).json()["rawPath"] == "/"
    assert (await wire.reply()).body.startswith(b"data: 0")


async def test_a_client_that_reads_nothing_stops_the_handler_and_is_cut_off(tmp_path: Path) -> None:
    front = Front(tmp_path, body_timeout_s=0.2, sample_rate=1.0)
    await front.start()
    try:
        front.function("endless", ENDLESS)
        wire = await front.wire()
        wire.writer.transport.pause_reading()
        wire.send(REQUEST % b"endless")
        revision = front.bench.pool.revision(front.revisions["rev_1"])
        await front.bench.until(lambda: any(c.calls for c in revision.connections.values()), "the call")
        (connection,) = revision.connections.values()
        client = next(iter(front.content.connections))
        await front.bench.until(lambda: client.blocked_since_s, "the block")
        (answer,) = connection._answers.values()
        await asyncio.sleep(0.05)
        held = answer.total_bytes
        assert client.transport.get_write_buffer_size() <= WINDOW_BYTES + 64 * 1024
        await asyncio.sleep(0.1)
        assert answer.total_bytes == held  # nothing more comes
        await asyncio.sleep(0.3)
        front.content.tick()
        await front.bench.until(lambda: revision.free, "the free instance")
        assert (await front.get("/endless/closed")).body == b'"[\\"yes\\"]"'
    finally:
        await front.stop()


async def test_a_slow_reader_gets_all_of_it(front: Front) -> None:
    code = "def handler(event, context):\n    for n in range(200):\n        yield bytes([n]) * 50_000\n"
    front.function("big", code)
    wire = await front.wire()
    wire.send(REQUEST % b"big")
    await head_of(wire)
    body = b""
    while chunk := await chunk_of(wire):
        body += chunk
        if len(body) % 5 == 0:
            await asyncio.sleep(0.001)
    assert body == b"".join(bytes([n]) * 50_000 for n in range(200))


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_a_client_that_leaves_closes_the_generator_and_frees_the_slot(front: Front, prefix: str) -> None:
    code = f"""
import asyncio, json, time
closed = []
{prefix}def handler(event, context):
    if event["rawPath"] == "/closed":
        yield json.dumps(closed)
        return
    try:
        while True:
            yield "tick"
            {"await asyncio" if prefix else "time"}.sleep(0.01)
    except BaseException as exc:
        closed.append(type(exc).__name__)
        raise
"""
    spec = front.function("ticks", code)
    wire = await front.wire()
    wire.send(REQUEST % b"ticks")
    await head_of(wire)
    await chunk_of(wire)
    wire.close()
    revision = front.bench.pool.revision(spec)
    await front.bench.until(lambda: revision.free, "the free instance")
    assert (await front.get("/ticks/closed")).json() in (["GeneratorExit"], ["CancelledError"])
    assert front.bench.driver.started == 1


async def test_an_error_after_the_first_piece_is_a_cut_and_one_before_it_a_502(front: Front) -> None:
    code = """
def handler(event, context):
    if event["rawPath"] == "/late":
        yield "x"
    raise KeyError("no")
"""
    front.function("fails", code)
    reply = await front.get("/fails/early")
    assert (reply.status, reply.json()["data"]["error_type"]) == (502, "KeyError")
    wire = await front.wire()
    wire.send(REQUEST % b"fails/late")
    assert "200 ok" in await head_of(wire)
    assert await chunk_of(wire) == b"x"
    assert await wire.ended()
    early, late = front.bench.recorder.collect().invocations
    assert (early.outcome, late.outcome, late.error_type) == ("handler_error", "handler_error", "KeyError")
    assert (early.status, late.status) == (502, 200)


async def test_an_instance_that_dies_in_the_middle_ends_the_body(front: Front) -> None:
    front.function("endless", ENDLESS)
    wire = await front.wire()
    wire.send(REQUEST % b"endless?10")
    await head_of(wire)
    await chunk_of(wire)
    front.bench.driver.instances[0].run_out_of_memory()
    async with asyncio.timeout(10):
        assert not (await wire.reader.read()).endswith(b"0\r\n\r\n")
    (record,) = (r for r in front.bench.recorder.collect().invocations if r.outcome != "ok")
    assert record.outcome == "out_of_memory"


async def test_a_stream_is_over_at_the_time_limit(front: Front) -> None:
    front.function("endless", ENDLESS, timeout_s=0.3)
    wire = await front.wire()
    wire.send(REQUEST % b"endless?10")
    await head_of(wire)
    async with asyncio.timeout(10):
        assert not (await wire.reader.read()).endswith(b"0\r\n\r\n")
    (record,) = (r for r in front.bench.recorder.collect().invocations if r.outcome != "ok")
    assert record.outcome == "timeout"


async def test_an_answer_over_the_limit_is_cut_and_recorded(tmp_path: Path) -> None:
    front = Front(tmp_path, max_stream_mb=1)
    await front.start()
    try:
        front.function("endless", ENDLESS)
        wire = await front.wire()
        wire.send(REQUEST % b"endless")
        await head_of(wire)
        async with asyncio.timeout(10):
            assert 1_000_000 < len(await wire.reader.read()) < 1_200_000
        (record,) = front.bench.recorder.collect().invocations
        assert record.outcome == "invalid"
    finally:
        await front.stop()


async def test_a_plain_invoke_gets_the_whole_within_the_limit(front: Front) -> None:
    front.function("rows", "def handler(event, context):\n    for n in range(event):\n        yield {'n': n}\n")
    reply = await front.invoke("rows", 2)
    assert reply.body == b'{"n":0}\n{"n":1}\n'
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["x-amz-executed-version"] == "1"
    over = await front.invoke("rows", 100_000)
    assert over.headers["x-amz-function-error"] == "Unhandled"
    assert "limit" in over.json()["errorMessage"]
    assert (await front.invoke("rows", 1)).body == b'{"n":0}\n'


async def test_what_a_stream_came_to_is_counted(front: Front) -> None:
    spec = front.function("rows", "def handler(event, context):\n    yield 'x' * 100_000\n    yield 'y'\n")
    await front.get("/rows")
    window = front.bench.recorder.stats(spec.namespace, spec.name, spec.id).so_far()
    assert (window.count, window.response_bytes, window.all_outcomes()) == (1, 100_001, {"ok": 1})


async def test_a_warm_event_may_be_answered_in_pieces(front: Front) -> None:
    code = "def handler(event, context):\n    for n in range(100):\n        yield b'x' * 10_000\n"
    front.function("warmed", code, warm={"warm_event": {}, "spare": 1})
    assert len((await front.get("/warmed")).body) == 1_000_000
