"""Controllers are kept running; a sweep goes on while there is more."""

import asyncio

import pytest

from isotherm.controllers.keep import jittered, keep_running
from isotherm.controllers.retention import SweepController


async def test_a_controller_that_fails_starts_again() -> None:
    starts: list[int] = []

    async def run() -> None:
        starts.append(len(starts))
        if len(starts) < 3:
            raise OSError("the disk is full")

    await asyncio.wait_for(keep_running("test", run, first_wait_s=0.001), 10)
    assert starts == [0, 1, 2]


async def test_cancelling_ends_it() -> None:
    task = asyncio.create_task(keep_running("test", lambda: asyncio.sleep(3600)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_sweep_goes_on_while_there_is_more() -> None:
    rows = [500, 500, 0]
    swept = asyncio.Event()

    def sweep() -> int:
        if not rows:
            return 0
        removed = rows.pop(0)
        if not rows:
            loop.call_soon_threadsafe(swept.set)
        return removed

    loop = asyncio.get_running_loop()
    task = asyncio.create_task(SweepController("rows", sweep, idle_s=0.001, busy_s=0.001).run())
    await asyncio.wait_for(swept.wait(), 10)
    task.cancel()


async def test_a_sweep_that_is_woken_does_not_wait_until_it_would_come_by_itself() -> None:
    swept = asyncio.Event()
    loop = asyncio.get_running_loop()

    def sweep() -> int:
        loop.call_soon_threadsafe(swept.set)
        return 0

    controller = SweepController("rows", sweep, idle_s=3600.0, busy_s=0.001)
    controller.wake()  # before it runs: of no effect, and no error
    task = asyncio.create_task(controller.run())
    await asyncio.sleep(0.02)
    assert not swept.is_set()
    await asyncio.to_thread(controller.wake)
    await asyncio.wait_for(swept.wait(), 10)
    task.cancel()


def test_jitter_stays_within_a_fifth() -> None:
    assert all(0.8 <= jittered(1.0) <= 1.2 for _ in range(1000))
