"""Sync handlers on several threads: leader and followers (docs/adr/0003-dispatch.md).

The leader reads frames and runs handlers itself, so a fast call costs no hand-over. When one runs for more than about
a millisecond, the watch makes a follower the leader; the old one finishes its call and becomes a follower.
"""

from __future__ import annotations

import threading
import time
from _thread import allocate_lock, get_ident
from collections import deque

from isotherm_runtime.frames import Flag, FrameError, Kind, pack_frame
from isotherm_runtime.invoke import Invoker, cancelled
from isotherm_runtime.stream import Frame, Stream
from isotherm_runtime.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from isotherm_runtime.flow import Bell

__all__ = ["Followers"]

SLOW_S = 0.0005  # a call that takes longer keeps the function in slow mode
HEAR_S = 1.0  # a thread that waits for frames of its call looks by itself this often
SLOW_CALLS = 16  # fast calls in a row that end slow mode
REQUEST, CANCEL, PING, DRAIN = int(Kind.REQUEST), int(Kind.CANCEL), int(Kind.PING), int(Kind.DRAIN)
MORE = int(Flag.MORE)
_monotonic = time.monotonic


class _Worker:
    """A thread's own state. `step` counts its calls; `busy` while it runs calls: what the watch compares."""

    __slots__ = ("busy", "has_slot", "ident", "step", "wake")

    def __init__(self) -> None:
        self.ident = 0
        self.busy = False
        self.has_slot = False
        self.step = 0
        self.wake = allocate_lock()
        self.wake.acquire()


