"""The rollout controller over real rooms and a scripted host: warm, step, watch, go back; and deaths in the middle."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from isotherm.base.errors import Unavailable
from isotherm.bus.board import HostBoard
from isotherm.bus.latest import Latest
from isotherm.controllers.link import LinkServer
from isotherm.controllers.rollouts import RolloutController
from isotherm.functions.model import FunctionConfig
from isotherm.wire.link import Order, Reply
from isotherm.wire.telemetry import LATENCY_BUCKETS_MS, Batch, MinuteAggregate, WorkloadState
from isotherm.workloads.model import Weight
from isotherm.workloads.rollout_model import Reading, RolloutPlan, RolloutRow
from tests.controllers.hosts import ScriptedHost, connect, unix_listener
from tests.databases import Databases
from tests.house import House, open_house

CANARY = RolloutPlan(strategy="canary", steps=(10, 50, 100), step_s=5, max_step_s=50, min_samples=50)


@dataclass
class Counted:
    """What hosts have reported, by revision."""

    minutes: dict[str, list[MinuteAggregate]] = field(default_factory=dict)

    def add(self, revision_id: str, minute: int, calls: int, errors: int = 0, latency_ms: float = 2) -> None:
        latency = [0] * (len(LATENCY_BUCKETS_MS) + 1)
        latency[LATENCY_BUCKETS_MS.index(latency_ms)] = calls
        self.minutes.setdefault(revision_id, []).append(
            MinuteAggregate(
                namespace="default",
                name="hello",
                revision_id=revision_id,
                minute=minute,
                count=calls,
                outcomes={"ok": calls - errors} | ({"handler_error": errors} if errors else {}),
                cold={},
                latency=latency,
                total_ms=calls * latency_ms,
                run_ms=calls * latency_ms,
                queue_ms=0,
            )
        )

    def __call__(self, revision_id: str, *, since_minute: int) -> list[MinuteAggregate]:
        return [each for each in self.minutes.get(revision_id, []) if each.minute >= since_minute]


@dataclass
class Stage:
    """One life of a control process's rollout controller, and a host that does every order."""

    house: House
    path: str
    controller: RolloutController
    counted: Counted
    readings: Latest[str, Reading]
    board: HostBoard
    orders: list[Order] = field(default_factory=list)
    host: ScriptedHost | None = None
    slow: bool = False  # the host does not answer orders to prepare any more

    @property
    def live(self) -> list[Weight]:
        return self.house.functions.alias(self.house.admin, "default", "hello", "live").weights

    def row(self, rollout_id: str) -> RolloutRow:
        return self.house.rollouts.get(self.house.admin, "default", "hello", rollout_id)

    def calls(self, number: int, calls: int, errors: int = 0, latency_ms: float = 2) -> None:
        """Hosts report more calls of a revision."""
        revision = self.house.functions.revision(self.house.admin, "default", "hello", number)
        self.counted.add(revision.id, self.house.clock.time_ms() // 60_000, calls, errors, latency_ms)

    async def until(self, condition: object, what: str) -> None:
        """Poll on a thread until it holds: the database may not be read on the loop."""
        assert callable(condition)
        async with asyncio.timeout(10):
            while not await asyncio.to_thread(condition):
                self.controller.look()
                await asyncio.sleep(0.005)

    async def steps_to(self, rollout_id: str, step: int) -> None:
        await self.until(lambda: self.row(rollout_id).step == step, f"step {step}")

    async def ends(self, rollout_id: str) -> RolloutRow:
        await self.until(lambda: self.row(rollout_id).state != "open", "the end")
        return await asyncio.to_thread(self.row, rollout_id)

    async def reading(self, rollout_id: str) -> Reading:
        await self.until(lambda: self.readings.get(rollout_id) is not None, "a reading")
        found = self.readings.get(rollout_id)
        assert found is not None
        return found


@pytest.fixture
def house(tmp_path: Path, databases: Databases) -> Iterator[House]:
    """With revisions 1 and 2 of `hello` ready, and `live` at 1."""
    opened = open_house(tmp_path, databases)
    opened.deploy_ready(memory_mb=64)
    opened.deploy_ready(memory_mb=65)
    opened.functions.rollback(opened.admin, "default", "hello")
    yield opened
    opened.database.close()


@asynccontextmanager
async def control(house: House, counted: Counted, *, host: bool = True, fails: int = 0) -> AsyncIterator[Stage]:
    """Leaving it is what the death of control does. The host fails its first `fails` orders to prepare."""
    board, readings = HostBoard(), Latest[str, Reading]()
    with ThreadPoolExecutor(1) as pool:
        link = LinkServer(
            source=house.feed,
            ingest=lambda batch: True,
            board=board,
            on_logs=lambda lines: None,
            store_on=pool,
            clock=house.clock,
            isotherm_version="1.0",
            poll_s=0.05,
        )
        controller = RolloutController(
            rollouts=house.rollouts,
            minutes=counted,
            link=link,
            board=board,
            readings=readings,
            clock=house.clock,
            tick_s=0.01,
        )
        async with unix_listener() as (listener, path):
            stage = Stage(house, path, controller, counted, readings, board)
            tasks = [asyncio.create_task(link.serve(listener)), asyncio.create_task(controller.run())]
            if host:
                stage.host = await connect(path, epoch=house.feed.epoch, version=0)
                tasks.append(asyncio.create_task(obey(stage, stage.host, fails)))
            try:
                yield stage
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def obey(stage: Stage, host: ScriptedHost, fails: int) -> None:
    while True:
        try:
            order = await host.take(Order)
        except TimeoutError:
            continue
        problem = None
        if order.verb == "prepare":
            stage.orders.append(order)
            if stage.slow:
                continue
            problem = Unavailable("no memory").problem() if len(stage.orders) <= fails else None
        with contextlib.suppress(ConnectionError):
            await host.send(Reply(order_id=order.id, problem=problem, result={"template": True}))


async def start(house: House, plan: RolloutPlan) -> str:
    return (await asyncio.to_thread(house.rollouts.start, house.admin, "default", "hello", 2, plan)).id


async def test_a_canary_goes_step_by_step_and_is_warm_before_each(house: House) -> None:
    async with control(house, Counted()) as stage:
        rollout_id = await start(house, CANARY)
        await stage.steps_to(rollout_id, 1)
        assert await asyncio.to_thread(lambda: stage.live) == [Weight(1, 0.9), Weight(2, 0.1)]
        assert [(order.revision.number, order.instances) for order in stage.orders if order.revision] == [(2, 1)]
        await asyncio.to_thread(stage.calls, 1, 900)
        await asyncio.to_thread(stage.calls, 2, 100)
        assert (await stage.reading(rollout_id)).threshold == 2 * 3 / 0.01
        house.clock.advance(5)
        await stage.steps_to(rollout_id, 2)
        assert await asyncio.to_thread(lambda: stage.live) == [Weight(1, 0.5), Weight(2, 0.5)]
        house.clock.advance(30)  # calls of the former step do not count in this one
        await asyncio.sleep(0.1)
        assert (await asyncio.to_thread(stage.row, rollout_id)).step == 2
        await asyncio.to_thread(stage.calls, 1, 60)
        await asyncio.to_thread(stage.calls, 2, 60)
        ended = await stage.ends(rollout_id)
    assert (ended.state, ended.step) == ("finished", 3)
    assert await asyncio.to_thread(lambda: stage.live) == [Weight(2, 1.0)]
    assert len(stage.orders) == 3
    kinds = await asyncio.to_thread(house.kinds)
    assert [kind for kind in kinds if "rollout" in kind] == [
        "workload.rollout_started",
        *["workload.rollout_stepped"] * 3,
        "workload.rollout_finished",
    ]


async def test_as_many_instances_are_started_as_the_share_of_the_old_ones_needs(house: House) -> None:
    async with control(house, Counted()) as stage:
        assert stage.host is not None
        old = await asyncio.to_thread(house.functions.revision, house.admin, "default", "hello", 1)
        state = WorkloadState(
            namespace="default",
            name="hello",
            revision_id=old.id,
            temperatures={"hot": 5, "warm": 2, "spare": 1, "template": 1},
            memory_bytes=1,
            cpu_s=0.0,
            queued=0,
        )
        await stage.host.send_batch(Batch(host_id="host_1", boot_id="boot_1", sequence=1, sent_at_ms=1, states=[state]))
        await stage.until(lambda: stage.board.live_instances("host_1", "default", "hello") == 7, "what the host holds")
        rollout_id = await start(house, RolloutPlan())
        await stage.ends(rollout_id)
    assert [order.instances for order in stage.orders] == [7]


async def test_one_that_fails_goes_back_by_itself_and_the_event_has_the_evidence(house: House) -> None:
    async with control(house, Counted()) as stage:
        rollout_id = await start(house, CANARY)
        await stage.steps_to(rollout_id, 1)
        await asyncio.to_thread(stage.calls, 1, 900, 1)
        await asyncio.to_thread(stage.calls, 2, 60, 30)
        ended = await stage.ends(rollout_id)
    assert (ended.state, ended.rule) == ("rolled_back", "errors")
    assert await asyncio.to_thread(lambda: stage.live) == [Weight(1, 1.0)]
    events = (await asyncio.to_thread(house.log.entries, limit=10)).items
    evidence = next(each for each in events if each.kind == "workload.rollout_rolled_back").data
    assert evidence["rule"] == "errors"
    assert (evidence["reading"]["new"]["calls"], evidence["reading"]["new"]["errors"]) == (60, 30)
    assert evidence["reading"]["error_e"] >= evidence["reading"]["threshold"]


async def test_one_that_is_slow_goes_back_by_itself(house: House) -> None:
    async with control(house, Counted()) as stage:
        rollout_id = await start(house, CANARY)
        await stage.steps_to(rollout_id, 1)
        await asyncio.to_thread(stage.calls, 1, 900)
        await asyncio.to_thread(stage.calls, 2, 60, 0, 100)
        ended = await stage.ends(rollout_id)
    assert (ended.state, ended.rule) == ("rolled_back", "latency")


async def test_blue_green_switches_at_once_and_is_watched_against_what_the_old_one_did_before(house: House) -> None:
    async with control(house, Counted()) as stage:
        await asyncio.to_thread(stage.calls, 1, 500)
        house.clock.advance(120)
        rollout_id = await start(house, RolloutPlan(strategy="blue-green", bake_s=60))
        await stage.steps_to(rollout_id, 1)
        assert await asyncio.to_thread(lambda: stage.live) == [Weight(2, 1.0)]
        await asyncio.to_thread(stage.calls, 2, 60, 30)
        ended = await stage.ends(rollout_id)
    assert (ended.state, ended.rule) == ("rolled_back", "errors")
    assert ended.reading is not None
    assert (ended.reading.old.calls, ended.reading.new.calls) == (500, 60)
    assert await asyncio.to_thread(lambda: stage.live) == [Weight(1, 1.0)]


async def test_blue_green_that_does_well_ends_when_it_has_baked(house: House) -> None:
    async with control(house, Counted()) as stage:
        rollout_id = await start(house, RolloutPlan(strategy="blue-green", bake_s=60))
        await stage.steps_to(rollout_id, 1)
        await asyncio.to_thread(stage.calls, 2, 60)
        house.clock.advance(59)
        await asyncio.sleep(0.05)
        assert (await asyncio.to_thread(stage.row, rollout_id)).state == "open"
        house.clock.advance(1)
        assert (await stage.ends(rollout_id)).state == "finished"


async def test_a_new_control_process_goes_on_where_the_former_one_was(house: House) -> None:
    counted = Counted()
    async with control(house, counted) as stage:
        rollout_id = await start(house, CANARY)
        await stage.steps_to(rollout_id, 1)
        await asyncio.to_thread(stage.calls, 1, 900)
        await asyncio.to_thread(stage.calls, 2, 49)
        house.clock.advance(5)
    async with control(house, counted) as stage:
        await asyncio.sleep(0.1)
        assert (await asyncio.to_thread(stage.row, rollout_id)).step == 1
        await asyncio.to_thread(stage.calls, 2, 1)
        await stage.steps_to(rollout_id, 2)


async def test_nothing_moves_without_a_host(house: House) -> None:
    async with control(house, Counted(), host=False) as stage:
        rollout_id = await start(house, RolloutPlan())
        await asyncio.sleep(0.3)
        assert (await asyncio.to_thread(stage.row, rollout_id)).state == "open"
        assert await asyncio.to_thread(lambda: stage.live) == [Weight(1, 1.0)]


async def test_a_host_that_cannot_start_it_for_a_moment_is_asked_again(house: House) -> None:
    async with control(house, Counted(), fails=2) as stage:
        rollout_id = await start(house, RolloutPlan())
        assert (await stage.ends(rollout_id)).state == "finished"


async def test_a_revision_that_cannot_be_started_gets_no_call(house: House) -> None:
    async with control(house, Counted(), fails=1000) as stage:
        rollout_id = await start(house, RolloutPlan())
        ended = await stage.ends(rollout_id)
    assert (ended.state, ended.rule, ended.step) == ("rolled_back", "start", 0)
    assert await asyncio.to_thread(lambda: stage.live) == [Weight(1, 1.0)]


async def test_while_a_host_takes_its_time_to_warm_the_next_step_the_gate_goes_on_watching(house: House) -> None:
    async with control(house, Counted()) as stage:
        rollout_id = await start(house, CANARY)
        await stage.steps_to(rollout_id, 1)
        stage.slow = True
        await asyncio.to_thread(stage.calls, 1, 900)
        await asyncio.to_thread(stage.calls, 2, 100)
        house.clock.advance(5)
        await stage.until(lambda: len(stage.orders) == 2, "the order to warm")
        await asyncio.to_thread(stage.calls, 2, 100, 60)
        ended = await stage.ends(rollout_id)
    assert (ended.rule, ended.step) == ("errors", 1)


async def test_a_paused_one_stays_and_is_still_guarded(house: House) -> None:
    async with control(house, Counted()) as stage:
        rollout_id = await start(house, CANARY)
        await stage.steps_to(rollout_id, 1)
        await asyncio.to_thread(house.rollouts.pause, house.admin, "default", "hello", rollout_id)
        await asyncio.to_thread(stage.calls, 1, 900)
        await asyncio.to_thread(stage.calls, 2, 100)
        house.clock.advance(100)
        await asyncio.sleep(0.1)
        assert (await asyncio.to_thread(stage.row, rollout_id)).step == 1
        await asyncio.to_thread(house.rollouts.resume, house.admin, "default", "hello", rollout_id)
        await stage.steps_to(rollout_id, 2)
        await asyncio.to_thread(house.rollouts.pause, house.admin, "default", "hello", rollout_id)
        await asyncio.to_thread(stage.calls, 1, 60)
        await asyncio.to_thread(stage.calls, 2, 60, 40)
        assert (await stage.ends(rollout_id)).rule == "errors"


async def test_a_deploy_by_canary_begins_one_once_the_revision_is_ready(house: House) -> None:
    config = FunctionConfig(package=await asyncio.to_thread(house.package), memory_mb=70, rollout=CANARY)
    async with control(house, Counted()) as stage:
        made = await asyncio.to_thread(house.functions.deploy, house.admin, "default", "hello", config)
        await asyncio.to_thread(house.functions.mark_ready, made.revision.id, template=True, unfit=[], elapsed_ms=1)
        row = (await asyncio.to_thread(house.rollouts.open))[0]
        assert (row.before, row.to) == (1, 3)
        await stage.steps_to(row.id, 1)
