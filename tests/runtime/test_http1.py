"""The HTTP/1.1 that the Runtime API is spoken in: found wherever reads are cut, refused where it is malformed."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm_runtime.http1 import BadHttp, HttpConnection, Request

SIZED = b"POST /a HTTP/1.1\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n"
    b"3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\nX-T: late\r\n\r\n"
)
BARE = b"GET /c HTTP/1.1\r\nHost: x\r\n\r\n"


class Server:
    """Answers each request as it comes; `pieces` gathers what came of streamed bodies."""

    def __init__(self, peer: socket.socket, *, streamed: bool = False) -> None:
        self.requests: list[Request] = []
        self.pieces: list[bytes] = []
        self.streamed = streamed
        self.connection = HttpConnection(peer, self.on_head, self.on_request, max_body_bytes=1000)

    def on_head(self, _connection: HttpConnection, request: Request) -> None:
        if self.streamed:
            request.on_piece = self.pieces.append

    def on_request(self, connection: HttpConnection, request: Request) -> None:
        self.requests.append(request)
        connection.answer(200, b"{}")


@contextmanager
def connected(*, streamed: bool = False) -> Iterator[tuple[socket.socket, Server]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, Server(theirs, streamed=streamed)


@given(st.data(), st.booleans())
def test_requests_are_found_wherever_reads_are_cut(data: st.DataObject, streamed: bool) -> None:
    raw = SIZED + CHUNKED + BARE
    with connected(streamed=streamed) as (client, server):
        while raw:
            cut = data.draw(st.integers(1, len(raw)))
            client.sendall(raw[:cut])
            raw = raw[cut:]
            assert server.connection.read()
        assert [(request.method, request.path) for request in server.requests] == [
            ("POST", "/a"), ("POST", "/b"), ("GET", "/c"),
        ]  # fmt: skip
        bodies = [bytes(request.body) for request in server.requests]
        assert bodies == ([b"", b"", b""] if streamed else [b"hello", b"hello", b""])
        assert b"".join(server.pieces) == (b"hellohello" if streamed else b"")
        assert server.requests[0].headers["x-a"] == "1"
        assert server.requests[1].trailers == {"x-t": "late"}
        assert client.recv(4096).count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        b"X" * 70_000,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000,
    ],
)
def test_what_is_malformed_or_endless_is_refused(raw: bytes) -> None:
    def send_and_read() -> None:
        client.sendall(raw)
        while server.connection.read():
            pass

    with connected() as (client, server):
        client.settimeout(1)
        with pytest.raises(BadHttp):
            send_and_read()


def test_a_body_over_the_limit_is_read_to_its_end_and_not_kept() -> None:
    with connected() as (client, server):
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000 + BARE)
        server.connection.read()
        assert [request.too_large for request in server.requests] == [True, False]
        assert len(server.requests[0].body) <= 1000


def test_who_asks_before_sending_a_body_is_told_to_go_on() -> None:
    with connected() as (client, server):
        client.sendall(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        server.connection.read()
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"ok")
        server.connection.read()
        assert bytes(server.requests[0].body) == b"ok"


def test_a_connection_that_is_to_be_closed_is_closed_after_its_answer() -> None:
    with connected() as (client, server):
        client.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        server.connection.read()
        assert not server.connection.write()
        assert b"Connection: close" in client.recv(1000)


def test_nothing_is_taken_while_it_is_paused() -> None:
    with connected(streamed=True) as (client, server):
        server.connection.paused = True
        client.sendall(SIZED)
        server.connection.read()
        assert server.requests == []
        server.connection.paused = False
        server.connection.advance()
        assert [bytes(piece) for piece in server.pieces] == [b"hello"]
