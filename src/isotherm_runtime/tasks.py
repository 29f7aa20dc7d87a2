"""Async handlers: tasks on an event loop that is made after the fork."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from isotherm_runtime.answer import Outgoing, Pieces
from isotherm_runtime.flow import Bell, Flow, chunks
from isotherm_runtime.frames import Flag, Kind, pack_frame
from isotherm_runtime.invoke import BodyInvoker, Invoker, cancelled
from isotherm_runtime.logs import CallLog, enter_call
from isotherm_runtime.stream import Frame, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from isotherm_runtime.context import Context

__all__ = ["Tasks"]

CLOSE_S = 0.2
SWEEP_S = 0.005  # deadlines are looked at no more often than this
REQUEST, CANCEL, PING, DRAIN = int(Kind.REQUEST), int(Kind.CANCEL), int(Kind.PING), int(Kind.DRAIN)
MORE = int(Flag.MORE)
_monotonic = time.monotonic
_turn = asyncio.sleep


class TaskBell(Bell):
    """Wakes a task that waits for frames of its call. Used on the loop's thread alone."""

    __slots__ = ("_heard",)

    def __init__(self) -> None:
        self._heard = asyncio.Event()

    def ring(self) -> None:
        self._heard.set()

    async def heard(self) -> None:
        await self._heard.wait()
        self._heard.clear()


class _Stepping:
    """A plain iterator that an async handler returned, as an async one."""

    def __init__(self, source: Iterator[object]) -> None:
        self._source = source

    def __aiter__(self) -> _Stepping:
        return self

    async def __anext__(self) -> object:
        try:
            return next(self._source)
        except StopIteration:
            raise StopAsyncIteration from None


