"""What an instance prints past Python (its raw stdout and stderr): read from its pipe, cut into lines, bounded."""

import asyncio
import contextlib
import os
from collections.abc import Callable

__all__ = ["OutputReader"]

MAX_LINE_BYTES = 16 * 1024
READ_BYTES = 64 * 1024
BURST_BYTES = 1024 * 1024  # kept of one instance at once; refilled at `RATE_BYTES_S`
RATE_BYTES_S = 64 * 1024


class OutputReader:
    """Reads one pipe until its end. `on_line` gets each line; `on_dropped` how many were over the rate."""

    def __init__(
        self,
        descriptor: int,
        on_line: Callable[[str], None],
        on_dropped: Callable[[int], None],
        now: Callable[[], float],
    ) -> None:
        self._descriptor = descriptor
        self._on_line = on_line
        self._on_dropped = on_dropped
        self._now = now
        self._rest = b""
        self._tokens = float(BURST_BYTES)
        self._filled_s = now()
        self._loop = asyncio.get_running_loop()
        self._open = True
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._readable)

    def close(self) -> None:
        """Hand out what is left and close the descriptor."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._descriptor)
        with contextlib.suppress(OSError):
            self._take(os.read(self._descriptor, READ_BYTES))
        os.close(self._descriptor)
        if self._rest:
            self._on_line(self._rest.decode("utf-8", "replace"))
            self._rest = b""

    def _readable(self) -> None:
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        now_s = self._now()
        self._tokens = min(float(BURST_BYTES), self._tokens + (now_s - self._filled_s) * RATE_BYTES_S)
        self._filled_s = now_s
        if len(data) > self._tokens:
            self._on_dropped(data.count(b"\n") or 1)
            self._rest = b""
            return
        self._tokens -= len(data)
        *lines, rest = (self._rest + data).split(b"\n")
        while len(rest) > MAX_LINE_BYTES:
            lines.append(rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        self._rest = rest
        for line in lines:
            if line:
                self._on_line(line[:MAX_LINE_BYTES].decode("utf-8", "replace"))
