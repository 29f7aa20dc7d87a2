"""The deploy controller against scripted hosts: ready, failed, hosts that come and go, restarts of control."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from isotherm.base.clock import SystemClock
from isotherm.base.errors import Conflict, ImportFailed, NotFound, Unavailable
from isotherm.bus.board import HostBoard
from isotherm.bus.progress import Finished, ProgressBook, ProgressStep
from isotherm.controllers.deploy import DeployController
from isotherm.controllers.link import LinkServer
from isotherm.wire.desired import Desired, RevisionSpec
from isotherm.wire.link import Ack, Order, Progress, Reply
from isotherm.wire.telemetry import Batch, WorkloadState
from tests.controllers.hosts import ScriptedHost, connect, unix_listener


def spec(revision_id: str = "rev_1", number: int = 1) -> RevisionSpec:
    return RevisionSpec(
        id=revision_id,
        workload_id="wl_1",
        namespace="default",
        name="hello",
        number=number,
        runtime="python3.11",
        handler="app.handler",
        package="0" * 64,
        init_timeout_s=5,
    )


@dataclass
class MemoryDeploys:
    """Revisions in memory: what is building, and what became of it."""

    waiting: dict[str, RevisionSpec] = field(default_factory=dict)
    ready: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    at_once: bool = True

    def add(self, revision: RevisionSpec) -> None:
        self.waiting[revision.id] = revision

    def building(self) -> list[RevisionSpec]:
        return list(self.waiting.values())

    def spec(self, revision_id: str) -> RevisionSpec:
        if revision_id not in self.waiting:
            raise NotFound("no such revision")
        return self.waiting[revision_id]

    def moves_at_once(self, revision_id: str) -> bool:
        return self.at_once

    def mark_ready(self, revision_id: str, *, template: bool, unfit: Sequence[str], elapsed_ms: float) -> None:
        if revision_id in self.failed:
            raise Conflict("it has failed")
        self.spec(revision_id)
        self.ready[revision_id] = {"template": template, "unfit": list(unfit), "elapsed_ms": elapsed_ms}
        del self.waiting[revision_id]

    def mark_failed(self, revision_id: str, problem: dict[str, Any], *, elapsed_ms: float | None = None) -> None:
        self.spec(revision_id)
        self.failed[revision_id] = problem
        del self.waiting[revision_id]


class NothingDesired:
    def version(self) -> int:
        return 1

    def desired(self, epoch: str | None, version: int) -> Desired:
        return Desired(epoch="epoch_1", version=1, full=epoch is None)


def keep_nothing(batch: Batch) -> bool:
    return True


@dataclass
class Stage:
    path: str
    deploys: MemoryDeploys
    progress: ProgressBook
    controller: DeployController

    async def steps(self, revision_id: str = "rev_1") -> list[ProgressStep | Finished]:
        """Every line of a deploy, once it has ended."""
        lines, rest = self.progress.follow(revision_id)
        with rest:
            while not (lines and isinstance(lines[-1], Finished)):
                line = await rest.get(10)
                assert isinstance(line, (ProgressStep, Finished)), f"nothing came after {lines}"
                lines.append(line)
        return lines


@asynccontextmanager
async def control(deploys: MemoryDeploys, *, host_wait_s: float = 30.0) -> AsyncIterator[Stage]:
    """A control process's link and deploy controller; leaving it is what its death does."""
    board = HostBoard()
    with ThreadPoolExecutor(1) as pool:
        link = LinkServer(
            source=NothingDesired(),
            ingest=keep_nothing,
            board=board,
            on_logs=lambda lines: None,
            store_on=pool,
            clock=SystemClock(),
            isotherm_version="1.0",
        )
        progress = ProgressBook()
        controller = DeployController(
            deploys=deploys,
            link=link,
            board=board,
            progress=progress,
            url_of=lambda revision: f"http://here/{revision.name}",
            clock=SystemClock(),
            build_timeout_s=1.0,
            host_wait_s=host_wait_s,
        )
        async with unix_listener() as (listener, path):
            tasks = [asyncio.create_task(link.serve(listener)), asyncio.create_task(controller.run())]
            try:
                yield Stage(path, deploys, progress, controller)
            finally:
                for task in reversed(tasks):
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task


async def take_prepare(host: ScriptedHost) -> Order:
    """The next order to prepare; orders for states, which are barriers, are answered on the way."""
    while True:
        order = await host.take(Order)
        if order.verb == "prepare":
            return order
        await host.send(Reply(order_id=order.id, result={"states": []}))


@pytest.mark.parametrize(("at_once", "expected"), [(True, 7), (False, 1)])
async def test_it_is_as_warm_as_what_it_relieves_where_all_calls_come_at_once(at_once: bool, expected: int) -> None:
    deploys = MemoryDeploys(at_once=at_once)
    relieved = WorkloadState(
        namespace="default",
        name="hello",
        revision_id="rev_0",
        temperatures={"hot": 4, "warm": 3, "spare": 1, "template": 1},
        memory_bytes=1,
        cpu_s=0,
        queued=0,
    )
    async with control(deploys) as stage:
        host = await connect(stage.path)
        await host.send_batch(Batch(host_id="host_1", boot_id="boot_1", sequence=1, sent_at_ms=1, states=[relieved]))
        await host.take(Ack)
        deploys.add(spec())
        stage.controller.announce("rev_1")
        assert (await take_prepare(host)).instances == expected


