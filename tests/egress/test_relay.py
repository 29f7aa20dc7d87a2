"""Bytes between two sockets: all of them, in order, both ends told of the other's end; first words looked at."""

import asyncio
import contextlib
import socket

import pytest

from isotherm.egress.model import Tally
from isotherm.egress.relay import Relay


class Joined:
    """A relay between two pairs; `client` and `server` are what the sandbox and the world hold."""

    def __init__(self, *, allowed: str | None = None) -> None:
        self.tally = Tally()
        self.gone = 0
        self.client, self._client_end = socket.socketpair()
        self.server, self._server_end = socket.socketpair()
        for each in (self.client, self._client_end, self.server, self._server_end):
            each.setblocking(False)
        self._allowed = allowed
        self.loop = asyncio.get_running_loop()
        refuses = None if allowed is None else self._refuses
        self.relay = Relay(self.tally, self.loop.time, refuses, self._closed)

    async def join(self, *, server_first: bytes = b"") -> "Joined":
        self.server.send(server_first)
        await self.loop.connect_accepted_socket(lambda: self.relay.server, self._server_end)
        await asyncio.sleep(0.01)  # what the server says is here before the client is
        await self.loop.connect_accepted_socket(lambda: self.relay.client, self._client_end)
        return self

    async def receive(self, end: socket.socket, size: int) -> bytes:
        data = b""
        async with asyncio.timeout(5):
            while len(data) < size and (piece := await self.loop.sock_recv(end, 65536)):
                data += piece
        return data

    async def until_gone(self) -> None:
        """Wait for its end, and for a moment in which it could be told again."""
        async with asyncio.timeout(5):
            while not self.gone:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)

    def _refuses(self, names: tuple[str, ...]) -> str | None:
        return next((f"{name} is not allowed" for name in names if name != self._allowed), None)

    def _closed(self, _relay: Relay) -> None:
        self.gone += 1


async def test_all_bytes_arrive_both_ways_and_are_counted() -> None:
    joined = await Joined().join()
    up, down = bytes(range(256)) * 8000, b"answer" * 100_000
    sending = [joined.loop.sock_sendall(joined.client, up), joined.loop.sock_sendall(joined.server, down)]
    receiving = [joined.receive(joined.server, len(up)), joined.receive(joined.client, len(down))]
    *_, got_up, got_down = await asyncio.gather(*sending, *receiving)
    assert (got_up, got_down) == (up, down)
    assert (joined.tally.sent_bytes, joined.tally.received_bytes) == (len(up), len(down))


async def test_what_a_server_says_before_the_client_is_joined_waits() -> None:
    joined = await Joined(allowed="a.com").join(server_first=b"220 ready\r\n")
    assert await joined.receive(joined.client, 11) == b"220 ready\r\n"


async def test_one_side_may_end_and_still_be_answered() -> None:
    joined = await Joined().join()
    joined.client.send(b"question")
    joined.client.shutdown(socket.SHUT_WR)
    assert await joined.receive(joined.server, 9) == b"question"  # and the end
    joined.server.send(b"answer")
    joined.server.shutdown(socket.SHUT_WR)
    assert await joined.receive(joined.client, 7) == b"answer"
    await joined.until_gone()
    assert joined.gone == 1


async def test_one_side_that_is_gone_ends_the_other() -> None:
    joined = await Joined().join()
    joined.server.close()
    assert await joined.receive(joined.client, 1) == b""
    joined.client.close()
    await joined.until_gone()
    assert joined.gone == 1


async def test_a_reader_that_is_slow_holds_the_writer_up() -> None:
    joined = await Joined().join()
    sent = 0
    for _ in range(200):
        with contextlib.suppress(BlockingIOError):
            sent += joined.client.send(bytes(1 << 16))
        await asyncio.sleep(0.001)
    assert sent < 4_000_000  # buffers of the kernel and one of ours
    assert len(await joined.receive(joined.server, sent)) == sent


async def test_an_allowed_name_goes_through_whole_however_it_is_cut() -> None:
    joined = await Joined(allowed="a.com").join()
    request = b"POST / HTTP/1.1\r\nHost: a.com\r\nContent-Length: 4\r\n\r\nbody"
    for byte in request:
        joined.client.send(bytes([byte]))
        await asyncio.sleep(0)
    assert await joined.receive(joined.server, len(request)) == request
    assert joined.tally.refused == 0


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: b.com\r\n\r\n", "b.com is not allowed"),
        (b"\x16\x02\x00\x00\x01x", "no handshake of TLS"),
        (b"GET /" + b"a" * 70_000, "have no end"),
    ],
)
async def test_what_is_not_allowed_reaches_no_server(first: bytes, why: str) -> None:
    joined = await Joined(allowed="a.com").join()
    await joined.loop.sock_sendall(joined.client, first)
    assert await joined.receive(joined.server, 1) == b""
    assert why in joined.tally.lines()[0]
    assert (joined.tally.refused, joined.tally.sent_bytes, joined.gone) == (1, 0, 1)


async def test_a_client_that_ends_before_it_said_what_it_wants_is_refused() -> None:
    joined = await Joined(allowed="a.com").join()
    joined.client.send(b"GET / HTTP/1.1\r\n")
    joined.client.shutdown(socket.SHUT_WR)
    assert await joined.receive(joined.server, 1) == b""
    assert joined.tally.refused == 1
