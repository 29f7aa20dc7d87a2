"""A request's body on its way to the instance as it comes, for functions that take it so. Holds back the client's
socket where the handler is slower than the client, or has not begun."""

from collections import deque
from typing import Protocol

from isotherm.base.errors import IsothermError, TooLarge
from isotherm.gateway.connection import ClientConnection
from isotherm.gateway.request import Request
from isotherm.pool.call import Call, Sink, UploadCall
from isotherm_runtime.frames import MAX_PIECE_BYTES, WINDOW_BYTES

__all__ = ["Upload", "UploadPort"]

MAX_UNSENT_BYTES = 64 * 1024  # what waits here for credit, beside the one read that went over it


class UploadPort(Protocol):
    def serve_upload(self, connection: ClientConnection, request: Request, upload: "Upload") -> None:
        """Hand the request to the pool. Raises `IsothermError` where it is refused."""


class Upload:
    """See `gateway.request.BodyStream` and `pool.call.Feeder`."""

    digest: str | None = None

    def __init__(self, port: UploadPort, connection: ClientConnection, request: Request, limit_bytes: int) -> None:
        self._port = port
        self._connection = connection
        self._request = request
        self._limit_bytes = limit_bytes
        self._call: UploadCall | None = None
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = self._total_bytes = 0
        self._credit_bytes = WINDOW_BYTES
        self._whole = self._ended = False

    def check(self) -> None:
        """Raises `TooLarge` where the head already says so."""
        if self._request.length > self._limit_bytes:
            raise self._too_large(self._request.length)

    # -- the client's side -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """It is this request's turn."""
        try:
            self._port.serve_upload(self._connection, self._request, self)
        except IsothermError as error:
            self._refuse(error)

    def call(self, call_id: str, flags: int, head: bytes, _body: bytes, sink: Sink, arrived_s: float) -> Call:
        """The call that it is the body of: an ordinary one where all of the body is there already."""
        if self._whole:
            return Call(call_id, flags, head, b"".join(self._unsent), sink, arrived_s)
        self._call = UploadCall(call_id, flags, head, sink, arrived_s, self)
        self._call.request_bytes = self._total_bytes
        return self._call

    def feed(self, data: bytes) -> None:
        self._total_bytes += len(data)
        if self._total_bytes > self._limit_bytes:
            self._connection.reject(self._too_large(self._total_bytes))
            return
        if self._call is not None:
            self._call.request_bytes = self._total_bytes
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        self._send()

    def end(self) -> None:
        self._whole = True
        self._send()

    def cut(self, error: IsothermError) -> None:
        """The rest will not come. The client is told why, unless an answer is on its way already."""
        connection = self._connection
        answering = connection.current is not self._request or connection.download is not None
        connection.left()
        if answering:
            connection.transport.close()
        else:
            self._refuse(error)

    # -- the instance's side -----------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The call was sent to an instance: what has come may follow."""
        self._send()

    def granted(self, size: int) -> bool:
        """The handler took so much; False where it says that it took more than it was sent."""
        self._credit_bytes += size
        self._send()
        return self._credit_bytes <= WINDOW_BYTES

    # -- inside --------------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        call = self._call
        carrier = None if call is None or call.sink is None else call.carrier
        if call is not None and carrier is not None:
            while self._unsent and self._credit_bytes > 0:
                carrier.send_piece(call, self._take(min(self._credit_bytes, MAX_PIECE_BYTES)))
            if self._whole and not self._unsent and not self._ended:
                self._ended = True
                carrier.send_end(call)
        if not self._whole:
            self._connection.hold(self._unsent_bytes > MAX_UNSENT_BYTES)

    def _take(self, size: int) -> bytes:
        """The next bytes that wait, at most `size`."""
        data = self._unsent.popleft()
        if len(data) > size:
            self._unsent.appendleft(data[size:])
            data = data[:size]
        self._unsent_bytes -= len(data)
        self._credit_bytes -= len(data)
        return data

    def _refuse(self, error: IsothermError) -> None:
        if not self._whole:
            self._request.keep_alive = False
        self._connection.reply_error(error)

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(
            f"the request's body has {size} bytes or more; the limit for one that is streamed is {self._limit_bytes}",
            limit_bytes=self._limit_bytes,
        )
