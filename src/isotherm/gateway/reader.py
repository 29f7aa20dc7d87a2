"""Reads requests off one client connection: parsing, bounds, time limits, pipelining.

llhttp is strict here (no leniency flag is set): it refuses Content-Length beside Transfer-Encoding, doubled lengths,
folded headers and bare line feeds. A head that came before on the connection, byte for byte, is not parsed again.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from isotherm.base.errors import (
    HeadersTooLarge,
    IsothermError,
    MalformedRequest,
    RequestTimeout,
    TooLarge,
    Unavailable,
)
from isotherm.gateway.known import KnownHeads
from isotherm.gateway.request import BodyStream, HttpLimits, Request, check_head

__all__ = ["LARGE_BODY", "Port", "RequestReader"]

MAX_WAITING = 64  # pipelined requests that are parsed ahead
MAX_WAITING_BYTES = 256 * 1024
LARGE_BODY = 64 * 1024  # bodies from this size on count against the bound of the whole port
MAX_MEMO = 8 * 1024
LINGER_S = 1.0
LINGER_BYTES = 16 * 1024 * 1024
SLOWEST_BODY = 10  # a body that is collected, or an answer, may take this many times `body_timeout_s` in all
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Port(Protocol):
    """What all connections of one listening port share."""

    limits: HttpLimits
    buffered_bytes: int
    known: KnownHeads
    now: Callable[[], float]

    def opened(self, connection: "RequestReader") -> bool: ...

    def closed(self, connection: "RequestReader") -> None: ...

    def admit(self, connection: "RequestReader", request: Request) -> BodyStream | None:
        """Called with a complete head before any of its body. Raises `IsothermError` to refuse it."""


class RequestReader(asyncio.Protocol, ABC):
    """The reading half of a connection; `ClientConnection` answers."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.source_ip = ""
        self.secure = False
        self.current: Request | None = None
        self.closing = False  # nothing that still comes in is looked at
        self.touched_s = port.now()
        self.blocked_since_s = 0.0  # 0: the client reads what it is sent; else since when it has read nothing
        self._blocked_first_s = 0.0
        self._unread_bytes = 0
        self._waiting: deque[Request] = deque()
        self._waiting_bytes = 0
        self._pumping = False
        self._paused = False
        self._parser = httptools.HttpRequestParser(self)
        self._limits = port.limits
        self._in_message = self._head_done = False
        self._began_s = 0.0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._parts: list[bytes] = []
        self._body_bytes = 0
        self._counted = 0
        self._request: Request | None = None  # its head is complete, its body is coming
        self._whole: Request | None = None  # the one whose last byte came last, where it is to be answered in turn
        self._messages = 0
        self.chunked = False  # the body of the message that is read comes in chunks
        self._lingering: asyncio.TimerHandle | None = None
        self._memo: Request | None = None
        self._memo_head = b""
        self._memo_size = -1

    # -- what the answering half does ----------------------------------------------------------------------------

    @abstractmethod
    def start(self, request: Request) -> None:
        """Answer a request that is complete."""

    @abstractmethod
    def left(self) -> None:
        """The client is gone."""

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.source_ip = str(peer[0]) if isinstance(peer, tuple) else ""
        self.secure = transport.get_extra_info("ssl_object") is not None
        if not self.port.opened(self):
            self.refuse(Unavailable("too many connections are open; try again", retry_after_s=1.0, begun=False))

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closing = True
        if self._lingering is not None:
            self._lingering.cancel()
        self._uncount()
        self.port.closed(self)
        self.left()
        self.current = None  # an answer that comes now is for nobody, and the transport would not take it
        self._waiting.clear()
        self._memo = None

    def pause_writing(self) -> None:
        self.blocked_since_s = self._blocked_first_s = self.port.now()
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._pause()

    def resume_writing(self) -> None:
        self.blocked_since_s = 0.0
        self._pump()
        self._resume()

    def data_received(self, data: bytes) -> None:
        self.touched_s = now_s = self.port.now()
        if self.current is None and not self._in_message and not self.closing:
            request = self._memo
            if request is not None and len(data) == self._memo_size and data.startswith(self._memo_head):
                request.body = data[len(self._memo_head) :]
                request.arrived_s = now_s
            else:
                request = self.port.known.take(data, self.source_ip, now_s)
                if request is not None:
                    self._memorise(request, data)
            if request is not None:
                self.current = request
                self.start(request)
                return
        if self.closing:
            self._read_past(len(data))
            return
        clean = not self._in_message
        self._messages = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.closing = True  # an upgrade is not taken; the request itself is answered, then the connection closed
        except httptools.HttpParserError as exc:
            self._malformed(exc)
        self._look_at_heads(data, clean)
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES:
            self._pause()
        self._pump()

    def _look_at_heads(self, data: bytes, clean: bool) -> None:
        """Bound a head that is not whole; remember one that came alone. `clean`: `data` begins with a message."""
        if self._in_message and not self._head_done:
            if not self._messages:  # otherwise the read began with what is behind us; `check_head` bounds it all
                self._head_bytes += len(data)
            if self._head_bytes > self._limits.max_head_bytes:
                self.reject(HeadersTooLarge(f"the request's head is over {self._limits.max_head_bytes} bytes"))
        elif clean and self._messages == 1 and not self._in_message:
            self._remember(data)

    # -- httptools ---------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_message = True
        self._head_done = False
        self._began_s = self.touched_s
        self._url = b""
        self._headers = []
        self._head_bytes = 0
        self._parts = []
        self._body_bytes = 0
        self._whole = None

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            self._head_bytes += len(name) + len(value) + 4  # trailers are read past, within the head's bound
            if self._head_bytes > self._limits.max_head_bytes:
                self.reject(HeadersTooLarge(f"the request's trailers are over {self._limits.max_head_bytes} bytes"))
            return
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._head_done = True
        parser = self._parser
        request = Request(parser.get_method(), self._url, self._headers, self.touched_s)
        self._request = request
        version = parser.get_http_version()
        request.http10 = version == "1.0"
        request.keep_alive = parser.should_keep_alive() and not parser.should_upgrade()
        try:
            expects, self.chunked = check_head(request, version, self._limits)
            request.stream = self.port.admit(self, request)
            if request.stream is None and request.length > self._limits.max_body_bytes:
                raise _too_large(request.length, self._limits.max_body_bytes)
            if expects and not self._waiting and self.current is None:
                self.transport.write(CONTINUE)
        except IsothermError as error:
            self.reject(error)
            return
        if request.stream is not None:
            self._waiting.append(request)

    def on_body(self, data: bytes) -> None:
        request = self._request
        if request is None or self.closing:
            return
        if request.stream is not None:
            request.stream.feed(data)
            return
        self._parts.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.max_body_bytes:
            self.reject(_too_large(self._body_bytes, self._limits.max_body_bytes))
        elif self._body_bytes > LARGE_BODY:
            self.count(len(data))

    def on_message_complete(self) -> None:
        self._in_message = False
        self._messages += 1
        request, self._request = self._request, None
        if request is None or self.closing:
            return
        if request.stream is not None:
            self._uncount()
            request.stream.end()
            return
        request.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        self._waiting.append(request)
        self._whole = request
        self._waiting_bytes += len(request.body)
        self._uncount()
        if not request.keep_alive:
            self.closing = True

    # -- turns ---------------------------------------------------------------------------------------------------------

    def done(self) -> None:
        """The current request is answered: the next may start."""
        request, self.current = self.current, None
        if request is not None:
            request.body = b""  # it may be remembered for its head
        if request is not None and not request.keep_alive:
            self.closing = True
            self._end(linger=self._in_message or request.error is not None)
        elif request is not None and request.stream is not None and self._request is request:
            self.closing = True
            self._end(linger=True)  # answered before all of its body was read
        elif self._waiting:
            self._pump()
        elif self.closing:
            self.transport.close()
        if self._paused:
            self._resume()

    def _end(self, *, linger: bool) -> None:
        """Close. Where the client may still be sending, its bytes are read past for a moment first: a socket that is
        closed with bytes unread is reset, and the client would lose the answer that says why."""
        if linger and self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
            self._lingering = asyncio.get_running_loop().call_later(LINGER_S, self.transport.close)
        else:
            self.transport.close()

    def _read_past(self, size: int) -> None:
        if self._lingering is not None:
            self._body_bytes += size
            if self._body_bytes > LINGER_BYTES:
                self.transport.abort()

    def refuse(self, error: IsothermError, refused: Request | None = None) -> None:
        """Answer with an error behind what is in turn, and close. `refused`: what it is the answer to, where known."""
        request = Request(b"GET", b"", [], self.touched_s)
        if refused is not None:
            request = Request(refused.method, refused.url, refused.headers, self.touched_s)
        request.error = error
        request.keep_alive = False
        self.closing = True
        self._waiting.append(request)
        self._pump()

    def check_time(self, now_s: float) -> None:
        """Called about every second: clients that are too slow, idle, or do not read."""
        limits = self._limits
        quiet_s = now_s - self.touched_s
        if self.blocked_since_s:
            if self._reads_nothing(now_s):
                self.transport.abort()
        elif self._in_message and not self.closing and not self._paused:
            began_s = now_s - self._began_s
            if not self._head_done and began_s > limits.header_timeout_s:
                self.reject(RequestTimeout(f"the head did not come within {limits.header_timeout_s:g} s"))
            elif self._head_done and (
                quiet_s > limits.body_timeout_s
                or (began_s > SLOWEST_BODY * limits.body_timeout_s and not self._is_streamed())
            ):
                self.reject(RequestTimeout(f"the body stopped coming for {limits.body_timeout_s:g} s"))
        elif self.current is None and not self._waiting and quiet_s > limits.idle_timeout_s:
            self.transport.close()

    def _is_streamed(self) -> bool:
        """Whether the body that comes is passed on at once: whoever takes it has a time limit of its own for all."""
        return self._request is not None and self._request.stream is not None

    def _reads_nothing(self, now_s: float) -> bool:
        """Whether a client that lets its answer wait takes none of it for too long, or takes too long for it all."""
        unread, limit_s = self.transport.get_write_buffer_size(), self._limits.body_timeout_s
        if unread < self._unread_bytes:
            self.blocked_since_s = now_s
        self._unread_bytes = unread
        return now_s - self.blocked_since_s > limit_s or now_s - self._blocked_first_s > SLOWEST_BODY * limit_s

    def idle(self) -> bool:
        """Whether nothing is under way here."""
        return self.current is None and not self._waiting and not self._in_message

    # -- inside --------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        while self._waiting and self.current is None and not self.blocked_since_s:
            request = self._waiting.popleft()
            self._waiting_bytes -= len(request.body)
            self.current = request
            if request.stream is None:
                self.start(request)
            else:
                request.stream.begin()
        self._pumping = False

    def _remember(self, data: bytes) -> None:
        """Keep the head that just came alone in `data`, so that the same bytes need not be parsed again."""
        request, self._whole = self._whole, None
        self._memo = None
        self._memo_size = -1
        if request is None or request.stream is not None or not request.keep_alive or self.chunked or request.error:
            return
        head = data[: len(data) - len(request.body)]
        if head.endswith(b"\r\n\r\n") and len(head) <= MAX_MEMO and request.header(b"expect") is None:
            self._memorise(request, data)
            self.port.known.note(head, self.source_ip, request)

    def _memorise(self, request: Request, data: bytes) -> None:
        self._memo = request
        self._memo_head = data[: len(data) - len(request.body)]
        self._memo_size = len(data)

    def reject(self, error: IsothermError) -> None:
        """Refuse what is being read, and read no more."""
        if self.closing:
            return
        request, self._request = self._request, None
        self._parts = []
        self._uncount()
        if request is not None and request.stream is not None:
            self.closing = True
            request.stream.cut(error)
            return
        self.refuse(error, request)

    def _malformed(self, exc: Exception) -> None:
        self.reject(MalformedRequest(f"this is not a valid HTTP/1.1 request: {str(exc)[:200] or type(exc).__name__}"))

    def count(self, size: int) -> None:
        """So much more of a body is held in memory: the port has a bound for all of them together."""
        self._counted += size
        self.port.buffered_bytes += size
        if self.port.buffered_bytes > self._limits.max_buffered_bytes:
            self.reject(Unavailable("too many large requests are coming in; try again", retry_after_s=1.0, begun=False))

    def _uncount(self) -> None:
        self.port.buffered_bytes -= self._counted
        self._counted = 0

    def _pause(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        small = len(self._waiting) < MAX_WAITING // 2 and self._waiting_bytes < MAX_WAITING_BYTES // 2
        if self._paused and small and not self.blocked_since_s and not self.transport.is_closing():
            self._paused = False
            self.touched_s = self.port.now()
            self.transport.resume_reading()

    def hold(self, held: bool) -> None:
        """Stop or go on reading, for a body stream that cannot take more."""
        if held:
            self._pause()
        else:
            self._resume()


def _too_large(size: int, limit: int) -> TooLarge:
    return TooLarge(f"the request's body has {size} bytes or more; the limit is {limit}", limit_bytes=limit)
