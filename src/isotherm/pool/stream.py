"""An answer that comes in pieces: how much of it has come, and how much more the instance may send."""

from typing import Protocol

from isotherm.pool.call import Call, StreamSink
from isotherm_runtime.frames import WINDOW_BYTES

__all__ = ["AnswerStream"]

GRANT_BYTES = WINDOW_BYTES // 4  # taken by who waits for the answer, before the instance is told


class Granter(Protocol):
    """The instance's connection, as far as an answer needs it."""

    def grant(self, stream: int, size: int) -> None:
        """Let the instance send `size` bytes more of the answer to call `stream`."""


class AnswerStream:
    """One per call whose answer has begun, until it ends. `sink` gets the pieces."""

    __slots__ = ("_granted_bytes", "_granter", "_owed_bytes", "_stream", "sink", "total_bytes")

    def __init__(self, granter: Granter, stream: int) -> None:
        self._granter = granter
        self._stream = stream
        self._granted_bytes = WINDOW_BYTES
        self._owed_bytes = 0
        self.total_bytes = 0
        self.sink: StreamSink | None = None

    def came(self, size: int) -> bool:
        """Count a piece; False where it is beyond what was granted."""
        self.total_bytes += size
        return self.total_bytes <= self._granted_bytes

    def taken(self, size: int) -> None:
        """So much of what came is kept here no more: as much may come again."""
        self._owed_bytes += size
        if self._owed_bytes >= GRANT_BYTES:
            size, self._owed_bytes = self._owed_bytes, 0
            self._granted_bytes += size
            self._granter.grant(self._stream, size)

    def begin(self, call: Call, flags: int, head: bytes, now_s: float) -> StreamSink | None:
        """Ask who waits for `call` where the pieces go. Raises `InvalidResponse`."""
        sink = None if call.sink is None else call.sink.begun(call, self, flags, head, now_s)
        self.sink = call.sink = sink
        return sink
