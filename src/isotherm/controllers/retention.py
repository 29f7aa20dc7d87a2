"""Sweeps: forget old call records, log lines and revisions, unused packages; write down what is only counted so far."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from isotherm.controllers.keep import jittered

__all__ = ["SweepController"]

_log = structlog.get_logger(__name__)


class SweepController:
    """`sweep` removes a bounded part of what is too old and says how many rows; it runs on a worker thread.

    While there is more it comes again after `busy_s`, otherwise after `idle_s`, or `busy_s` after it was `wake`d.
    """

    def __init__(self, name: str, sweep: Callable[[], int], *, idle_s: float = 60.0, busy_s: float = 1.0) -> None:
        self.name = name
        self._sweep = sweep
        self._idle_s = idle_s
        self._busy_s = busy_s
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def wake(self) -> None:
        """There may be something to sweep. Any thread; before `run` it is of no effect."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """Until cancelled."""
        self._loop = asyncio.get_running_loop()
        removed = 0
        while True:
            if not removed:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(jittered(self._idle_s) - self._busy_s):
                        await self._woken.wait()
            await asyncio.sleep(jittered(self._busy_s))
            self._woken.clear()
            removed = await asyncio.to_thread(self._sweep)
            if removed:
                _log.info("swept", what=self.name, removed=removed)
