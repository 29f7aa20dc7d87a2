"""Follows a pipe of text and keeps its end."""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import Callable

__all__ = ["OutputTail"]

_READ_BYTES = 64 * 1024
_DRAIN_TIMEOUT_S = 5.0


class OutputTail:
    """`text` is the last `keep` characters. Each piece goes to `on_output` as it comes."""

    def __init__(self, on_output: Callable[[str], None] | None = None, keep: int = 64 * 1024) -> None:
        self._on_output = on_output
        self._keep = keep
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._fd = -1
        self._ended = asyncio.Event()
        self.text = ""

    def follow(self, fd: int) -> None:
        """Read the non-blocking descriptor from now on; it is closed at its end."""
        self._fd = fd
        asyncio.get_running_loop().add_reader(fd, self._readable)

    async def finish(self) -> None:
        """Wait for the end of what was written, or let go of it in time."""
        if self._fd >= 0:
            try:
                async with asyncio.timeout(_DRAIN_TIMEOUT_S):
                    await self._ended.wait()
            except TimeoutError:
                self.close()

    def close(self) -> None:
        """Read what is there, and let go."""
        while self._fd >= 0 and self._read_piece():
            pass
        self._let_go()

    def _let_go(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._ended.set()

    def _readable(self) -> None:
        self._read_piece()

    def _read_piece(self) -> bool:
        """Whether there may be more."""
        try:
            piece = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        text = self._decoder.decode(piece, final=not piece)
        if text:
            self.text = (self.text + text)[-self._keep :]
            if self._on_output is not None:
                self._on_output(text)
        if not piece:
            self._let_go()
        return bool(piece)
