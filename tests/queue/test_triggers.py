"""Schedules: each due time is queued exactly once, over restarts, failed writes and a clock that is set back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from isotherm.base.clock import ManualClock
from isotherm.queue.triggers import Triggers
from isotherm.wire.desired import CronSpec, RevisionSpec
from tests.queue.conftest import Bench, until
from tests.queue.stores import Stores

MINUTE_S = 60.0


class Scheduled(Bench):
    """A bench whose triggers go by a clock that the test moves."""

    def __init__(self, folder: Path, stores: Stores, clock: ManualClock, host: str = "host_first") -> None:
        super().__init__(folder, stores, host)
        self.bench.folder = folder / f"code-{id(self)}"
        self.clock = clock
        self.triggers = Triggers(self.queue, clock, "local")

    def scheduled(self, name: str = "job", **cron: Any) -> RevisionSpec:
        spec = self.function(name)
        values = {"name": "c", "schedule": "* * * * *"} | cron
        self.route(spec, crons=[CronSpec(**values)])
        route = self.routes.find("default", name)
        assert route is not None
        self.triggers.put(route.spec)
        return spec

    async def look(self, skip_s: float = 0.0) -> None:
        """Some time passes, and the triggers are looked at until nothing of them is being written."""
        self.clock.advance(skip_s)
        for _ in range(3):
            self.triggers.tick()
            await self.queue.writer.write(lambda _: None)

    async def events(self, name: str = "job") -> list[Any]:
        """What the schedule has called with, the oldest first, once all of it has run."""

        async def settled() -> bool:
            queues = (await self.overview()).queues
            return not any(queue.queued or queue.running for queue in queues)

        await until(settled, lambda: "the queue to be empty")
        calls = (await self.calls(name)).calls
        assert {call.source for call in calls} <= {"cron"}
        return [await self.result(call.id) for call in reversed(calls)]


@pytest.fixture
async def bench(tmp_path: Path, stores: Stores) -> AsyncIterator[Scheduled]:
    found = Scheduled(tmp_path, stores, ManualClock())
    await found.start()
    yield found
    await found.stop()


async def test_a_schedule_wakes_a_function_that_sleeps_at_each_of_its_times(bench: Scheduled) -> None:
    bench.scheduled(event={"n": 1})
    await bench.look()
    assert bench.bench.driver.instances == []
    assert await bench.events() == []
    for _ in range(3):
        await bench.look(MINUTE_S)
    assert await bench.events() == [{"n": 1}] * 3


async def test_without_an_event_it_says_which_time_and_schedule_it_is(bench: Scheduled) -> None:
    bench.scheduled()
    await bench.look()
    await bench.look(MINUTE_S)
    (event,) = await bench.events()
    assert (event["detail-type"], event["source"], event["time"]) == (
        "Scheduled Event",
        "isotherm.cron",
        "2023-11-14T22:14:00Z",
    )
    assert event["resources"] == ["job/c"]


@pytest.mark.parametrize(("missed", "made_up_for"), [("skip", 0), ("once", 1), ("all", 59)])
async def test_times_that_passed_while_nobody_looked_are_dealt_with_by_the_policy(
    bench: Scheduled, missed: str, made_up_for: int
) -> None:
    bench.scheduled(missed=missed)
    await bench.look()
    await bench.look(3600.0)
    assert len(await bench.events()) == made_up_for + 1  # and the one that is due now


async def test_a_restart_makes_up_for_what_was_missed_and_repeats_nothing(tmp_path: Path, stores: Stores) -> None:
    clock = ManualClock()
    first = Scheduled(tmp_path, stores, clock)
    await first.start()
    first.scheduled()
    await first.look()
    await first.look(MINUTE_S)
    assert len(await first.events()) == 1
    await first.stop()
    second = Scheduled(tmp_path, stores, clock)
    await second.start()
    second.scheduled()
    await second.look()
    assert len(await second.events()) == 1
    await second.look(10 * MINUTE_S)
    assert len(await second.events()) == 3  # the last that was missed, and the one that is due
    await second.stop()


async def test_a_changed_schedule_begins_now_and_an_unchanged_one_goes_on(bench: Scheduled) -> None:
    bench.scheduled()
    await bench.look()
    await bench.look(MINUTE_S)
    bench.scheduled()  # deployed again as it was
    await bench.look(MINUTE_S)
    bench.scheduled(schedule="*/2 * * * *")
    await bench.look()
    assert len(await bench.events()) == 2
    await bench.look(2 * MINUTE_S)
    assert len(await bench.events()) == 3


async def test_jitter_puts_calls_off_within_its_bound_and_the_same_way_each_time(bench: Scheduled) -> None:
    bench.scheduled(jitter_s=30.0)
    (trigger,) = bench.triggers._crons["wl_job"]
    offsets = [trigger.call("x", at, "local").due_at_ms - at for at in range(0, 100 * 60_000, 60_000)]
    assert all(0 <= offset <= 30_000 for offset in offsets)
    assert len(set(offsets)) > 90
    assert [trigger.call("y", at, "local").due_at_ms - at for at in range(0, 100 * 60_000, 60_000)] == offsets


async def test_a_clock_set_back_an_hour_repeats_nothing_and_goes_on_by_itself(bench: Scheduled) -> None:
    bench.scheduled()
    await bench.look()
    await bench.look(MINUTE_S)
    await bench.look(-3600.0)
    await bench.look(3600.0 - MINUTE_S)
    assert len(await bench.events()) == 1
    await bench.look(2 * MINUTE_S)
    assert len(await bench.events()) == 2


async def test_a_clock_that_was_years_ahead_stops_no_schedule_for_years(bench: Scheduled) -> None:
    bench.scheduled(missed="skip")
    await bench.look()
    await bench.look(2 * 365 * 86400.0)
    await bench.look(-2 * 365 * 86400.0)
    before = len(await bench.events())
    await bench.look(2 * MINUTE_S)
    assert len(await bench.events()) == before + 1


async def test_a_time_that_could_not_be_written_is_written_later_once(bench: Scheduled) -> None:
    bench.scheduled()
    await bench.look()
    bench.queue.used_bytes = bench.queue.limits.max_bytes
    await bench.look(MINUTE_S)
    assert await bench.events() == []
    bench.queue.used_bytes = 0
    await bench.look()
    assert len(await bench.events()) == 1


async def test_positions_of_triggers_that_are_gone_are_forgotten(bench: Scheduled) -> None:
    bench.scheduled("kept")
    bench.scheduled("gone")
    await bench.look()
    (gone,) = bench.triggers._crons["wl_gone"]
    (kept,) = bench.triggers._crons["wl_kept"]
    bench.triggers.remove("wl_gone")
    bench.triggers.sweep()

    def positions(store: Any) -> list[int | None]:
        return [store.position(trigger.key) for trigger in (gone, kept)]

    found = await bench.queue.writer.write(positions)
    assert found[0] is None
    assert found[1] is not None
    await asyncio.sleep(0)
