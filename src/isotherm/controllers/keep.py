"""Keeps a controller running: after an unexpected failure, which is logged, it starts again with a jittered wait."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

__all__ = ["jittered", "keep_running"]

_log = structlog.get_logger(__name__)
_longest_wait_s = 30.0


def jittered(seconds: float) -> float:
    """`seconds` give or take a fifth, so that many waits do not end together."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 (spreads load, guards nothing)


async def keep_running(name: str, run: Callable[[], Awaitable[None]], *, first_wait_s: float = 0.5) -> None:
    """Until cancelled. The wait doubles with each failure in a row and is forgotten after a minute without one."""
    loop = asyncio.get_running_loop()
    wait_s = first_wait_s
    while True:
        began = loop.time()
        try:
            await run()
            return
        except Exception:  # noqa: BLE001 (whatever it was, the process must go on and try again)
            _log.exception("a controller failed and starts again", controller=name)
        wait_s = first_wait_s if loop.time() - began > 60 else min(wait_s * 2, _longest_wait_s)
        await asyncio.sleep(jittered(wait_s))
