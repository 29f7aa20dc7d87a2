"""One call at a time, in order, all on one thread."""

from __future__ import annotations

import time

from isotherm_runtime.frames import Kind, pack_frame
from isotherm_runtime.invoke import Invoker, cancelled
from isotherm_runtime.stream import Frame, Stream
from isotherm_runtime.watch import Watch

__all__ = ["serve_serial"]

FLUSH_AFTER_S = 0.0005  # answers wait this long for company
REQUEST, CANCEL, PING, DRAIN = int(Kind.REQUEST), int(Kind.CANCEL), int(Kind.PING), int(Kind.DRAIN)
_monotonic = time.monotonic


def serve_serial(stream: Stream, invoker: Invoker, concurrency: int) -> int:
    """Serve until the stream's end or DRAIN; returns 0. Raises `OSError` and `FrameError`."""
    # Where several calls can come at once, answers must not wait for a slow call that came with theirs.
    watch = Watch(lambda: _flush(stream)) if concurrency > 1 else None
    try:
        while True:
            frames = stream.read()
            if frames is None:
                return 0
            if len(frames) > 1 and watch is not None and not watch.awake:
                watch.wake()
            if _run_all(frames, stream, invoker):
                return 0
    finally:
        if watch is not None:
            watch.end()


def _run_all(frames: list[Frame], stream: Stream, invoker: Invoker) -> bool:
    """Run what came together; True at DRAIN. A call whose deadline passed before its turn is not begun."""
    queue, run = stream.queue, invoker.run
    now = flushed = arrived = _monotonic()
    dropped = {frame[2] for frame in frames if frame[0] == CANCEL} if len(frames) > 1 else ()
    for frame in frames:
        kind = frame[0]
        if kind == REQUEST:
            if frame[2] in dropped or now - arrived > frame[3] / 1000 > 0:
                queue.append(cancelled(frame[2], "its time was over before its turn came"))
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


def _flush(stream: Stream) -> bool:
    if not stream.queue:
        return False
    try:
        stream.flush()
    except OSError:
        return False  # the serving thread sees it too
    return True
