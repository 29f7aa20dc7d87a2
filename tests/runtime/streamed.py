"""A host's side of streamed answers: reads frames one by one, grants credit only when a test says so."""

import asyncio
import contextlib
import json
from typing import Any, NamedTuple

from isotherm.sandbox.port import Instance
from isotherm_runtime.frames import Flag, Kind, pack_frame, split_frames

TIME_LIMIT_S = 20.0
QUIET_S = 0.3  # nothing for so long after all that it may send: it waits for us


class Got(NamedTuple):
    kind: int
    flags: int
    stream: int
    head: bytes
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.head)


class StreamHost:
    """LOG frames are kept apart in `logs`."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.logs: list[str] = []
        self._buffer = b""
        self._frames: list[Got] = []
        self._stream = 0

    async def next(self, limit_s: float = TIME_LIMIT_S) -> Got:
        """The next frame. Raises `TimeoutError`, and `EOFError` at the end."""
        async with asyncio.timeout(limit_s):
            while not self._frames:
                data = await asyncio.get_running_loop().sock_recv(self.instance.stream, 1 << 20)
                if not data:
                    raise EOFError
                found, used = split_frames(self._buffer + data)
                self._buffer = (self._buffer + data)[used:]
                for kind, flags, stream, _, head, body in found:
                    if kind == Kind.LOG:
                        self.logs.append(body.decode())
                    else:
                        self._frames.append(Got(kind, flags, stream, head, body))
        return self._frames.pop(0)

    async def until_quiet(self, size: int) -> list[Got]:
        """All frames until so many bytes of the body have come, and nothing comes any more."""
        found: list[Got] = []
        while len(body_of(found)) < size:
            found.append(await self.next())
        with contextlib.suppress(TimeoutError):
            while True:
                found.append(await self.next(QUIET_S))
        return found

    async def until_end(self) -> list[Got]:
        """All frames of the answer."""
        found = [await self.next()]
        while found[-1].kind == Kind.CHUNK or found[-1].flags & Flag.MORE:
            found.append(await self.next())
        return found

    def invoke(self, event: Any = None) -> int:
        self._stream += 1
        body = json.dumps(event).encode()
        self._send(pack_frame(Kind.REQUEST, self._stream, b'["id"]', body, deadline_ms=10_000))
        return self._stream

    def http(self, body: bytes = b"") -> int:
        self._stream += 1
        head = b'["id",1600000000000]["POST","/","",[["content-type","text/plain"]],"192.0.2.1","hi.test"]'
        self._send(pack_frame(Kind.REQUEST, self._stream, head, body, flags=Flag.HTTP, deadline_ms=10_000))
        return self._stream

    def grant(self, stream: int, size: int) -> None:
        self._send(pack_frame(Kind.WINDOW, stream, deadline_ms=size))

    def cancel(self, stream: int) -> None:
        self._send(pack_frame(Kind.CANCEL, stream))

    def _send(self, frame: bytes) -> None:
        assert self.instance.stream.send(frame) == len(frame)


def body_of(frames: list[Got]) -> bytes:
    return b"".join(frame.body for frame in frames)
