"""Hands a request on to control's Unix socket and its answer back, streaming both ways, bounded by back-pressure."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import httptools

from isotherm.base.errors import IsothermError, TooLarge, Unavailable
from isotherm.gateway.connection import ClientConnection
from isotherm.gateway.messages import BODYLESS, HOP_BY_HOP, status_line
from isotherm.gateway.request import Request
from isotherm.sigv4.caller import CALLER_HEADER

__all__ = ["Exchange", "Vouched"]

CONNECT_TIMEOUT_S = 2.0
HEAD_TIMEOUT_S = 120.0  # control answers at once or streams; a deploy answers before it is done
MAX_BUFFERED = 256 * 1024
WHOLE_BYTES = 64 * 1024  # a body up to this is sent to control at once
FORWARDED = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"))
DROPPED = (
    frozenset(name.encode() for name in HOP_BY_HOP)
    | FORWARDED
    | {
        b"expect",
        b"content-length",
        CALLER_HEADER.encode(),
    }
)


@dataclass(frozen=True, slots=True)
class Vouched:
    """A signed request, as control is told of it."""

    target: bytes  # without what signs it
    caller: Callable[[], str]  # the value of `CALLER_HEADER`, from now on
    headers: list[tuple[bytes, bytes]]  # without those that spoke of the signature


class Exchange(asyncio.Protocol):
    """One request and its answer: the body stream towards control, and the protocol of the connection to it."""

    patient = False
    digest: str | None = None

    def __init__(
        self,
        client: ClientConnection,
        request: Request,
        path: str,
        max_body_bytes: int,
        vouched: Vouched | None = None,
    ) -> None:
        self._vouched = vouched
        self._client = client
        self._request = request
        self._path = path
        self._max_body_bytes = max_body_bytes
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._chunked_up = request.length == 0 and request.header(b"transfer-encoding") is not None
        if vouched is not None and request.length:
            self._chunked_up = True  # so that the body's end can be held back until it is checked
        self._unsent: list[bytes] = []  # what came before the connection to control was there
        self._unsent_bytes = 0
        self._sent_bytes = 0
        self._ended = False  # the request's body is complete
        self._waits_for_body = False
        self._answering = False  # the head of the answer is out
        self._over = False
        self._chunked_down = False
        self._lines: list[str] = []
        self._length: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def check(self) -> None:
        """Raises `TooLarge` where the head already says so."""
        if self._request.length > self._max_body_bytes:
            raise TooLarge(
                f"the body has {self._request.length} bytes; the limit is {self._max_body_bytes}",
                limit_bytes=self._max_body_bytes,
            )

    # -- the client's side -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """It is this request's turn.

        A small body is waited for and sent whole: control may refuse a request by its head and close, and a body that
        comes then would break the connection before the refusal was read.
        """
        self._client.on_left = self._give_up
        if self._ended or self._chunked_up or self._request.length > WHOLE_BYTES or not self._request.length:
            self._start()
        else:
            self._waits_for_body = True

    def feed(self, data: bytes) -> None:
        self._sent_bytes += len(data)
        if self._sent_bytes > self._max_body_bytes:
            if not self._answering:
                self._fail(TooLarge(f"the body is over the limit of {self._max_body_bytes} bytes"))
            return
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked_up else data)

    def end(self) -> None:
        self._ended = True
        if self._waits_for_body and not self._over:
            self._start()
        if self._chunked_up:
            self._send(b"0\r\n\r\n")

    def cut(self, error: IsothermError) -> None:
        if self._answering:
            self._close()
            self._client.transport.close()
        else:
            self._fail(error)

    # -- control's side ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=MAX_BUFFERED)
        self._transport.write(self._head() + b"".join(self._unsent))
        self._unsent.clear()
        self._unsent_bytes = 0
        self._client.hold(False)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._over:
            return
        if not self._answering:
            self._fail(Unavailable("control ended while it had this request; try again", retry_after_s=1.0))
        elif self._length is None and not self._chunked_down:
            self._finish(keep=False)  # an answer to HTTP/1.0 that ends with the connection
        else:
            self._cut()

    def pause_writing(self) -> None:
        self._client.hold(True)

    def resume_writing(self) -> None:
        self._client.hold(False)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._answering:
                self._cut()
            else:
                self._fail(Unavailable("control's answer could not be read; try again", retry_after_s=1.0))
            return
        transport = self._client.transport
        if not self._over and transport.get_write_buffer_size() > MAX_BUFFERED and self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(0.01, self._go_on)

    def _go_on(self) -> None:
        """Read on once the client has taken what it was sent; `check_time` ends one that never does."""
        if self._over or self._transport is None:
            return
        if self._client.transport.get_write_buffer_size() > MAX_BUFFERED // 2:
            asyncio.get_running_loop().call_later(0.01, self._go_on)
        else:
            self._transport.resume_reading()

    # -- httptools: the answer -----------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answering:
            return
        lower = name.decode("latin-1").lower()
        if lower == "content-length":
            self._length = int(value)
        if lower not in HOP_BY_HOP and lower != "date":
            self._lines.append(f"{name.decode('latin-1')}: {value.decode('latin-1')}\r\n")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._lines.clear()
            return
        request = self._request
        head_only = request.method == b"HEAD"
        self._chunked_down = self._length is None and not head_only and status not in BODYLESS and not request.http10
        if self._length is None and not self._chunked_down and not head_only and status not in BODYLESS:
            request.keep_alive = False
        ending = "" if request.keep_alive else "connection: close\r\n"
        if self._chunked_down:
            ending += "transfer-encoding: chunked\r\n"
        self._answering = True
        self._stop_timer()
        self._client.transport.write((status_line(status) + "".join(self._lines) + ending + "\r\n").encode("latin-1"))

    def on_body(self, data: bytes) -> None:
        if self._answering and not self._over:
            self._client.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked_down else data)

    def on_message_complete(self) -> None:
        if not self._answering or self._over:
            return
        if self._chunked_down:
            self._client.transport.write(b"0\r\n\r\n")
        self._finish(keep=True)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._waits_for_body = False
        self._task = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(HEAD_TIMEOUT_S, self._too_slow)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_unix_connection(lambda: self, self._path)
        except (OSError, TimeoutError):
            self._fail(
                Unavailable("control is not there now; functions go on, try this again", retry_after_s=1.0, begun=False)
            )

    def _too_slow(self) -> None:
        self._fail(Unavailable(f"control did not answer within {HEAD_TIMEOUT_S:g} s", retry_after_s=5.0))

    def _head(self) -> bytes:
        request, vouched = self._request, self._vouched
        target = request.url if vouched is None else vouched.target
        headers = request.headers if vouched is None else vouched.headers
        lines = [b"%b %b HTTP/1.1\r\n" % (request.method, target)]
        lines += [b"%b: %b\r\n" % (k, v) for k, v in headers if k.lower() not in DROPPED]
        if vouched is not None:
            lines.append(f"{CALLER_HEADER}: {vouched.caller()}\r\n".encode())
        if self._chunked_up:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif request.length or request.header(b"content-length") is not None:
            lines.append(b"content-length: %d\r\n" % request.length)
        scheme = b"https" if self._client.secure else b"http"
        lines.append(b"x-forwarded-for: %b\r\n" % self._client.source_ip.encode())
        lines.append(b"x-forwarded-proto: %b\r\nconnection: close\r\n\r\n" % scheme)
        return b"".join(lines)

    def _send(self, data: bytes) -> None:
        if self._over:
            return
        if self._transport is not None:
            self._transport.write(data)
            return
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if self._unsent_bytes > MAX_BUFFERED:
            self._client.hold(True)

    def _fail(self, error: IsothermError) -> None:
        """An error instead of an answer."""
        if self._over:
            return
        if not self._ended:
            self._request.keep_alive = False
        self._close()
        if self._client.current is self._request:
            self._client.reply_error(error)
        else:
            self._client.transport.abort()  # its turn has not come; what is before it cannot be told apart any more

    def _cut(self) -> None:
        """The answer broke off: the client learns it by the connection."""
        self._close()
        self._client.transport.abort()

    def _finish(self, *, keep: bool) -> None:
        if not keep or not self._ended:
            self._request.keep_alive = False
        self._close()
        self._client.done()

    def _give_up(self) -> None:
        """The client left."""
        self._close()

    def _close(self) -> None:
        self._over = True
        if self._client.current is self._request:
            self._client.on_left = None
        self._stop_timer()
        if self._transport is not None:
            self._transport.close()
        elif self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
