"""One call at a time, in order, all on one thread."""

from __future__ import annotations

import time
from _thread import allocate_lock
from collections import deque

from isotherm_runtime.frames import Flag, Kind, pack_frame
from isotherm_runtime.invoke import Invoker, cancelled
from isotherm_runtime.stream import Frame, Stream
from isotherm_runtime.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from isotherm_runtime.flow import Bell

__all__ = ["Serial"]

FLUSH_AFTER_S = 0.0005  # answers wait this long for company
LOOK_AFTER_S = 0.01  # a call that sends pieces looks this often whether anyone still wants them
SLICE_S = 0.05  # one thread waits for frames at a time, and lets another have its turn this often
REQUEST, CANCEL, PING, DRAIN = int(Kind.REQUEST), int(Kind.CANCEL), int(Kind.PING), int(Kind.DRAIN)
MORE = int(Flag.MORE)
_monotonic = time.monotonic


class Serial:
    """Serves one stream. While a call waits for frames of its own it reads the stream itself; what comes meanwhile for
    others is `_later`."""

    def __init__(self, stream: Stream, invoker: Invoker, concurrency: int) -> None:
        self.stream = stream
        self._invoker = invoker
        self._concurrency = concurrency
        self._later: deque[tuple[list[Frame] | None, float]] = deque()  # with when they came; None: the stream's end
        self._reading = allocate_lock()
        self._looked = 0.0
        invoker.waits = self

    def serve(self) -> int:
        """Serve until the stream's end or DRAIN; returns 0. Raises `OSError` and `FrameError`."""
        # Where several calls can come at once, answers must not wait for a slow call that came with theirs.
        watch = Watch(lambda: _flush(self.stream)) if self._concurrency > 1 else None
        stream, later, flows = self.stream, self._later, self._invoker.flows
        try:
            while True:
                if later:
                    frames, arrived = later.popleft()
                else:
                    frames, arrived = stream.read(), _monotonic()
                    if frames is not None and (len(frames) > 1 or flows):
                        self._sort(frames)
                if frames is None:
                    return 0
                if len(frames) > 1 and watch is not None and not watch.awake:
                    watch.wake()
                if self._run_all(frames, arrived):
                    return 0
        finally:
            if watch is not None:
                watch.end()

    def _run_all(self, frames: list[Frame], arrived: float) -> bool:
        """Run what came together; True at DRAIN. A call whose deadline passed before its turn is not begun."""
        stream = self.stream
        queue, run = stream.queue, self._invoker.run
        now = flushed = _monotonic()
        dropped = {frame[2] for frame in frames if frame[0] == CANCEL} if len(frames) > 1 else ()
        for frame in frames:
            kind = frame[0]
            if kind == REQUEST:
                if frame[2] in dropped or now - arrived > frame[3] / 1000 > 0:
                    queue.append(cancelled(frame[2], "its time was over before its turn came"))
                    self._invoker.flows.close(frame[2])
                    continue
                queue.append(run(frame, arrived))
                now = _monotonic()
                if now - flushed > FLUSH_AFTER_S:
                    stream.flush()
                    flushed = now
            elif kind == PING:
                queue.append(pack_frame(PING, frame[2]))
            elif kind == DRAIN:
                stream.flush()
                return True
        stream.flush()
        return False

    # Calls with streamed bodies

    def wait(self, bell: Bell, ready: Callable[[], bool], until: float) -> None:
        """See `invoke.Waits`. One thread reads for all that wait."""
        while not ready():
            left = until - _monotonic()
            if left <= 0:
                return
            if not self._reading.acquire(False):
                bell.wait(min(left, SLICE_S))
                continue
            try:
                if not ready() and self.stream.has_more(min(left, SLICE_S)):
                    self._read_beside()
            finally:
                self._reading.release()

    def look(self) -> None:
        """See `invoke.Waits`."""
        now = _monotonic()
        if now - self._looked > LOOK_AFTER_S and self._reading.acquire(False):
            self._looked = now
            try:
                while self.stream.has_more(0.0):
                    self._read_beside()
            finally:
                self._reading.release()

    def settle(self) -> None:
        """See `invoke.Waits`."""
        with self._reading:
            return

    def _read_beside(self) -> None:
        """Read while a call runs: its own frames reach it, all others have to wait."""
        frames = self.stream.read()
        if frames is None:
            self._later.append((None, 0.0))
            raise EOFError("the host has closed the stream")
        self._sort(frames)
        if any(frame[0] in (REQUEST, PING, DRAIN, CANCEL) for frame in frames):
            self._later.append((frames, _monotonic()))

    def _sort(self, frames: list[Frame]) -> None:
        """Hand out what belongs to streamed bodies, also to those of calls whose turn has not come."""
        flows = self._invoker.flows
        for frame in frames:
            kind = frame[0]
            if kind == REQUEST:
                if frame[1] & MORE:
                    flows.open(frame[2])
            elif flows:
                flows.take(frame)


def _flush(stream: Stream) -> bool:
    if not stream.queue:
        return False
    try:
        stream.flush()
    except OSError:
        return False  # the serving thread sees it too
    return True