class Followers:
    """Serves one stream. Plain attribute reads and writes and the deques' single operations are atomic in CPython
    and stand in for locks; `_reading` alone guards the stream's reader."""

    def __init__(
        self, stream: Stream, invoker: Invoker, concurrency: int, notice: Callable[[str], None] = lambda _: None
    ) -> None:
        self.stream = stream
        self._notice = notice
        self._run = invoker.run
        self._flows = invoker.flows
        self._concurrency = concurrency
        self._slots: deque[None] = deque([None] * concurrency)  # one is held by each thread that may run a handler
        self._pending: deque[tuple[Frame, float]] = deque()  # requests that came and have not begun
        self._idle: deque[_Worker] = deque()
        self._threads = 0
        self._reading = allocate_lock()
        self._starting = allocate_lock()
        self._slow = 0
        self._draining = False
        self._ended = False
        self._failure: BaseException | None = None
        self._seen: tuple[_Worker | None, int] = (None, 0)
        self._burst = 1
        self._complained = False
        self._main = self._leader = _Worker()
        invoker.waits = self

    def serve(self) -> int:
        """Serve until the stream's end or DRAIN; returns 0. Raises `OSError`, `FrameError`."""
        self._watch = Watch(self._tick)
        try:
            self._work(self._main)
        finally:
            self._ended = True
            self._watch.end()
            for worker in list(self._idle):
                _release(worker.wake)
        if self._failure is not None:
            raise self._failure
        return 0

    # Threads

    def _parked(self, me: _Worker) -> None:
        me.wake.acquire()
        self._work(me)

    def _work(self, me: _Worker) -> None:
        me.ident = get_ident()
        try:
            while not self._ended:
                if self._leader is me:
                    self._lead(me)
                else:
                    self._run_pending(me)
                me.busy = False
                self._let_go(me)
                if self._ended:
                    return
                self._idle.append(me)
                me.wake.acquire()  # until it is promoted or all ends; a parked thread costs nothing
        except BaseException as exc:  # noqa: BLE001 - handed to the main thread, which ends the instance
            self._end(exc)

    def _lead(self, me: _Worker) -> None:
        """Read and run until another thread leads, or there is nothing more to come."""
        stream = self.stream
        while not self._ended:
            if self._pending and not self._run_pending(me):
                return
            with self._reading:
                if self._leader is not me or self._ended:
                    return
                frames = stream.read()
                if frames is None:
                    self._end(None)
                    return
                self._sort(frames)
            if self._draining and not self._flows:
                self._run_pending(me)
                return

    def _run_pending(self, me: _Worker) -> bool:
        """Run what waits, where a slot is free; False where this thread stopped being the leader meanwhile."""
        pending, stream = self._pending, self.stream
        if not me.has_slot:
            try:
                self._slots.pop()
            except IndexError:
                return self._leader is me  # whoever gives a slot back looks at `pending` then
            me.has_slot = True
        me.busy = True
        if not self._watch.awake:
            self._watch.wake()
        led = self._leader is me
        while pending:
            try:
                frame, arrived = pending.popleft()
            except IndexError:
                break
            me.step += 1
            if self._slow:
                self._run_slow(me, frame, arrived)
            else:
                stream.queue.append(self._run(frame, arrived))
            if self._leader is not me:
                if led:
                    stream.flush()
                    return False
                stream.flush()
        me.busy = False
        stream.flush()
        return self._leader is me

    def _run_slow(self, me: _Worker, frame: Frame, arrived: float) -> None:
        """Hand over first, then run: in slow mode calls do not wait for the watch to notice."""
        if self._leader is me:
            self._promote()
        started = _monotonic()
        if started - arrived > frame[3] / 1000 > 0:
            self.stream.queue.append(cancelled(frame[2], "its time was over before its turn came"))
            self._flows.close(frame[2])
            return
        self.stream.queue.append(self._run(frame, arrived))
        self._slow = SLOW_CALLS if _monotonic() - started > SLOW_S else max(0, self._slow - 1)

    def _let_go(self, me: _Worker) -> None:
        """Give the slot back, then look again at what may have come while it was held."""
        while me.has_slot:
            me.has_slot = False
            self._slots.append(None)
            if self._pending:
                self._run_pending(me)
                me.busy = False
        if self._draining and not self._pending and len(self._slots) == self._concurrency:
            self._end(None)

    # Frames

    def _sort(self, frames: list[Frame]) -> None:
        """Put requests into the queue; answer or obey the rest."""
        pending, arrived = self._pending, _monotonic()
        for frame in frames:
            kind = frame[0]
            if kind == REQUEST:
                if frame[1] & MORE:
                    self._flows.open(frame[2])  # its CHUNK frames may come before its turn
                pending.append((frame, arrived))
            elif kind == PING:
                self.stream.send(pack_frame(PING, frame[2]))
            elif kind == CANCEL:
                self._flows.take(frame)
                self._cancel(frame[2])
            elif kind == DRAIN:
                self._draining = True
            else:
                self._flows.take(frame)

    def _cancel(self, stream_id: int) -> None:
        """A call that has not begun is dropped; a running thread cannot be stopped, and its answer is sent as ever,
        but one that sends pieces stops at the next."""
        for entry in list(self._pending):
            if entry[0][2] == stream_id:
                try:
                    self._pending.remove(entry)
                except (ValueError, IndexError):
                    return  # it began just now
                self._flows.close(stream_id)
                self.stream.send(cancelled(stream_id, "cancelled before its turn came"))
                return

    # Calls with streamed bodies

    def wait(self, bell: Bell, ready: Callable[[], bool], until: float) -> None:
        """See `invoke.Waits`. Whoever leads reads; a leader that has to wait hands over first."""
        while not ready():
            left = until - _monotonic()
            if left <= 0:
                return
            if self._leader.ident == get_ident() and not self._promote():
                self._read_alone(left)
            else:
                bell.wait(min(left, HEAR_S))

    def look(self) -> None:
        """See `invoke.Waits`: the leader reads, and a call that lasts has handed over to one."""

    def settle(self) -> None:
        """See `invoke.Waits`: only the leader reads."""

    def _read_alone(self, limit_s: float) -> None:
        """Read as the leader in the middle of a call, because there is no other thread to do it."""
        with self._reading:
            if not self.stream.has_more(min(limit_s, HEAR_S)):
                return
            frames = self.stream.read()
        if frames is None:
            self._end(None)
            raise EOFError("the host has closed the stream")
        self._sort(frames)

    # Leadership

    def _tick(self) -> bool:
        """The watch's look: flush what waits, and replace a leader who has been in one call since the last look."""
        try:
            if self.stream.queue:
                self.stream.flush()
        except OSError as exc:
            self._end(exc)
        leader = self._leader
        if not leader.busy:
            self._burst = 1
            return bool(self.stream.queue)
        seen = (leader, leader.step)
        if seen == self._seen:
            self._slow = SLOW_CALLS
            for _ in range(min(self._burst, max(1, len(self._pending)))):
                self._promote()
            self._burst *= 2
        else:
            self._burst = 1
        self._seen = seen
        return True

    def _promote(self) -> bool:
        """Make a parked thread, or a new one, the leader; False where there is none. One thread more than handlers may
        run: it reads."""
        try:
            worker = self._idle.pop()
        except IndexError:
            found = self._start_thread()
            if found is None:
                return False
            worker = found
        self._leader = worker
        worker.wake.release()
        return True

    def _start_thread(self) -> _Worker | None:
        """A new thread, parked; None where there are enough, or the instance may have no more."""
        with self._starting:
            if self._threads >= self._concurrency:
                return None
            worker = _Worker()
            name = f"isotherm-{self._threads + 1}"
            try:
                threading.Thread(target=self._parked, args=(worker,), name=name, daemon=True).start()
            except Exception as exc:  # noqa: BLE001 - no memory, no process left, or the user's code broke `threading`
                self._complain(exc)
                return None
            self._threads += 1
            return worker

    def _complain(self, exc: Exception) -> None:
        """Once: calls now wait for each other, and the reason is in the instance's log."""
        if not self._complained:
            self._complained = True
            text = f"cannot start a thread for calls beside each other ({exc}): is the limit of processes too low?\n"
            self._notice(text)

    def _end(self, failure: BaseException | None) -> None:
        if not self._ended:
            self._failure = failure
            self._ended = True
        _release(self._main.wake)


def _release(lock: object) -> None:
    try:
        lock.release()  # type: ignore[attr-defined]  # a lock's type has no public name before 3.13
    except RuntimeError:
        return  # it was not held: nobody waits


__all__ += ["FrameError"]
