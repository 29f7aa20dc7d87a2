"""Requests whose body goes to the function as it comes."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

from isotherm.wire.desired import AliasSpec
from tests.gateway.front import Front, Wire

DIGEST = """
import hashlib, json
log = []
def handler(event, context):
    if event["rawPath"] == "/log":
        return log
    digest, size = hashlib.sha256(), 0
    try:
        for piece in context.body:
            digest.update(piece)
            size += len(piece)
    except ConnectionError:
        log.append("broken")
        raise
    return {"size": size, "digest": digest.hexdigest(), "body": event.get("body")}
"""
HELD = """
import os, time
def handler(event, context):
    open({begun!r}, "w").close()
    while not os.path.exists({go!r}):
        time.sleep(0.005)
    return len(context.body.read())
"""
PUT = b"PUT /%b HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer iso_admin\r\n"
LIMITS = {"max_body_mb": 0.1, "max_stream_mb": 8}


async def fronted(folder: Path, **settings: Any) -> Front:
    front = Front(folder, **(LIMITS | {"sample_rate": 1.0} | settings))
    await front.start()
    return front


def noted(path: Path) -> str:
    """DIGEST, which makes that file once it has begun."""
    return DIGEST.replace("    digest, size =", f"    open({str(path)!r}, 'w').close()\n    digest, size =")


def held(folder: Path) -> tuple[str, Path, Path]:
    """A handler that takes its body once a file is there: its code, the file that it makes first, and that file."""
    begun, go = folder / "begun", folder / "go"
    return HELD.format(begun=str(begun), go=str(go)), begun, go


def found(data: bytes) -> dict[str, object]:
    return {"size": len(data), "digest": hashlib.sha256(data).hexdigest(), "body": None}


async def chunks(wire: Wire, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        part = data[start : start + size]
        wire.send(b"%x\r\n%b\r\n" % (len(part), part))
        await wire.writer.drain()
    wire.send(b"0\r\n\r\n")


async def test_bodies_beyond_the_limit_of_whole_ones_arrive(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        spec = front.function("digest", DIGEST, request_body="stream", warm={"max_instances": 1})
        data = os.urandom(5_000_000)
        wire = await front.wire()
        for _ in range(2):  # with a length, in chunks, and a small one, on one connection
            wire.send(PUT % b"digest" + b"Content-Length: 5000000\r\n\r\n" + data)
            assert (await wire.reply()).json() == found(data)
            wire.send(PUT % b"digest" + b"Transfer-Encoding: chunked\r\n\r\n")
            await chunks(wire, data, 70_000)
            assert (await wire.reply()).json() == found(data)
            wire.send(PUT % b"digest" + b"Content-Length: 5\r\n\r\nsmall")
            assert (await wire.reply()).json() == found(b"small")
        window = front.bench.recorder.stats(spec.namespace, spec.name, spec.id).so_far()
        assert window.request_bytes == 2 * (5_000_000 * 2 + 5)
    finally:
        await front.stop()


async def test_a_client_that_waits_to_be_asked_is_asked(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        front.function("digest", DIGEST, request_body="stream", warm={"max_instances": 1})
        wire = await front.wire()
        wire.send(PUT % b"digest" + b"Content-Length: 200000\r\nExpect: 100-continue\r\n\r\n")
        assert (await wire.reply()).status == 100
        wire.send(b"x" * 200_000)
        assert (await wire.reply()).json()["size"] == 200_000
    finally:
        await front.stop()


async def test_what_is_too_large_is_refused_by_its_head_or_once_it_is(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        front.function("digest", DIGEST, request_body="stream", warm={"max_instances": 1})
        wire = await front.wire()
        wire.send(PUT % b"digest" + b"Content-Length: 9000000\r\n\r\n")
        assert (await wire.reply()).status == 413
        wire = await front.wire()
        wire.send(PUT % b"digest" + b"Transfer-Encoding: chunked\r\n\r\n")
        sending = asyncio.ensure_future(chunks(wire, bytes(9_000_000), 100_000))
        reply = await wire.reply()
        assert (reply.status, reply.headers["connection"]) == (413, "close")
        sending.cancel()
        assert (await front.get("/digest/log")).json() == ["broken"]
    finally:
        await front.stop()


async def test_the_client_is_held_back_while_the_handler_takes_nothing(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        code, begun, go = held(tmp_path)
        front.function("lazy", code, request_body="stream")
        wire = await front.wire()
        wire.send(PUT % b"lazy" + b"Content-Length: 8000000\r\n\r\n" + bytes(8_000_000))
        await front.bench.until(begun.exists, "the handler")
        client = next(iter(front.content.connections))
        await front.bench.until(lambda: client._paused, "the hold")
        await asyncio.sleep(0.2)
        assert client._paused
        call = client.call  # type: ignore[attr-defined]  # a ClientConnection
        assert call.request_bytes < 1_000_000
        go.touch()
        assert (await wire.reply()).json() == 8_000_000
    finally:
        await front.stop()


async def test_a_client_that_stalls_is_told_and_the_handler_ends(tmp_path: Path) -> None:
    front = await fronted(tmp_path, body_timeout_s=0.2)
    try:
        begun = tmp_path / "begun"
        front.function("digest", noted(begun), request_body="stream", warm={"max_instances": 1})
        wire = await front.wire()
        wire.send(PUT % b"digest" + b"Content-Length: 100\r\n\r\nsome")
        await front.bench.until(begun.exists, "the handler")
        await asyncio.sleep(0.3)
        front.content.tick()
        reply = await wire.reply()
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert await wire.ended()
        assert (await front.get("/digest/log")).json() == ["broken"]
    finally:
        await front.stop()


async def test_a_client_that_leaves_in_the_middle_ends_the_handler(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        begun = tmp_path / "begun"
        front.function("digest", noted(begun), request_body="stream", warm={"max_instances": 1})
        wire = await front.wire()
        wire.send(PUT % b"digest" + b"Content-Length: 100\r\n\r\nsome")
        await front.bench.until(begun.exists, "the handler")
        wire.close()
        assert (await front.get("/digest/log")).json() == ["broken"]
        assert front.bench.driver.started == 1
    finally:
        await front.stop()


async def test_a_broken_body_is_a_bad_request(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        front.function("digest", DIGEST, request_body="stream", warm={"max_instances": 1})
        wire = await front.wire()
        wire.send(PUT % b"digest" + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await asyncio.sleep(0.05)
        wire.send(b"no hex\r\n")
        assert (await wire.reply()).status == 400
        assert await wire.ended()
    finally:
        await front.stop()


async def test_an_early_answer_reaches_a_client_that_still_sends(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        front.function("early", "def handler(event, context):\n    return 'early'\n", request_body="stream")
        wire = await front.wire()
        wire.send(PUT % b"early" + b"Content-Length: 4000000\r\n\r\n" + bytes(2_000_000))
        assert (await wire.reply()).json() == "early"
        wire.send(bytes(2_000_000))
        assert await wire.ended()
    finally:
        await front.stop()


async def test_both_directions_flow_at_once(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        code = "def handler(event, context):\n    for piece in context.body:\n        yield piece.upper()\n"
        front.function("upper", code, request_body="stream")
        wire = await front.wire()
        wire.send(PUT % b"upper" + b"Transfer-Encoding: chunked\r\n\r\n")
        wire.send(b"3\r\nabc\r\n")
        async with asyncio.timeout(10):
            head = await wire.reader.readuntil(b"\r\n\r\n")
            assert b"200 OK" in head
            assert await wire.reader.readexactly(8) == b"3\r\nABC\r\n"
            wire.send(b"2\r\nde\r\n0\r\n\r\n")
            assert await wire.reader.readexactly(12) == b"2\r\nDE\r\n0\r\n\r\n"
        wire.send(PUT % b"upper" + b"Content-Length: 1\r\n\r\nz")
        assert (await wire.reply()).body == b"Z"
    finally:
        await front.stop()


async def test_the_key_is_looked_at_before_the_body(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        front.function("digest", DIGEST, request_body="stream", warm={"max_instances": 1})
        wire = await front.wire()
        wire.send(b"PUT /digest HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody")
        assert (await wire.reply()).status == 401
        wire.send(PUT % b"missing" + b"Content-Length: 4\r\n\r\nbody")
        assert (await wire.reply()).status == 404
        wire.send(PUT % b"digest" + b"Content-Length: 4\r\n\r\nbody")
        assert (await wire.reply()).json()["size"] == 4  # and the connection goes on
    finally:
        await front.stop()


async def test_a_call_that_is_turned_away_ends_its_upload(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        code, begun, go = held(tmp_path)
        front.function("full", code, request_body="stream", queue_limit=0, warm={"max_instances": 1})
        running = asyncio.create_task(front.get("/full"))
        await front.bench.until(begun.exists, "the first call")
        wire = await front.wire()
        wire.send(PUT % b"full" + b"Content-Length: 4000000\r\n\r\n" + bytes(100_000))
        assert (await wire.reply()).status == 429
        wire.send(bytes(3_900_000))
        assert await wire.ended()
        go.touch()
        assert (await running).status == 200
    finally:
        await front.stop()


async def test_pipelined_uploads_are_answered_in_order(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        front.function("digest", DIGEST, request_body="stream", warm={"max_instances": 1})
        wire = await front.wire()
        data = os.urandom(300_000)
        for part in (data, b"b", data):
            wire.send(PUT % b"digest" + b"Content-Length: %d\r\n\r\n" % len(part) + part)
        for part in (data, b"b", data):
            assert (await wire.reply()).json() == found(part)
    finally:
        await front.stop()


async def test_while_one_revision_takes_whole_bodies_all_are_whole(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        one = front.function("f", DIGEST, request_body="stream")
        two = front.bench.spec("def handler(event, context):\n    return event['body']\n", name="f", number=2)
        front.revisions[two.id] = two
        front.route(one, aliases=[AliasSpec("live", [(one.id, 0.5), (two.id, 0.5)])])
        text = {"Content-Type": "text/plain"}
        answers = [(await front.get("/f", method="PUT", body=b"abc", headers=text)).json() for _ in range(4)]
        assert answers.count("abc") == 2
        assert answers.count(found(b"abc")) == 2
        assert (await front.get("/f", method="PUT", body=bytes(200_000))).status == 413
    finally:
        await front.stop()


async def test_an_instance_that_grants_what_it_never_got_is_ended(tmp_path: Path) -> None:
    front = await fronted(tmp_path)
    try:
        code = """
import os, stat
from isotherm_runtime.frames import Kind, pack_frame
def handler(event, context):
    context.body._send(pack_frame(Kind.WINDOW, context.body._flow.stream_id, deadline_ms=1 << 30))
    return len(context.body.read())
"""
        front.function("liar", code, request_body="stream")
        wire = await front.wire()
        wire.send(PUT % b"liar" + b"Content-Length: 4000000\r\n\r\n" + bytes(100_000))
        reply = await wire.reply()
        assert reply.status == 502
        assert "granted" in reply.json()["detail"]
    finally:
        await front.stop()
