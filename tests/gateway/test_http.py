"""HTTP as it should not be spoken: malformed, smuggled, too large, too slow, too many; and as it rarely is."""

import asyncio

import pytest

from isotherm.gateway.connection import ClientConnection
from tests.gateway.front import Front

AUTH = b"Authorization: Bearer iso_admin\r\n"
GET = b"GET /echo HTTP/1.1\r\nHost: t\r\n" + AUTH + b"\r\n"


def post(body: bytes, *extra: bytes) -> bytes:
    head = b"POST /echo HTTP/1.1\r\nHost: t\r\n" + AUTH + b"Content-Type: text/plain\r\n" + b"".join(extra)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\nHost: t\n\n",
        b"GET /echo HTTP/1.1\r\nHost: t\nX: y\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost : t\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: t\r\nX: a\r\n folded\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: t\r\nX: a\x00b\r\n\r\n",
        b"GET /echo HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET /echo HTTP/1.1\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /echo HTTP/3.0\r\nHost: t\r\n\r\n",
        b"GET /echo\r\n\r\n",
        b"NONSENSE /echo HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: t\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5, 5\r\n\r\nabcde",
        b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: +5\r\n\r\nabcde",
        b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: identity\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
        b"POST /echo HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_malformed_requests_are_refused_and_the_connection_ended(front: Front, request_bytes: bytes) -> None:
    front.function("echo", route={"public": True})
    wire = await front.wire()
    wire.send(request_bytes)
    reply = await wire.reply()
    assert (reply.status, reply.headers["connection"]) == (400, "close")
    assert reply.json()["code"] in ("malformed_request", "invalid")
    assert await wire.ended()
    assert (await front.get("/echo")).status == 200


