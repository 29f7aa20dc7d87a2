"""A host's side of an instance's stream, as small as tests need it."""

import asyncio
import json
from collections import defaultdict
from typing import Any, NamedTuple

from isotherm.sandbox.port import Instance
from isotherm_runtime.frames import Flag, Kind, pack_frame, split_frames

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
        for future in (*self._answers.values(), self.hello):
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
        for future in (*self._answers.values(), self.hello):
            if not future.done():
                future.set_exception(Ended())

    def _take(self, kind: int, flags: int, stream: int, _deadline: int, head: bytes, body: bytes) -> None:
        if kind == Kind.HELLO:
            self.hello.set_result(json.loads(head))
        elif kind == Kind.LOG:
            _, level = json.loads(head)
            self.logs.append(LogLine(stream, level, body.decode(), bool(flags & Flag.TRUNCATED)))
        elif kind == Kind.PING:
            self.pongs += 1
        else:
            self.answered.append(stream)
            assert not self._answers[stream].done(), f"stream {stream} was answered twice"
            self._answers[stream].set_result(Answer(kind, flags, head, body))

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
        self._next += 1
        head = json.dumps([f"request-{self._next}", 1_600_000_000_000])
        head += json.dumps([method, path, query, headers or [], "192.0.2.1", "hi.test"])
        self.send(Kind.REQUEST, self._next, head.encode(), body, flags=Flag.HTTP, deadline_ms=10_000)
        return await self.answer(self._next)

    async def started(self) -> dict[str, Any]:
        """The HELLO. Raises `Ended`."""
        return await asyncio.wait_for(asyncio.shield(self.hello), TIME_LIMIT_S)

    def lines_of(self, stream: int) -> list[str]:
        return [line.text for line in self.logs if line.stream == stream]
