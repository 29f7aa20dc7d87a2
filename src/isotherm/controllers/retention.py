"""Sweeps: forget old call records and log lines, unused packages; write down what is only counted so far."""

import asyncio
from collections.abc import Callable

import structlog

from isotherm.controllers.keep import jittered

__all__ = ["SweepController"]

_log = structlog.get_logger(__name__)


class SweepController:
    """`sweep` removes a bounded part of what is too old and says how many rows; it runs on a worker thread.

    While there is more it comes again after `busy_s`, otherwise after `idle_s`.
    """

    def __init__(self, name: str, sweep: Callable[[], int], *, idle_s: float = 60.0, busy_s: float = 1.0) -> None:
        self.name = name
        self._sweep = sweep
        self._idle_s = idle_s
        self._busy_s = busy_s

    async def run(self) -> None:
        """Until cancelled."""
        removed = 0
        while True:
            await asyncio.sleep(jittered(self._busy_s if removed else self._idle_s))
            removed = await asyncio.to_thread(self._sweep)
            if removed:
                _log.info("swept", what=self.name, removed=removed)
