"""The instance's end of its stream: whole frames in, queued frames out, one system call for as many as there are."""

from __future__ import annotations

import os
import select
import time
import weakref
from _thread import allocate_lock
from collections import deque

from isotherm_runtime.frames import HEADER, split_frames

__all__ = ["Frame", "Stream", "StreamBroken"]

Frame = tuple[int, int, int, int, bytes, bytes]  # kind, flags, stream, deadline_ms, head, body

READ_BYTES = 64 * 1024  # above this malloc maps pages afresh for every read
LARGE_READ_BYTES = 1024 * 1024
COALESCE_BYTES = 256 * 1024
QUEUE_LIMIT = 512  # frames queued before those who write logs have to wait

EXIT_FORKED = 73

_read, _write, _exit = os.read, os.write, os._exit  # bound early: the user's code may patch `os`
_sleep, _poll = time.sleep, select.poll


class StreamBroken(OSError):
    """The stream can be used no more: the host closed it, or the handler did."""


class Stream:
    """One thread reads at a time; any thread writes: append to `queue`, then `flush`.

    Uses the bare descriptor, in blocking mode. A forked child loses it: see `_in_child`.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, True)
        self.fd = fd
        self.queue: deque[bytes] = deque()
        self.broken = False
        self._forked = False
        self._writing = allocate_lock()
        self._rest = bytearray()
        self._needed = 0
        _streams.add(self)

    def read(self) -> list[Frame] | None:
        """Frames that have come whole, perhaps none; waits for bytes, not for frames. None at the end.

        Raises `frames.FrameError` or `OSError`.
        """
        if self._forked:
            _exit(EXIT_FORKED)
        rest = self._rest
        if not rest:
            data = _read(self.fd, READ_BYTES)
            if not data:
                return None
            frames, used = split_frames(data)
            if used != len(data):
                rest += data[used:]
                self._needed = _length_of_first(rest)
            return frames
        data = _read(self.fd, min(max(self._needed - len(rest), READ_BYTES), LARGE_READ_BYTES))
        if not data:
            return None
        rest += data
        if len(rest) < self._needed:
            return []
        frames, used = split_frames(rest)
        del rest[:used]
        self._needed = _length_of_first(rest)
        return frames

    def has_more(self, limit_s: float) -> bool:
        """Whether there is something to read, waited for at most so long."""
        poll = _poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(max(0.0, limit_s) * 1000))

    def send(self, frame: bytes) -> None:
        self.queue.append(frame)
        self.flush()

    def flush(self) -> None:
        """Write what is queued, or leave it to the thread that is writing. Never waits for a lock, so that a
        signal handler that prints cannot deadlock. Raises `StreamBroken`."""
        queue, writing = self.queue, self._writing
        while queue:
            if not writing.acquire(False):
                return  # the writer looks at the queue again after it let go of the lock
            try:
                self._drain()
            finally:
                writing.release()

    def finish(self, limit_s: float) -> None:
        """Wait until all that is queued is written, by whichever thread, or cannot be; then nothing more is.

        The descriptor may be closed afterwards: a thread that ends its call later writes to nobody.
        """
        if self._writing.acquire(timeout=limit_s):
            try:
                self._drain()
            except StreamBroken:
                return
            finally:
                self.broken, self.fd = True, -1
                self._writing.release()

    def wait_for_room(self, limit_s: float) -> None:
        """Give the writing thread time while the queue is long: the brake for those who write logs."""
        end = time.monotonic() + limit_s
        while len(self.queue) > QUEUE_LIMIT and not self.broken and time.monotonic() < end:
            self.flush()
            _sleep(0.001)

    def _drain(self) -> None:
        queue = self.queue
        if self._forked:
            _exit(EXIT_FORKED)
        if self.broken:
            queue.clear()
            raise StreamBroken("the stream to the host is broken")
        whole = False
        try:
            while queue:
                data = queue.popleft()
                if queue and len(data) < COALESCE_BYTES:
                    data = _join(data, queue)
                written = _write(self.fd, data)
                while written < len(data):
                    written += _write(self.fd, memoryview(data)[written:])
            whole = True
        except OSError as exc:
            raise StreamBroken(f"cannot write to the host: {exc.strerror}") from exc
        finally:
            if not whole:  # perhaps in the middle of a frame
                self.broken = True

    def _in_child(self) -> None:
        """In a process that the handler forked: leave the host's stream alone, and end where the handler returns.

        Such a child must not even unwind: it shares an event loop's epoll with the instance.
        """
        self.broken = self._forked = True
        self.queue.clear()
        self._writing = allocate_lock()
        try:
            os.close(self.fd)
        except OSError:
            return
        self.fd = -1


def _join(first: bytes, queue: deque[bytes]) -> bytes:
    parts, size = [first], len(first)
    while queue and size < COALESCE_BYTES:
        part = queue.popleft()
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _length_of_first(rest: bytearray) -> int:
    if len(rest) < HEADER.size:
        return HEADER.size
    length: int = HEADER.unpack_from(rest)[0]
    return HEADER.size + length


_streams: weakref.WeakSet[Stream] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for stream in list(_streams):
        stream._in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
