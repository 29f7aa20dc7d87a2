"""The server's end of one HTTP/1.1 connection, as small as the Runtime API needs it: no thread, no wait.

`http.server` takes 40 ms to import and a thread a connection. Bodies come by Content-Length or in chunks, whole or
piece by piece; what is malformed raises `BadHttp`, after which the connection is of no more use.
"""

from __future__ import annotations

import socket

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["BadHttp", "HttpConnection", "Request"]

MAX_HEAD_BYTES = 64 * 1024
MAX_LINE_BYTES = 8 * 1024
READ_BYTES = 64 * 1024
REASONS = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
}


class BadHttp(ValueError):
    """What came is not HTTP/1.1, or has lines without an end."""


class Request:
    """`on_piece`, where it is set, gets the body as it comes; otherwise it gathers in `body`, up to the limit."""

    __slots__ = ("body", "headers", "method", "on_piece", "path", "too_large", "trailers")

    def __init__(self, method: str, path: str, headers: dict[str, str]) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.trailers: dict[str, str] = {}
        self.body = bytearray()
        self.too_large = False  # the body is not whole
        self.on_piece: Callable[[bytes], None] | None = None


class HttpConnection:
    """`on_head(connection, request)` comes before the body, `on_request(connection, request)` after it.

    One request at a time: the next is read once `answer` was called. `paused` holds back reading; `advance` goes on.
    """

    def __init__(
        self,
        peer: socket.socket,
        on_head: Callable[[HttpConnection, Request], None],
        on_request: Callable[[HttpConnection, Request], None],
        max_body_bytes: int,
    ) -> None:
        peer.setblocking(False)
        self.peer = peer
        self.paused = False
        self.request: Request | None = None  # that is being read, or waits for its answer
        self._on_head = on_head
        self._on_request = on_request
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._out = bytearray()
        self._advance: Callable[[], bool] = self._read_head
        self._left = 0  # bytes of the body, or of its chunk, that are still to come
        self._closing = False

    @property
    def wants_to_read(self) -> bool:
        return not self.paused

    @property
    def wants_to_write(self) -> bool:
        return bool(self._out)

    def read(self) -> bool:
        """Take what has come. False at the end. Raises `BadHttp`, `OSError`."""
        try:
            data = self.peer.recv(READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        self._buffer += data
        self.advance()
        return True

    def advance(self) -> None:
        """Go on with what has been read. Raises `BadHttp`."""
        while not self.paused and self._advance():
            pass

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Answer the request. Raises `OSError`."""
        request, self.request = self.request, None
        self._closing = request is not None and request.headers.get("connection", "").lower() == "close"
        lines = [f"HTTP/1.1 {status} {REASONS[status]}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"Content-Length: {len(body)}", *(["Connection: close"] if self._closing else []), "", ""]
        self._out += "\r\n".join(lines).encode() + body
        self._advance = self._read_head
        self.write()

    def write(self) -> bool:
        """Write what is there to be written. False once the connection is to be closed. Raises `OSError`."""
        while self._out:
            try:
                written = self.peer.send(self._out)
            except BlockingIOError:
                return True
            del self._out[:written]
        return not self._closing

    # Each step returns whether there may be more to do.

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BadHttp(f"a head of more than {MAX_HEAD_BYTES} bytes")
            return False
        first, *lines = self._take(end, 4).decode("latin-1").split("\r\n")
        parts = first.split(" ")
        if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
            raise BadHttp(f"{first[:80]!r} is no request line")
        request = self.request = Request(parts[0], parts[1], _fields(lines))
        self._on_head(self, request)
        if request.headers.get("expect", "").lower() == "100-continue":
            self._out += b"HTTP/1.1 100 Continue\r\n\r\n"
            self.write()
        if "chunked" in request.headers.get("transfer-encoding", "").lower():
            self._advance = self._read_chunk_size
        else:
            self._left = _length(request.headers.get("content-length", "0"))
            self._advance = self._read_sized_body
        return True

    def _read_sized_body(self) -> bool:
        if not self._read_data():
            return False
        return self._finish()

    def _read_chunk_size(self) -> bool:
        line = self._read_line()
        if line is None:
            return False
        self._left = _length(line.partition(";")[0], 16)
        self._advance = self._read_chunk if self._left else self._read_trailer
        return True

    def _read_chunk(self) -> bool:
        if not self._read_data():
            return False
        self._advance = self._read_chunk_end
        return True

    def _read_chunk_end(self) -> bool:
        line = self._read_line()
        if line is None:
            return False
        if line:
            raise BadHttp("a chunk is longer than it says")
        self._advance = self._read_chunk_size
        return True

    def _read_trailer(self) -> bool:
        line = self._read_line()
        if line is None or self.request is None:
            return False
        if line:
            self.request.trailers |= _fields([line])
            return True
        return self._finish()

    def _finish(self) -> bool:
        assert self.request is not None
        self._advance = _nothing_to_do  # until it is answered
        self._on_request(self, self.request)
        return True

    def _read_data(self) -> bool:
        """Take up to `_left` bytes of the body. Whether all of them have come."""
        request = self.request
        assert request is not None
        while self._left and self._buffer and not self.paused:
            piece = self._take(min(self._left, len(self._buffer), READ_BYTES), 0)
            self._left -= len(piece)
            if request.on_piece is not None:
                request.on_piece(piece)
            elif len(request.body) + len(piece) > self._max_body_bytes:
                request.too_large = True
            else:
                request.body += piece
        return not self._left

    def _read_line(self) -> str | None:
        end = self._buffer.find(b"\r\n")
        if end < 0 and len(self._buffer) > MAX_LINE_BYTES:
            raise BadHttp(f"a line of more than {MAX_LINE_BYTES} bytes")
        return None if end < 0 else self._take(end, 2).decode("latin-1")

    def _take(self, size: int, skip: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[: size + skip]
        return taken


def _nothing_to_do() -> bool:
    return False


def _fields(lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadHttp(f"{line[:80]!r} is no header")
        found[name.strip().lower()] = value.strip()
    return found


def _length(text: str, base: int = 10) -> int:
    text = text.strip()
    if not text.isascii() or not text.isalnum():
        raise BadHttp(f"{text[:40]!r} is no length")
    try:
        return int(text, base)
    except ValueError:
        raise BadHttp(f"{text[:40]!r} is no length") from None
