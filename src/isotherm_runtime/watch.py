"""A thread that looks after the serving threads each millisecond while there is work, and sleeps otherwise."""

from __future__ import annotations

import time
from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Watch"]

TICK_S = 0.001
QUIET_TICKS = 20  # ticks without work before it goes to sleep; waking it costs the serving thread about 5 µs

_sleep = time.sleep


class Watch:
    """Calls `tick` while `awake`; `tick` returns whether there was work. Threads set up their work, then look at
    `awake` and call `wake`; the watch clears `awake`, then calls `tick` once more: so no work is overlooked."""

    def __init__(self, tick: Callable[[], bool]) -> None:
        self.awake = False
        self._tick = tick
        self._gate = allocate_lock()
        self._gate.acquire()
        self._ended = False
        start_new_thread(self._run, ())

    def wake(self) -> None:
        self.awake = True
        try:
            self._gate.release()
        except RuntimeError:
            return  # another thread woke it at the same moment

    def end(self) -> None:
        self._ended = True
        self.wake()

    def _run(self) -> None:
        while not self._ended:
            try:
                self._look_after()
            except BaseException:  # noqa: BLE001, S112 - thrown in by the user's code; calls would hang
                continue

    def _look_after(self) -> None:
        while not self._ended:
            quiet = 0
            while quiet < QUIET_TICKS and not self._ended:
                _sleep(TICK_S)
                quiet = 0 if self._tick() else quiet + 1
            self.awake = False
            if self._ended or self._tick():
                self.awake = True
                continue
            self._gate.acquire()  # without a time limit: this is the sleep without cost