async def test_a_revision_becomes_ready_once_a_host_has_prepared_it() -> None:
    deploys = MemoryDeploys()
    async with control(deploys) as stage:
        host = await connect(stage.path)
        deploys.add(spec())
        stage.controller.announce("rev_1")
        order = await take_prepare(host)
        assert order.revision == spec()
        await host.send(Progress(order_id=order.id, step="import", state="done", elapsed_ms=3))
        await host.send(Reply(order_id=order.id, result={"template": True, "unfit": []}))
        barrier = await host.take(Order)
        assert barrier.verb == "states"
        await host.send(Reply(order_id=barrier.id))
        lines = await stage.steps()
        assert lines[-2:] == [
            ProgressStep(step="import", state="done", elapsed_ms=3),
            Finished(state="ready", url="http://here/hello"),
        ]
        assert deploys.ready["rev_1"]["template"] is True


async def test_a_failure_on_the_host_fails_the_revision_with_its_problem() -> None:
    deploys = MemoryDeploys()
    problem = ImportFailed("no module named x", stack_trace=["…"]).problem()
    async with control(deploys) as stage:
        host = await connect(stage.path)
        deploys.add(spec())
        stage.controller.announce("rev_1")
        order = await take_prepare(host)
        await host.send(Reply(order_id=order.id, problem=problem))
        assert (await stage.steps())[-1] == Finished(state="failed", problem=problem)
        assert deploys.failed["rev_1"]["code"] == "import_failed"


async def test_what_was_building_when_control_died_is_prepared_again() -> None:
    deploys = MemoryDeploys()
    deploys.add(spec())
    async with control(deploys) as stage:
        await take_prepare(await connect(stage.path))
    async with control(deploys) as stage:
        host = await connect(stage.path)
        order = await take_prepare(host)
        await host.send(Reply(order_id=order.id))
        barrier = await host.take(Order)
        await host.send(Reply(order_id=barrier.id))
        assert (await stage.steps())[-1].state == "ready"


async def test_a_host_that_dies_during_a_deploy_gets_it_again_when_it_is_back() -> None:
    deploys = MemoryDeploys()
    deploys.add(spec())
    async with control(deploys) as stage:
        host = await connect(stage.path)
        await take_prepare(host)
        await host.leave()
        host = await connect(stage.path, boot_id="boot_2")
        order = await take_prepare(host)
        await host.send(Reply(order_id=order.id, problem=Unavailable("the warden starts again").problem()))
        order = await take_prepare(host)
        await host.send(Reply(order_id=order.id))
        barrier = await host.take(Order)
        await host.send(Reply(order_id=barrier.id))
        lines = await stage.steps()
    assert lines[-1].state == "ready"
    assert any(isinstance(line, ProgressStep) and "trying again" in line.message for line in lines)


async def test_every_connected_host_prepares_and_one_verdict_counts() -> None:
    deploys = MemoryDeploys()
    async with control(deploys) as stage:
        hosts = [await connect(stage.path, host_id=f"host_{number}") for number in (1, 2)]
        for host in hosts:
            await host.take(object)  # its welcome: it is on the link
        async with asyncio.timeout(10):
            while len(stage.controller._link.sessions()) < 2:
                await asyncio.sleep(0.005)
        deploys.add(spec())
        stage.controller.announce("rev_1")
        orders = [await take_prepare(host) for host in hosts]
        await hosts[0].send(Reply(order_id=orders[0].id))
        await hosts[1].send(Reply(order_id=orders[1].id, problem=ImportFailed("no").problem()))
        assert (await stage.steps())[-1].state == "failed"


async def test_without_a_host_a_deploy_fails_after_its_deadline_and_says_what_to_do() -> None:
    deploys = MemoryDeploys()
    deploys.add(
        RevisionSpec(**{name: getattr(spec(), name) for name in spec().__struct_fields__} | {"init_timeout_s": 0.01})
    )
    async with control(deploys, host_wait_s=-0.9) as stage:
        last = (await stage.steps())[-1]
    assert isinstance(last, Finished)
    assert last.problem is not None
    assert last.problem["code"] == "timed_out"
    assert "doctor" in last.problem["detail"]


async def test_a_revision_deleted_during_its_deploy_is_forgotten_by_the_host() -> None:
    deploys = MemoryDeploys()
    deploys.add(spec())
    async with control(deploys) as stage:
        host = await connect(stage.path)
        order = await take_prepare(host)
        deploys.waiting.clear()
        await host.send(Reply(order_id=order.id))
        forget = await host.take(Order)
        assert forget.verb == "forget"
        await host.send(Reply(order_id=forget.id))
        last = (await stage.steps())[-1]
    assert isinstance(last, Finished)
    assert last.problem is not None
    assert last.problem["code"] == "not_found"


async def test_announcing_twice_prepares_once() -> None:
    deploys = MemoryDeploys()
    async with control(deploys) as stage:
        host = await connect(stage.path)
        deploys.add(spec())
        stage.controller.announce("rev_1")
        stage.controller.announce("rev_1")
        order = await take_prepare(host)
        await host.send(Reply(order_id=order.id))
        barrier = await host.take(Order)
        assert barrier.verb == "states"
        await host.send(Reply(order_id=barrier.id))
        await stage.steps()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await host.take(Order)
