"""A host's side of an instance's stream, as small as tests need it."""

import asyncio
import json
from collections import defaultdict
from typing import Any, NamedTuple

from isotherm.sandbox.port import Instance
from isotherm_runtime.frames import WINDOW_BYTES, Flag, Kind, pack_frame, split_frames

TIME_LIMIT_S = 20.0


class Answer(NamedTuple):
    kind: int
    flags: int
    head: bytes
    body: bytes

    @property
    def value(self) -> Any:
        assert self.kind == Kind.RESPONSE, self
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        assert self.kind == Kind.ERROR, self
        found: dict[str, Any] = json.loads(self.head)
        return found

    @property
    def http(self) -> tuple[int, dict[str, str], list[str]]:
        assert self.kind == Kind.RESPONSE, self
        status, headers, cookies = json.loads(self.head) if self.flags & Flag.HTTP else (200, [], [])
        return status, {name.lower(): value for name, value in headers}, cookies


class LogLine(NamedTuple):
    stream: int
    level: str | None
    text: str
    truncated: bool


class Pieces:
    """A streamed answer. `grants` False: nothing more is granted than the first window."""

    def __init__(self, begun: Answer, loop: asyncio.AbstractEventLoop, *, grants: bool) -> None:
        self.begun = begun
        self.grants = grants
        self.parts: list[bytes] = [begun.body] if begun.body else []
        self.end: asyncio.Future[Answer] = loop.create_future()
        self.changed = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def size(self) -> int:
        return sum(len(part) for part in self.parts)


class Ended(Exception):
    """The instance closed its stream."""


