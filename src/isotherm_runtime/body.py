"""A request's body that comes in pieces: what a handler finds as `context.body`."""

from __future__ import annotations

import time

from isotherm_runtime.frames import WINDOW_BYTES, Kind, pack_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from isotherm_runtime.flow import Bell, Flow

__all__ = ["AsyncBody", "Body", "BodyBroken"]

GRANT_BYTES = WINDOW_BYTES // 4  # taken by the handler before the host is told


class BodyBroken(ConnectionError):
    """The rest of the body will not come."""


class _Source:
    """What both kinds of body have: parts in order, and credit for what was taken."""

    def __init__(self, flow: Flow, send: Callable[[bytes], None], deadline: float) -> None:
        self._flow = flow
        self._send = send
        self._deadline = deadline  # of time.monotonic()
        self._owed = 0
        self._rest = b""

    def _part(self) -> bytes:
        """The next part, where there may be one; empty at the end. Raises `BodyBroken` or `TimeoutError`."""
        if self._rest:
            part, self._rest = self._rest, b""
            return part
        flow = self._flow
        if flow.parts:
            part = flow.parts.popleft()
            self._owed += len(part)
            if self._owed >= GRANT_BYTES and not flow.whole:
                owed, self._owed = self._owed, 0
                self._send(pack_frame(Kind.WINDOW, flow.stream_id, deadline_ms=owed))
            return part
        if flow.whole:
            return b""
        if flow.gone is not None:
            raise BodyBroken(f"the body broke off: {flow.gone}")
        raise TimeoutError("the call's time was over before all of its body had come")

    def _keep(self, gathered: list[bytes], size: int) -> bytes:
        """`size` bytes of what was gathered; the rest stays for the next."""
        data = b"".join(gathered)
        if 0 <= size < len(data):
            self._rest = data[size:]
            return data[:size]
        return data


class Body(_Source):
    """Of a sync handler: an iterator of bytes, or a file to `read`. Any thread may use it, one at a time."""

    def __init__(
        self,
        flow: Flow,
        send: Callable[[bytes], None],
        wait: Callable[[Bell, Callable[[], bool], float], None],
        deadline: float,
    ) -> None:
        super().__init__(flow, send, deadline)
        self._wait = wait

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        part = self._await()
        if not part:
            raise StopIteration
        return part

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, all of them where it is negative; empty at the end."""
        gathered: list[bytes] = []
        have = 0
        while size < 0 or have < size:
            part = self._await()
            if not part:
                break
            gathered.append(part)
            have += len(part)
        return self._keep(gathered, size)

    def readable(self) -> bool:
        return True

    def _await(self) -> bytes:
        if not self._rest:
            self._wait(self._flow.arrival, self._flow.may_take, self._deadline)
        return self._part()

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise TypeError("this handler is not async: iterate context.body with `for`, or declare it `async def`")


class AsyncBody(_Source):
    """Of an async handler: an async iterator of bytes, or `await read(size)`."""

    def __init__(
        self,
        flow: Flow,
        send: Callable[[bytes], None],
        wait: Callable[[Bell], Awaitable[None]],
        deadline: float,
    ) -> None:
        super().__init__(flow, send, deadline)
        self._wait = wait

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        part = await self._await()
        if not part:
            raise StopAsyncIteration
        return part

    async def read(self, size: int = -1) -> bytes:
        """As `Body.read`."""
        gathered: list[bytes] = []
        have = 0
        while size < 0 or have < size:
            part = await self._await()
            if not part:
                break
            gathered.append(part)
            have += len(part)
        return self._keep(gathered, size)

    async def _await(self) -> bytes:
        flow = self._flow
        while not self._rest and not flow.may_take() and time.monotonic() < self._deadline:
            await self._wait(flow.arrival)
        return self._part()

    def __iter__(self) -> Iterator[bytes]:
        raise TypeError("this handler is async: iterate context.body with `async for`")
