"""A debugger's session with one instance: bytes both ways within credit, and whether the handler stands still."""

import json
from collections import deque
from collections.abc import Callable
from typing import Protocol

from isotherm_runtime.frames import MAX_PIECE_BYTES, WINDOW_BYTES, Kind, pack_frame

__all__ = ["DapReader", "DebugClient", "DebugStream"]

MAX_MESSAGE_BYTES = 8 * 1024 * 1024  # what is larger is passed on unread
MAX_HEAD_BYTES = 4096
_end_of_head = b"\r\n\r\n"


class DebugClient(Protocol):
    """Who holds the debugger's other end."""

    def received(self, data: bytes) -> None:
        """Bytes for the debugger; `DebugStream.taken` is called once they are kept no more."""

    def room(self) -> None:
        """More may be sent."""

    def ended(self, why: str) -> None:
        """Nothing more comes, and nothing more is taken. Called once."""


class DebugStream:
    """Towards the instance. `write` sends a frame; `on_pause` hears when the handler stops at a breakpoint and when it
    goes on."""

    def __init__(
        self, stream: int, write: Callable[[bytes], None], client: DebugClient, on_pause: Callable[[bool], None]
    ) -> None:
        self.stream = stream
        self._write = write
        self._client = client
        self._on_pause = on_pause
        self._reader = DapReader()
        self._unsent: deque[bytes] = deque()
        self._credit_bytes = WINDOW_BYTES  # what may yet be sent to the instance
        self._granted_bytes = WINDOW_BYTES  # what it may yet send
        self._over = False

    def full(self) -> bool:
        """Whether bytes wait here for credit: read no more."""
        return bool(self._unsent)

    def send(self, data: bytes) -> None:
        """Bytes of the client's."""
        if not self._over and data:
            self._unsent.append(data)
            self._send()

    def taken(self, size: int) -> None:
        """The client has taken so much: the instance may send as much again."""
        if not self._over and size:
            self._granted_bytes += size
            self._write(pack_frame(Kind.WINDOW, self.stream, deadline_ms=size))

    def close(self) -> None:
        """The client left."""
        if not self._over:
            self._over = True
            self._write(pack_frame(Kind.END, self.stream))
            self._on_pause(False)

    def end(self, why: str) -> None:
        """It is over from this side."""
        if not self._over:
            self.close()
            self._client.ended(why)

    # -- from the instance, which is not trusted -----------------------------------------------------------------------

    def came(self, kind: int, body: bytes, head: bytes) -> bool:
        """A CHUNK or END frame; False where it is over its credit."""
        if self._over:
            return True
        if kind == Kind.END:
            self._over = True
            self._on_pause(False)
            self._client.ended("the debugger in the instance ended" + (f": {_reason(head)}" if head else ""))
            return True
        self._granted_bytes -= len(body)
        if self._granted_bytes < 0:
            return False
        paused = self._reader.feed(body)
        if paused is not None:
            self._on_pause(paused)
        self._client.received(body)
        return True

    def granted(self, size: int) -> bool:
        """It took so much; False where that is more than it was sent."""
        self._credit_bytes += size
        self._send()
        if not self._over and not self._unsent:
            self._client.room()
        return self._credit_bytes <= WINDOW_BYTES

    def _send(self) -> None:
        while self._unsent and self._credit_bytes > 0:
            data = self._unsent.popleft()
            size = min(self._credit_bytes, MAX_PIECE_BYTES)
            if len(data) > size:
                self._unsent.appendleft(data[size:])
                data = data[:size]
            self._credit_bytes -= len(data)
            self._write(pack_frame(Kind.CHUNK, self.stream, b"", data))


class DapReader:
    """Reads along what a debugger says in the Debug Adapter Protocol, for whether the program stands still.

    The instance may lie: it then has more time in a revision of development, within `deadlines.MAX_PAUSE_S`.
    """

    def __init__(self) -> None:
        self._text = bytearray()
        self._skip = 0  # of a message that is too large to be read
        self._lost = False  # what comes is no such protocol

    def feed(self, data: bytes) -> bool | None:
        """True where it stopped, False where it goes on, by the last that was said; None where nothing was."""
        if self._lost:
            return None
        if self._skip:
            passed = min(self._skip, len(data))
            self._skip -= passed
            data = data[passed:]
        self._text += data
        said = None
        while (message := self._next()) is not None:
            event = _event(message)
            if event == "stopped":
                said = True
            elif event in ("continued", "terminated", "exited"):
                said = False
        return said

    def _next(self) -> bytes | None:
        """The next whole message."""
        at = self._text.find(_end_of_head, 0, MAX_HEAD_BYTES)
        if at < 0:
            if len(self._text) > MAX_HEAD_BYTES:
                self._give_up()
            return None
        length = _length(bytes(self._text[:at]))
        if length is None:
            self._give_up()
            return None
        begin = at + len(_end_of_head)
        if length > MAX_MESSAGE_BYTES:
            self._skip = max(0, length - (len(self._text) - begin))
            del self._text[: begin + length]
            return b""
        if len(self._text) < begin + length:
            return None
        message = bytes(self._text[begin : begin + length])
        del self._text[: begin + length]
        return message

    def _give_up(self) -> None:
        self._lost = True
        self._text.clear()


def _length(head: bytes) -> int | None:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            text = value.strip()
            return int(text) if text.isdigit() and len(text) < 12 else None
    return None


def _event(message: bytes) -> str | None:
    if b'"event"' not in message:
        return None
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("type") != "event":
        return None
    body = found.get("body")
    if found.get("event") == "continued" and isinstance(body, dict) and body.get("allThreadsContinued") is False:
        return None  # another thread still stands
    return str(found.get("event"))


def _reason(head: bytes) -> str:
    try:
        return str(json.loads(head).get("error_message", ""))[:500]
    except (ValueError, RecursionError, AttributeError):
        return "it did not say why"