class Client:
    """Reads frames until the end; answers wait for whoever asks for their stream."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.logs: list[LogLine] = []
        self.answered: list[int] = []  # streams in the order of their answers
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[Answer]] = defaultdict(self._loop.create_future)
        self._pieces: dict[int, asyncio.Future[Pieces]] = defaultdict(self._loop.create_future)
        self.grants = True  # streamed answers get new credit for all that comes
        self.granted: dict[int, int] = defaultdict(lambda: WINDOW_BYTES)  # of streamed requests, by the instance
        self.hello: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self.pongs = 0
        self._next = 0
        self._reader = self._loop.create_task(self._read())
        self._output = b""

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.instance.kill()
        await asyncio.wait_for(self.instance.exited, TIME_LIMIT_S)
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        ends = [one.result().end for one in self._pieces.values() if one.done() and not one.cancelled()]
        for future in (*self._answers.values(), *self._pieces.values(), *ends, self.hello):
            future.cancel()
            if future.done() and not future.cancelled():
                future.exception()
        self.instance.stream.close()

    async def _read(self) -> None:
        buffer = b""
        try:
            while data := await self._loop.sock_recv(self.instance.stream, 1 << 20):
                frames, used = split_frames(buffer + data)
                buffer = (buffer + data)[used:]
                for frame in frames:
                    self._take(*frame)
        except OSError:
            pass
        ends = [one.result().end for one in self._pieces.values() if one.done()]
        for future in (*self._answers.values(), *ends, self.hello):
            if not future.done():
                future.set_exception(Ended())

    def _take(self, kind: int, flags: int, stream: int, deadline: int, head: bytes, body: bytes) -> None:
        if kind == Kind.HELLO:
            self.hello.set_result(json.loads(head))
        elif kind == Kind.LOG:
            _, level = json.loads(head)
            self.logs.append(LogLine(stream, level, body.decode(), bool(flags & Flag.TRUNCATED)))
        elif kind == Kind.PING:
            self.pongs += 1
        elif kind == Kind.WINDOW:
            self.granted[stream] += deadline
        elif flags & Flag.MORE:
            pieces = Pieces(Answer(kind, flags, head, body), self._loop, grants=self.grants)
            self._pieces[stream].set_result(pieces)
        elif kind in (Kind.CHUNK, Kind.END):
            self._take_piece(self._pieces[stream].result(), Answer(kind, flags, head, body), stream)
        else:
            self.answered.append(stream)
            assert not self._answers[stream].done(), f"stream {stream} was answered twice"
            self._answers[stream].set_result(Answer(kind, flags, head, body))

    def _take_piece(self, pieces: Pieces, frame: Answer, stream: int) -> None:
        assert not pieces.end.done(), f"stream {stream} goes on after its end"
        if frame.kind == Kind.END:
            pieces.end.set_result(frame)
        else:
            assert frame.body, "an empty piece"
            pieces.parts.append(frame.body)
            if pieces.grants:
                self.send(Kind.WINDOW, stream, deadline_ms=len(frame.body))
        pieces.changed.set()

    async def pieces(self, stream: int) -> Pieces:
        """A streamed answer, once it has begun."""
        return await asyncio.wait_for(asyncio.shield(self._pieces[stream]), TIME_LIMIT_S)

    async def whole(self, stream: int) -> Pieces:
        """A streamed answer, once it is complete."""
        pieces = await self.pieces(stream)
        end = await asyncio.wait_for(asyncio.shield(pieces.end), TIME_LIMIT_S)
        assert end.head == b"", end
        return pieces

    async def until(self, pieces: Pieces, size: int) -> None:
        """Wait for so many bytes of it."""
        async with asyncio.timeout(TIME_LIMIT_S):
            while pieces.size < size:
                pieces.changed.clear()
                await pieces.changed.wait()

    async def ponged(self) -> None:
        """Wait for the answer to a ping: it has no place among those to calls."""
        async with asyncio.timeout(TIME_LIMIT_S):
            while not self.pongs:
                await asyncio.sleep(0.01)

    async def upload(self, stream: int, data: bytes, piece: int = 64 * 1024) -> None:
        """Send `data` as the pieces of the request's body, within the credit, and its end."""
        sent = 0
        for start in range(0, len(data), piece):
            part = data[start : start + piece]
            async with asyncio.timeout(TIME_LIMIT_S):
                while self.granted[stream] < sent + len(part):
                    await asyncio.sleep(0.001)
            await self._loop.sock_sendall(self.instance.stream, pack_frame(Kind.CHUNK, stream, b"", part))
            sent += len(part)
        await self._loop.sock_sendall(self.instance.stream, pack_frame(Kind.END, stream))

    def send(self, kind: int, stream: int, head: object = None, body: bytes = b"", **more: int) -> None:
        raw = head if isinstance(head, bytes) else b"" if head is None else json.dumps(head).encode()
        sent = self.instance.stream.send(pack_frame(kind, stream, raw, body, **more))
        assert sent, "the stream takes nothing"

    def request(self, event: object = None, *, body: bytes | None = None, deadline_ms: int = 10_000) -> int:
        """Send an invocation; its stream."""
        self._next += 1
        raw = json.dumps(event).encode() if body is None else body
        self.send(Kind.REQUEST, self._next, [f"request-{self._next}"], raw, deadline_ms=deadline_ms)
        return self._next

    async def answer(self, stream: int) -> Answer:
        return await asyncio.wait_for(asyncio.shield(self._answers[stream]), TIME_LIMIT_S)

    async def invoke(self, event: object = None, **more: Any) -> Answer:
        return await self.answer(self.request(event, **more))

    async def http(
        self,
        method: str = "GET",
        path: str = "/",
        query: str = "",
        headers: list[tuple[str, str]] | None = None,
        body: bytes = b"",
    ) -> Answer:
        return await self.answer(self.http_request(method, path, query, headers, body))

    def http_request(
        self,
        method: str = "GET",
        path: str = "/",
        query: str = "",
        headers: list[tuple[str, str]] | None = None,
        body: bytes = b"",
        *,
        more: bool = False,
        deadline_ms: int = 10_000,
    ) -> int:
        """Send a function URL's request; its stream. `more`: pieces of the body follow."""
        self._next += 1
        head = json.dumps([f"request-{self._next}", 1_600_000_000_000])
        head += json.dumps([method, path, query, headers or [], "192.0.2.1", "hi.test"])
        flags = Flag.HTTP | Flag.MORE if more else Flag.HTTP
        self.send(Kind.REQUEST, self._next, head.encode(), body, flags=flags, deadline_ms=deadline_ms)
        return self._next

    async def started(self) -> dict[str, Any]:
        """The HELLO. Raises `Ended`."""
        return await asyncio.wait_for(asyncio.shield(self.hello), TIME_LIMIT_S)

    def lines_of(self, stream: int) -> list[str]:
        return [line.text for line in self.logs if line.stream == stream]
