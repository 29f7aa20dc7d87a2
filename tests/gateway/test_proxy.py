"""What the gateway does not answer itself goes to control and back: streaming, bounded, honest when it is away."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.gateway.front import Front

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


class Control:
    """A scripted server on the Unix socket."""

    def __init__(self, front: Front, serve: Serve) -> None:
        self.heads: list[bytes] = []
        self.ended = asyncio.Event()
        self._front = front
        self._serve = serve
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Control":
        self._server = await asyncio.start_unix_server(self._client, self._front.api_path)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            await self._serve(reader, writer, head)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.ended.set()
            writer.close()


async def hello(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-up: 1\r\nconnection: close\r\n\r\nhello")


async def test_a_request_and_its_answer_pass(front: Front) -> None:
    async with Control(front, hello) as control:
        reply = await front.get("/api/v1/me?x=1", port=front.api, headers={"X-Forwarded-For": "6.6.6.6", "TE": "x"})
    assert (reply.status, reply.body, reply.headers["x-up"]) == (200, b"hello", "1")
    head = control.heads[0].lower()
    assert head.startswith(b"get /api/v1/me?x=1 http/1.1\r\n")
    assert b"authorization: bearer iso_admin\r\n" in head
    assert b"x-forwarded-for: 127.0.0.1\r\n" in head
    assert b"6.6.6.6" not in head
    assert b"\r\nte:" not in head


async def test_the_connection_goes_on_between_control_and_calls(front: Front) -> None:
    front.function("echo")
    wire = await front.wire(front.api)
    api = b"GET /api/v1/me HTTP/1.1\r\nHost: t\r\n\r\n"
    invoke = b"POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n"
    invoke += b"Authorization: Bearer iso_admin\r\n\r\n7"
    async with Control(front, hello):
        wire.send(api + invoke + api + invoke)
        assert [(await wire.reply()).body for _ in range(4)] == [b"hello", b"7", b"hello", b"7"]


async def test_without_control_it_is_503_and_calls_go_on(front: Front) -> None:
    front.function("echo")
    wire = await front.wire(front.api)
    wire.send(b"GET /api/v1/me HTTP/1.1\r\nHost: t\r\n\r\n")
    reply = await wire.reply()
    assert (reply.status, reply.json()["code"], reply.headers["retry-after"]) == (503, "unavailable", "1")
    assert (await front.invoke("echo", 5)).json() == 5


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200"])
async def test_a_control_that_breaks_off_is_503(front: Front, answer: bytes) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        writer.write(answer)

    async with Control(front, serve):
        assert (await front.get("/x", port=front.api)).status == 503


async def test_an_answer_that_breaks_off_ends_the_connection(front: Front) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf")

    async with Control(front, serve):
        wire = await front.wire(front.api)
        wire.send(b"GET /x HTTP/1.1\r\nHost: t\r\n\r\n")
        with pytest.raises(asyncio.IncompleteReadError):
            await wire.reply()


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_large_body_streams_up(front: Front, chunked: bool) -> None:
    got = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        if b"transfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                got.extend(await reader.readexactly(size))
                await reader.readexactly(2)
        else:
            got.extend(await reader.readexactly(600_000))
        await hello(reader, writer, head)

    body = bytes(range(256)) * 2400
    async with Control(front, serve):
        wire = await front.wire(front.api)
        if chunked:
            wire.send(b"POST /p HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, 600_000, 40_000):
                wire.send(b"9c40\r\n" + body[start : start + 40_000] + b"\r\n")
            wire.send(b"0\r\n\r\n")
        else:
            wire.send(b"POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: 600000\r\n\r\n" + body[:600_000])
        assert (await wire.reply()).body == b"hello"
    assert bytes(got) == body[:600_000]


async def test_a_refusal_by_the_head_is_read_though_the_body_comes_late(front: Front) -> None:
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")

    async with Control(front, refuse) as control:
        wire = await front.wire(front.api)
        wire.send(b"POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\n")
        await asyncio.sleep(0.05)
        assert control.heads == [], "it is sent whole"
        wire.send(b"body")
        reply = await wire.reply()
    assert (reply.status, reply.body) == (401, b"no")


async def test_a_body_over_the_limit_is_413(front: Front) -> None:
    async with Control(front, hello):
        wire = await front.wire(front.api)
        wire.send(b"POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: 1000001\r\n\r\n")
        assert (await wire.reply()).status == 413
        assert await wire.ended()


async def test_a_stream_comes_as_it_is_made_and_ends_with_its_reader(front: Front) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(3):
            writer.write(b"2\r\n%d\n\r\n" % number)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert await reader.read() == b""

    async with Control(front, serve) as control:
        wire = await front.wire(front.api)
        wire.send(b"GET /logs HTTP/1.1\r\nHost: t\r\n\r\n")
        async with asyncio.timeout(5):
            await wire.reader.readuntil(b"\r\n\r\n")
            for number in range(3):
                assert await wire.reader.readexactly(7) == b"2\r\n%d\n\r\n" % number
            wire.close()
            await control.ended.wait()


async def test_a_reader_that_stops_holds_control_back(front: Front) -> None:
    sent = 0

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()
            sent += 0x10000

    async with Control(front, serve) as control:
        wire = await front.wire(front.api)
        wire.writer.transport.pause_reading()
        wire.send(b"GET /logs HTTP/1.1\r\nHost: t\r\n\r\n")
        await asyncio.sleep(0.5)
        before = sent
        await asyncio.sleep(0.2)
        assert 0 < sent == before
        assert sum(each.transport.get_write_buffer_size() for each in front.api.connections) < 2_000_000
        wire.close()
        await asyncio.wait_for(control.ended.wait(), 5)