async def test_nothing_behind_a_refused_request_is_served(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    wire.send(b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc" + GET)
    assert (await wire.reply()).status == 400
    assert await wire.ended()


async def test_a_body_that_is_too_large_is_refused_before_it_comes(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    wire.send(b"POST /echo HTTP/1.1\r\nHost: t\r\n" + AUTH + b"Content-Length: 10737418240\r\n\r\n")
    reply = await wire.reply()
    assert (reply.status, reply.json()["data"]["limit_bytes"]) == (413, 104857)
    assert await wire.ended()


async def test_a_client_that_goes_on_sending_still_reads_why_it_was_refused(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    wire.send(b"POST /echo HTTP/1.1\r\nHost: t\r\n" + AUTH + b"Content-Length: 10737418240\r\n\r\n")
    for _ in range(100):
        wire.send(b"x" * 65536)
        await asyncio.sleep(0)
    assert (await wire.reply()).status == 413
    assert await wire.ended()


async def test_a_chunked_body_that_grows_too_large_is_refused_on_the_way(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    wire.send(b"POST /echo HTTP/1.1\r\nHost: t\r\n" + AUTH + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(4):
        wire.send(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
    assert (await wire.reply()).status == 413


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"a" * 10_000 + b"\r\n\r\n",
        b"".join(b"X-%d: a\r\n" % number for number in range(200)) + b"\r\n",
        b"X: " + b"a" * 20_000,
        b"".join(b"X-%d: aaaaaaaaaaaaaaaaaaaaaa\r\n" % number for number in range(2000)),
    ],
    ids=["long header", "many headers", "a header without end", "headers without end"],
)
async def test_header_floods_are_431(front: Front, head: bytes) -> None:
    front.function("echo")
    wire = await front.wire()
    wire.send(b"GET /echo HTTP/1.1\r\nHost: t\r\n" + head)
    assert (await wire.reply()).status == 431
    assert await wire.ended()


async def test_a_url_without_end_is_431(front: Front) -> None:
    wire = await front.wire()
    wire.send(b"GET /" + b"a" * 30_000)
    assert (await wire.reply()).status == 431


async def test_endless_trailers_are_431(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    wire.send(b"POST /echo HTTP/1.1\r\nHost: t\r\n" + AUTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
    wire.send(b"".join(b"T-%d: aaaaaaaaaaaaaaaaaaaaaaaa\r\n" % number for number in range(500)))
    assert (await wire.reply()).status == 431


async def test_trailers_are_read_past(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    wire.send(
        b"POST /echo HTTP/1.1\r\nHost: t\r\n" + AUTH + b"Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    wire.send(b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nAuthorization: Bearer no\r\n\r\n" + GET)
    first, second = await wire.reply(), await wire.reply()
    assert (first.status, first.json()["body"], second.status) == (200, "abcde", 200)


async def test_slow_heads_bodies_and_readers(tmp_path: object, front: Front) -> None:
    front.function("echo")
    silent, head, body = await front.wire(), await front.wire(), await front.wire()
    head.send(b"GET /echo HTTP/1.1\r\nHost:")
    body.send(b"POST /echo HTTP/1.1\r\nHost: t\r\n" + AUTH + b"Content-Length: 10\r\n\r\nabc")
    await front.bench.until(lambda: len(front.content.connections) == 3, "three connections")
    await asyncio.sleep(0.05)
    real = front.content.now
    front.content.now = lambda: real() + 31.0
    front.content.tick()
    replies = [await wire.reply() for wire in (head, body)]
    assert [reply.status for reply in replies] == [408, 408]
    front.content.now = lambda: real() + 76.0
    front.content.tick()
    assert await silent.ended()


async def test_a_client_that_does_not_read_is_paused_and_in_the_end_dropped(front: Front) -> None:
    front.function("big", "def handler(event, context):\n    return 'x' * 90_000\n")
    wire = await front.wire()
    wire.writer.get_extra_info("socket").setsockopt(1, 8, 4096)
    request = GET.replace(b"/echo", b"/big")
    wire.send(request * 200)
    await front.bench.until(lambda: any(each.blocked_since_s for each in front.content.connections), "a full socket")
    (connection,) = front.content.connections
    assert connection.transport.get_write_buffer_size() < 1_000_000
    real = front.content.now
    front.content.now = lambda: real() + 31.0
    front.content.tick()
    await front.bench.until(lambda: not front.content.connections, "the end of the connection")


async def test_pipelined_requests_are_answered_in_order(front: Front) -> None:
    front.function("echo", "def handler(event, context):\n    return event['rawPath']\n", concurrency=4)
    wire = await front.wire()
    wire.send(b"".join(GET.replace(b"/echo", b"/echo/%d" % number) for number in range(300)))
    assert [(await wire.reply()).json() for _ in range(300)] == [f"/{number}" for number in range(300)]


async def test_a_refusal_behind_pipelined_requests_waits_its_turn(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    wire.send(GET + GET + b"BROKEN\r\n\r\n")
    assert [(await wire.reply()).status for _ in range(3)] == [200, 200, 400]
    assert await wire.ended()


async def test_a_request_may_come_byte_by_byte(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    for byte in post(b"abc"):
        wire.send(bytes((byte,)))
        await asyncio.sleep(0)
    assert (await wire.reply()).json()["body"] == "abc"


async def test_the_same_head_again_with_another_body_of_the_same_length(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    for body in (b"abc", b"xyz", b"123", b"four", b"", b"abc"):
        wire.send(post(body))
        assert (await wire.reply()).json().get("body", "") == body.decode()


async def test_a_remembered_head_does_not_swallow_what_follows(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    for _ in range(3):
        wire.send(post(b"abc"))
        assert (await wire.reply()).status == 200
    wire.send(post(b"abc") + post(b"def"))
    assert [(await wire.reply()).json()["body"] for _ in range(2)] == ["abc", "def"]
    half = post(b"ghi")
    wire.send(half[:-2])
    await asyncio.sleep(0.02)
    wire.send(half[-2:])
    assert (await wire.reply()).json()["body"] == "ghi"
    wire.send(post(b"abc")[:-3] + GET[:3])
    assert (await wire.reply()).json()["body"] == "GET"


async def test_a_head_that_comes_in_pieces_behind_a_large_body_is_no_large_head(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    body = b"x" * 60_000
    wire.send(post(body) + GET[:20])
    assert (await wire.reply()).json()["body"] == body.decode()
    wire.send(GET[20:])
    assert (await wire.reply()).status == 200


class Stuck:
    """A transport to a client that reads as the test says."""

    def __init__(self) -> None:
        self.unread = 1_000_000
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return False


def blocked(front: Front) -> tuple[ClientConnection, Stuck, float]:
    """A connection whose client has just let its answer wait."""
    connection, transport = front.content.connection(), Stuck()
    connection.transport = transport  # type: ignore[assignment]  # as far as this needs one
    connection.pause_writing()
    return connection, transport, connection.blocked_since_s


async def test_a_client_that_reads_slowly_but_steadily_gets_its_whole_answer(front: Front) -> None:
    connection, transport, began_s = blocked(front)
    limit_s = front.settings.body_timeout_s
    for step in range(1, 9):
        transport.unread -= 1000
        connection.check_time(began_s + 0.9 * step * limit_s)
        assert not transport.aborted
    connection.check_time(began_s + 10.1 * limit_s)
    assert transport.aborted, "there is a limit to it"


async def test_a_client_that_reads_nothing_is_cut_off(front: Front) -> None:
    connection, transport, began_s = blocked(front)
    limit_s = front.settings.body_timeout_s
    connection.check_time(began_s + 0.9 * limit_s)
    assert not transport.aborted
    connection.check_time(began_s + 1.1 * limit_s)
    assert transport.aborted


async def test_expect_continue(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    request = post(b"abc", b"Expect: 100-continue\r\n")
    wire.send(request[:-3])
    assert (await wire.reply()).status == 100
    wire.send(request[-3:])
    assert (await wire.reply()).json()["body"] == "abc"
    wire.send(b"POST /echo HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
    assert (await wire.reply()).status == 413


async def test_http_1_0_and_connection_close(front: Front) -> None:
    front.function("echo")
    old = await front.wire()
    old.send(b"GET /echo HTTP/1.0\r\n" + AUTH + b"\r\n")
    reply = await old.reply()
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert await old.ended()
    kept = await front.wire()
    kept.send(b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n" + AUTH + b"\r\n")
    assert (await kept.reply()).headers["connection"] == "keep-alive"
    kept.send(GET.replace(b"Host: t", b"Host: t\r\nConnection: close") + GET)
    assert (await kept.reply()).headers["connection"] == "close"
    assert await kept.ended()


async def test_upgrades_are_not_taken(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    wire.send(GET.replace(b"Host: t", b"Host: t\r\nConnection: upgrade\r\nUpgrade: websocket") + GET)
    assert (await wire.reply()).status == 200
    assert await wire.ended()


@pytest.mark.parametrize("method", [b"CONNECT t:1", b"TRACE /echo"])
async def test_connect_and_trace_are_not_allowed(front: Front, method: bytes) -> None:
    wire = await front.wire()
    wire.send(method + b" HTTP/1.1\r\nHost: t\r\n\r\n")
    assert (await wire.reply()).status == 405


async def test_connections_are_counted(tmp_path: object, front: Front) -> None:
    few = Front(front.bench.folder / "few", max_connections=2)
    few.bench.folder.mkdir()
    await few.start()
    first, second = await few.wire(), await few.wire()
    await few.bench.until(lambda: len(few.content.connections) == 2, "two connections")
    third = await few.wire()
    assert (await third.reply()).status == 503
    assert await third.ended()
    first.close()
    second.close()
    await few.bench.until(lambda: not few.content.connections, "their ends")
    few.function("echo")
    assert (await few.get("/echo")).status == 200
    await few.stop()


async def test_draining_ends_connections_after_their_answers(front: Front) -> None:
    front.function("slow", "import time\ndef handler(event, context):\n    time.sleep(0.2)\n")
    idle, busy = await front.wire(), await front.wire()
    busy.send(GET.replace(b"/echo", b"/slow"))
    await front.bench.until(lambda: any(each.current for each in front.content.connections), "a call")
    front.content.drain()
    assert await idle.ended()
    assert (await busy.reply()).headers["connection"] == "close"
    assert await busy.ended()
