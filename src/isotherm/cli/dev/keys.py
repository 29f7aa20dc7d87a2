"""What the developer types: single keys at a terminal, lines otherwise. Each line is an event to invoke with."""

import contextlib
import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable
from typing import Any

__all__ = ["Keys"]

LOOK_S = 0.2
MAX_LINE_BYTES = 6 * 1024 * 1024


class Keys:
    """A thread that reads standard input. Use as a context: leaving it gives the terminal back as it was."""

    def __init__(self, on_key: Callable[[str], None], on_line: Callable[[bytes], None]) -> None:
        self._on_key = on_key
        self._on_line = on_line
        self._fd = sys.stdin.fileno() if sys.stdin is not None and not sys.stdin.closed else -1
        self._terminal = self._fd >= 0 and os.isatty(self._fd)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keys", daemon=True)
        self._former: Any = None  # as `termios` gives it

    @property
    def terminal(self) -> bool:
        return self._terminal

    def __enter__(self) -> "Keys":
        if self._terminal:
            self._former = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
        if self._fd >= 0:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5 * LOOK_S)
        if self._former is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._former)

    def _run(self) -> None:
        rest = b""
        while not self._stop.is_set():
            if not select.select([self._fd], [], [], LOOK_S)[0]:
                continue
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                return  # a terminal that was hung up
            if not data:
                if rest.strip():
                    self._on_line(rest)
                return
            if self._terminal:
                for key in data.decode("utf-8", "ignore"):
                    self._on_key(key)
                continue
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.strip():
                    self._on_line(line)
            if len(rest) > MAX_LINE_BYTES:
                return