class Tasks:
    """Serves one stream with at most `limit` tasks; more requests wait in order."""

    def __init__(self, stream: Stream, invoker: Invoker, limit: int) -> None:
        self.stream = stream
        self._invoker = invoker
        self._flows = invoker.flows
        self._flows.make_bell = TaskBell
        if isinstance(invoker, BodyInvoker):
            invoker.awaits = TaskBell.heard  # type: ignore[assignment]  # all bells of its flows are of this kind
        self._limit = limit
        self._loop = asyncio.new_event_loop()
        self._running: dict[int, tuple[asyncio.Task[None], float]] = {}  # by stream: task and deadline
        self._cancelled: dict[int, str] = {}  # by stream: why we cancelled its task
        self._pending: deque[tuple[Frame, float]] = deque()
        self._flushing = False
        self._sweep: asyncio.TimerHandle | None = None
        self._draining = False
        self._ended = False
        self._failure: BaseException | None = None

    def serve(self) -> int:
        """Serve until the stream's end or DRAIN; returns 0. Raises `OSError`, `FrameError`."""
        loop = self._loop
        asyncio.set_event_loop(loop)
        loop.add_reader(self.stream.fd, self._read)
        while not self._ended:  # the user's code may stop the loop
            loop.run_forever()
        self._close()
        if self._failure is not None:
            raise self._failure
        return 0

    def _end(self, failure: BaseException | None = None) -> None:
        self._failure = self._failure or failure
        self._ended = True
        self._loop.stop()

    def _close(self) -> None:
        """Give tasks that still run a moment to end; nobody waits for what they answer."""
        loop = self._loop
        loop.remove_reader(self.stream.fd)
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        if rest:
            loop.run_until_complete(asyncio.wait(rest, timeout=CLOSE_S))
        loop.close()

    def _read(self) -> None:
        try:
            frames = self.stream.read()
            if frames is None:
                self._end()
                return
            arrived = _monotonic()
            for frame in frames:
                kind = frame[0]
                if kind == REQUEST:
                    if frame[1] & MORE:
                        self._flows.open(frame[2])  # its CHUNK frames may come before its turn
                    if len(self._running) < self._limit:
                        self._start(frame, arrived)
                    else:
                        self._pending.append((frame, arrived))
                elif kind == CANCEL or not (self._flows and self._flows.take(frame)):
                    self._control(kind, frame[2])
        except BaseException as exc:  # noqa: BLE001 - ends the instance; a loop would log it and go on
            self._end(exc)

    def _control(self, kind: int, stream_id: int) -> None:
        if kind == PING:
            self._send(pack_frame(PING, stream_id))
        elif kind == CANCEL:
            self._cancel(stream_id, "nobody waits for this call any more")
        elif kind == DRAIN:
            self._draining = True
            self._end_if_drained()

    def _start(self, frame: Frame, arrived: float) -> None:
        stream_id = frame[2]
        log = CallLog(self._invoker.output, stream_id)
        try:
            event, context, variables = self._invoker.begin(frame, arrived)
        except Exception as exc:  # noqa: BLE001 - `fail` makes the answer of it
            self._flows.close(stream_id)
            self._send(self._invoker.fail(stream_id, exc, log))
            return
        call = self._call(stream_id, frame[1], event, context, log)
        task = self._loop.create_task(call, context=variables)
        deadline = context._deadline
        self._running[stream_id] = (task, deadline)
        if self._sweep is None or deadline < self._sweep.when() - SWEEP_S:
            self._schedule_sweep(deadline)

    async def _call(self, stream_id: int, flags: int, event: object, context: Context, log: CallLog) -> None:
        invoker = self._invoker
        enter_call(log)
        try:
            result = await invoker.function(event, context)  # type: ignore[misc]  # a coroutine function: see handler
            answer = invoker.finish(stream_id, flags, result)
        except Pieces as pieces:
            answer = await self._send_pieces(stream_id, flags, pieces, log)
        except BaseException as exc:  # noqa: BLE001 - whatever the user's code raised ends this call alone
            answer = self._failed(stream_id, exc, log)
        log.close()
        self._finished(stream_id)
        self._send(answer)

    async def _send_pieces(self, stream_id: int, flags: int, pieces: Pieces, log: CallLog) -> bytes:
        """Send an answer piece by piece; the frame that ends it."""
        out = self._invoker.outgoing(stream_id, flags)
        try:
            await self._feed(pieces, out, self._flows.open(stream_id))
            return out.end()
        except BaseException as exc:  # noqa: BLE001 - whatever the user's code raised ends this call alone
            return self._failed(stream_id, exc, log, begun=out.begun)

    async def _feed(self, pieces: Pieces, out: Outgoing, flow: Flow) -> None:
        """Each item goes out before the next is asked for. Raises what the handler raises, and `CancelledError`."""
        source: Any = pieces.source
        try:
            if pieces.head is not None:
                self._send(out.begin(pieces.head))
            async for item in source if pieces.is_async else _Stepping(source):
                if flow.stream_id in self._cancelled:
                    raise asyncio.CancelledError  # the handler caught the first, and goes on
                before, data = (b"", out.data(item)) if out.begun else out.begin_with(item)
                if not data:
                    self._send(before)
                for chunk in chunks(flow, data):
                    if chunk is not None:
                        self._send(before + chunk)
                        before = b""
                    else:
                        await flow.room.heard()  # type: ignore[attr-defined]  # a TaskBell
                await _turn(0)  # it goes out now, however long the handler computes the next
        finally:
            if hasattr(source, "aclose"):
                await source.aclose()
            elif hasattr(source, "close"):
                source.close()

    def _failed(self, stream_id: int, exc: BaseException, log: CallLog, *, begun: bool = False) -> bytes:
        why = self._cancelled.get(stream_id)
        if why is not None and isinstance(exc, asyncio.CancelledError):
            return cancelled(stream_id, why, begun=begun)
        return self._invoker.fail(stream_id, exc, log, begun=begun)

    def _finished(self, stream_id: int) -> None:
        self._running.pop(stream_id, None)
        self._cancelled.pop(stream_id, None)
        if self._flows:
            self._flows.close(stream_id)
        while self._pending and len(self._running) < self._limit:
            frame, arrived = self._pending.popleft()
            if _monotonic() - arrived > frame[3] / 1000 > 0:
                self._flows.close(frame[2])
                self._send(cancelled(frame[2], "its time was over before its turn came"))
            else:
                self._start(frame, arrived)
        if self._draining and not self._ended:
            self._loop.call_soon(self._end_if_drained)

    def _cancel(self, stream_id: int, why: str) -> None:
        running = self._running.get(stream_id)
        if running is not None:
            self._cancelled[stream_id] = why
            running[0].add_done_callback(lambda _: self._answer_unbegun(stream_id, why))
            running[0].cancel()
            return
        for entry in list(self._pending):
            if entry[0][2] == stream_id:
                self._pending.remove(entry)
                self._flows.close(stream_id)
                self._send(cancelled(stream_id, why))

    def _answer_unbegun(self, stream_id: int, why: str) -> None:
        """A task that is cancelled before its first step never runs, so it cannot answer for itself."""
        if stream_id in self._running:
            self._finished(stream_id)
            self._send(cancelled(stream_id, why))

    def _schedule_sweep(self, deadline: float) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        # One timer for all calls, not one for each: a loop's clock is time.monotonic().
        self._sweep = self._loop.call_at(max(deadline, _monotonic() + SWEEP_S), self._look_at_deadlines)

    def _look_at_deadlines(self) -> None:
        self._sweep = None
        now = _monotonic()
        later = []
        for stream_id, (_, deadline) in list(self._running.items()):
            if deadline > now:
                later.append(deadline)
            elif stream_id not in self._cancelled:
                self._cancel(stream_id, "the time limit was reached")
        if later:
            self._schedule_sweep(min(later))

    def _send(self, frame: bytes) -> None:
        if self._ended:
            return
        self.stream.queue.append(frame)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        try:
            self.stream.flush()
        except OSError as exc:
            self._end(exc)

    def _end_if_drained(self) -> None:
        if not self._running and not self._pending:
            self._flush()
            self._end()
