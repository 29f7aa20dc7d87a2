"""A streamed answer of a bootstrap: RESPONSE with Flag.MORE, CHUNK frames, END, no more than the host has granted."""

from __future__ import annotations

from isotherm_runtime import values
from isotherm_runtime.errors import error_head
from isotherm_runtime.frames import MAX_HEAD_BYTES, ErrorKind, Flag, Kind, pack_frame
from isotherm_runtime.responses import BadResponse, pack_head

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable

    from isotherm_runtime.http1 import HttpConnection

__all__ = ["CREDIT_BYTES", "INTEGRATION_TYPE", "StreamedAnswer"]

CREDIT_BYTES = 256 * 1024  # that may be on their way; the host grants more by WINDOW frames
PIECE_BYTES = 64 * 1024
INTEGRATION_TYPE = "application/vnd.awslambda.http-integration-response"  # its body begins with status and headers
PRELUDE_END = b"\0" * 8
DEFAULT_TYPE = "application/octet-stream"


class StreamedAnswer:
    """Takes the body as it comes from `source`, whose reading it holds back while the host grants nothing."""

    def __init__(
        self, stream: int, is_http: bool, integration: bool, send: Callable[[bytes], None], source: HttpConnection
    ) -> None:
        self.source = source
        self._stream = stream
        self._is_http = is_http
        self._reads_prelude = integration and is_http
        self._send = send
        self._credit = CREDIT_BYTES
        self._begun = False
        self._held = bytearray()
        self._head = pack_head(200, None, None, DEFAULT_TYPE) if is_http else b""
        self._failed = False

    def take(self, piece: bytes) -> None:
        """More of the body."""
        if self._failed:
            return
        self._held += piece
        if not self._reads_prelude or self._read_prelude():
            self._pump()

    def grant(self, size: int) -> None:
        self._credit += size
        self._pump()

    def finish(self) -> None:
        """All has come."""
        if self._failed:
            return
        if self._reads_prelude:
            self._refuse("the answer ends before its status and headers do")
            return
        if not self._begun:
            self._send_piece(b"")
        self._send(pack_frame(Kind.END, self._stream))

    def fail(self, head: bytes) -> None:
        if self._failed:
            return
        self._failed = True
        self.source.paused = False
        self._send(pack_frame(Kind.END if self._begun else Kind.ERROR, self._stream, head))

    def _read_prelude(self) -> bool:
        """Status, headers and cookies, as JSON before eight zero bytes. Whether they have come whole."""
        end = self._held.find(PRELUDE_END)
        if end < 0:
            if len(self._held) > MAX_HEAD_BYTES:
                self._refuse("status and headers are not followed by eight zero bytes")
            return False
        try:
            found = values.decode(bytes(self._held[:end]))
            if not isinstance(found, dict):
                raise BadResponse("status and headers are no object")
            status, headers, cookies = found.get("statusCode", 200), found.get("headers"), found.get("cookies")
            self._head = pack_head(status, headers, cookies, DEFAULT_TYPE)
        except ValueError as exc:
            self._refuse(str(exc))
            return False
        del self._held[: end + len(PRELUDE_END)]
        self._reads_prelude = False
        return True

    def _refuse(self, message: str) -> None:
        self.fail(error_head(ErrorKind.RESPONSE, "Runtime.MarshalError", message))

    def _pump(self) -> None:
        while self._held and self._credit > 0:
            piece = bytes(self._held[: min(PIECE_BYTES, self._credit)])
            del self._held[: len(piece)]
            self._credit -= len(piece)
            self._send_piece(piece)
        self.source.paused = bool(self._held)

    def _send_piece(self, piece: bytes) -> None:
        if self._begun:
            self._send(pack_frame(Kind.CHUNK, self._stream, b"", piece))
            return
        self._begun = True
        flags = Flag.MORE | Flag.HTTP if self._is_http else Flag.MORE
        self._send(pack_frame(Kind.RESPONSE, self._stream, self._head, piece, flags=flags))
