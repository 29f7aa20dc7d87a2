"""An open-loop HTTP/1.1 client: requests go out when they are due, whatever has become of those before them.

Kept-alive connections, one request in flight on each, a bound on their number. It costs little, so that on a small
machine the client disturbs what it measures as little as it can: no framework, no task per request, whole requests
handed in as bytes. What it was late by itself is reported with every answer.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter as now  # uvloop's own clock counts whole milliseconds
from typing import cast

import httptools

__all__ = ["Answer", "LoadClient"]

MAX_BACKLOG = 250_000  # requests that wait for a connection, about 100 MB; more fail at once
SWEEP_S = 0.25


class Answer:
    """What became of one request. Times are `time.perf_counter`, seconds. `status` is 0 where no answer came."""

    __slots__ = (
        "body",
        "done_at",
        "due_at",
        "error",
        "first_at",
        "request_id",
        "sent_at",
        "status",
        "timing",
        "token",
        "version",
    )

    def __init__(self, token: int, due_at: float) -> None:
        self.token = token
        self.due_at = due_at
        self.sent_at = 0.0
        self.first_at = 0.0  # the first bytes of the body
        self.done_at = 0.0
        self.status = 0
        self.timing = b""  # the Server-Timing header
        self.request_id = b""  # the x-amzn-requestid header
        self.version = b""  # the x-amz-executed-version header
        self.body = b""
        self.error: str | None = None


class LoadClient:
    """Connections to one address. `on_answer` is called once for every submitted request, in the loop."""

    def __init__(
        self,
        host: str,
        port: int,
        on_answer: Callable[[Answer], None],
        *,
        max_connections: int = 512,
        timeout_s: float = 60.0,
        backlog_s: float = 60.0,
    ) -> None:
        self._address = (host, port)
        self._on_answer = on_answer
        self._max_connections = max_connections
        self._timeout_s = timeout_s  # from the sending of a request to its whole answer
        self._backlog_s = backlog_s  # that a request may wait for a connection
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._backlog: deque[tuple[Answer, bytes]] = deque()
        self._pending = 0
        self._drained = asyncio.Event()
        self._drained.set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def pending(self) -> int:
        """Requests that have no answer yet."""
        return self._pending

    async def open(self, connections: int) -> None:
        """Open connections ahead. Raises `OSError` where the first cannot be opened."""
        await self._connect(raising=True)
        for _ in range(min(connections, self._max_connections) - 1):
            await self._connect()
        self._sweep()

    def submit(self, token: int, due_at: float, request: bytes) -> None:
        """Send a whole HTTP request now, or as soon as a connection is free."""
        answer = Answer(token, due_at)
        self._pending += 1
        self._drained.clear()
        if self._idle:
            self._idle.pop().send(answer, request)
        elif len(self._backlog) >= MAX_BACKLOG:
            self._fail(answer, f"more than {MAX_BACKLOG} requests wait for a connection")
        else:
            self._backlog.append((answer, request))
            if len(self._all) + len(self._connecting) < self._max_connections:
                task = self._loop.create_task(self._connect())
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until every request is answered; False where time was up before."""
        try:
            await asyncio.wait_for(self._drained.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Close all connections; what is still pending fails."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in list(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in list(self._all):
            connection.abort("the client was closed")
        while self._backlog:
            self._fail(self._backlog.popleft()[0], "the client was closed")

    async def _connect(self, *, raising: bool = False) -> None:
        try:
            await asyncio.wait_for(self._loop.create_connection(lambda: _Connection(self), *self._address), 10.0)
        except (OSError, TimeoutError) as exc:
            if raising:
                raise
            if self._backlog and not self._all:
                self._fail(self._backlog.popleft()[0], f"no connection: {exc!r}")

    def _sweep(self) -> None:
        at = now()
        for connection in [c for c in self._all if c.answer is not None and at - c.answer.sent_at > self._timeout_s]:
            connection.abort(f"no answer within {self._timeout_s:g} s")
        while self._backlog and at - self._backlog[0][0].due_at > self._backlog_s:
            self._fail(self._backlog.popleft()[0], f"no connection was free within {self._backlog_s:g} s")
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    def _fail(self, answer: Answer, error: str) -> None:
        answer.error = error
        answer.done_at = now()
        answer.sent_at = answer.sent_at or answer.done_at
        self._finish(answer)

    def _finish(self, answer: Answer) -> None:
        self._pending -= 1
        if not self._pending:
            self._drained.set()
        self._on_answer(answer)

    def free(self, connection: "_Connection") -> None:
        """A connection can take the next request."""
        if self._backlog:
            connection.send(*self._backlog.popleft())
        else:
            self._idle.append(connection)

    def opened(self, connection: "_Connection") -> None:
        self._all.add(connection)
        self.free(connection)

    def answered(self, answer: Answer) -> None:
        answer.done_at = now()
        self._finish(answer)

    def lost(self, connection: "_Connection", answer: Answer | None, error: str) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if answer is not None:
            self._fail(answer, error)


class _Connection(asyncio.Protocol):
    """One kept-alive connection."""

    __slots__ = ("_body", "_client", "_parser", "_transport", "answer")

    def __init__(self, client: LoadClient) -> None:
        self._client = client
        self.answer: Answer | None = None
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class
        self._parser = httptools.HttpResponseParser(self)
        self._client.opened(self)

    def send(self, answer: Answer, request: bytes) -> None:
        self.answer = answer
        answer.sent_at = now()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self.abort(f"the answer is not HTTP: {exc}")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.answer is None:
            return
        if len(name) == 13 and name.lower() == b"server-timing":
            self.answer.timing = value
        elif len(name) == 16 and name.lower() == b"x-amzn-requestid":
            self.answer.request_id = value
        elif len(name) == 22 and name.lower() == b"x-amz-executed-version":
            self.answer.version = value

    def on_body(self, data: bytes) -> None:
        if self.answer is not None and not self.answer.first_at:
            self.answer.first_at = now()
        self._body = self._body + data if self._body else data

    def on_message_complete(self) -> None:
        answer, self.answer = self.answer, None
        if answer is None:
            return self.abort("an answer without a request")
        answer.status = self._parser.get_status_code()
        answer.body, self._body = self._body, b""
        keep = self._parser.should_keep_alive()
        self._client.answered(answer)
        if keep:
            self._parser = httptools.HttpResponseParser(self)
            self._client.free(self)
        else:
            self._transport.close()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        answer, self.answer = self.answer, None
        self._client.lost(self, answer, f"the connection was closed before the answer was whole: {exc}")

    def abort(self, error: str) -> None:
        """Fail the request at once: the transport says so only in a later turn of the loop, if there is one."""
        answer, self.answer = self.answer, None
        self._transport.abort()
        self._client.lost(self, answer, error)
