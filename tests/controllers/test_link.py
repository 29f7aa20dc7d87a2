"""The link server against scripted hosts: desired state, telemetry, orders, and what a bad peer gets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from isotherm.base.clock import ManualClock
from isotherm.base.errors import TimedOut, Unavailable
from isotherm.bus.board import HostBoard
from isotherm.controllers.link import LinkServer
from isotherm.wire.desired import Desired, Item, KeySpec
from isotherm.wire.link import PROTOCOL, Ack, Order, Progress, Reply, State, Welcome
from isotherm.wire.telemetry import Batch, LogLine
from tests.controllers.hosts import ScriptedHost, connect, unix_listener


class MemorySource:
    """Desired state in memory: one key per version."""

    def __init__(self) -> None:
        self.epoch = "epoch_1"
        self.keys: list[KeySpec] = []

    def add_key(self) -> None:
        self.keys.append(KeySpec(id=f"key_{len(self.keys)}", digest="0", principal_id="p", grants=[]))

    def version(self) -> int:
        return len(self.keys)

    def desired(self, epoch: str | None, version: int) -> Desired:
        full = epoch != self.epoch or version > len(self.keys)
        since = 0 if full else version
        items = [Item(key=key) for key in self.keys[since:]]
        return Desired(epoch=self.epoch, version=len(self.keys), full=full, items=items)


class MemoryIngest:
    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.failures = 0

    def __call__(self, batch: Batch) -> bool:
        if self.failures:
            self.failures -= 1
            raise OSError("the database is locked")
        new = all((b.boot_id, b.sequence) != (batch.boot_id, batch.sequence) for b in self.batches)
        if new:
            self.batches.append(batch)
        return new


@dataclass
class Stage:
    path: str
    source: MemorySource
    ingest: MemoryIngest
    board: HostBoard
    server: LinkServer
    logs: list[LogLine] = field(default_factory=list)

    async def host(self, **how: object) -> ScriptedHost:
        """A host that has its welcome and its first state."""
        host = await connect(self.path, **how)  # type: ignore[arg-type]  # keyword arguments of `connect`
        await host.take(Welcome)
        return host


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    source, ingest, board, logs = MemorySource(), MemoryIngest(), HostBoard(), list[LogLine]()
    with ThreadPoolExecutor(1) as pool:
        server = LinkServer(
            source=source,
            ingest=ingest,
            board=board,
            on_logs=logs.extend,
            store_on=pool,
            clock=ManualClock(),
            isotherm_version="1.0",
            poll_s=0.05,
        )
        async with unix_listener() as (listener, path):
            serving = asyncio.create_task(server.serve(listener))
            try:
                yield Stage(path, source, ingest, board, server, logs)
            finally:
                serving.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await serving


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def batch(sequence: int, logs: list[LogLine] | None = None) -> Batch:
    return Batch(host_id="host_1", boot_id="boot_1", sequence=sequence, sent_at_ms=1, logs=logs or [])


def line(message: str) -> LogLine:
    return LogLine(namespace="default", name="hello", revision_id="rev_1", instance_id="i", at_ms=1, message=message)


async def test_a_new_host_gets_a_welcome_and_a_whole_snapshot(stage: Stage) -> None:
    stage.source.add_key()
    host = await stage.host()
    state = (await host.take(State)).desired
    assert state.full
    assert len(state.items) == 1
    await until(lambda: [entry.connected for entry in stage.board.hosts()] == [True])


async def test_a_host_that_comes_back_gets_only_what_changed(stage: Stage) -> None:
    stage.source.add_key()
    stage.source.add_key()
    host = await stage.host(epoch="epoch_1", version=1)
    state = (await host.take(State)).desired
    assert not state.full
    assert [item.key.id for item in state.items if item.key] == ["key_1"]


async def test_another_epoch_means_a_whole_snapshot(stage: Stage) -> None:
    stage.source.add_key()
    host = await stage.host(epoch="epoch_0", version=1)
    assert (await host.take(State)).desired.full


async def test_a_change_reaches_every_connected_host(stage: Stage) -> None:
    hosts = [await stage.host(host_id="host_1"), await stage.host(host_id="host_2")]
    for host in hosts:
        await host.take(State)
    stage.source.add_key()
    stage.server.desired_changed()
    for host in hosts:
        delta = (await host.take(State)).desired
        assert (delta.full, delta.version, len(delta.items)) == (False, 1, 1)


async def test_a_change_that_nobody_announced_is_found_by_looking(stage: Stage) -> None:
    host = await stage.host()
    await host.take(State)
    stage.source.add_key()
    assert (await host.take(State)).desired.version == 1


async def test_telemetry_is_acknowledged_once_it_is_stored_and_its_lines_are_shown_once(stage: Stage) -> None:
    host = await stage.host()
    for sequence in (1, 2, 2):
        await host.send_batch(batch(sequence, [line(f"line {sequence}")]))
    acks = [await host.take(Ack) for _ in range(3)]
    assert [ack.sequence for ack in acks] == [1, 2, 2]
    assert [stored.sequence for stored in stage.ingest.batches] == [1, 2]
    assert [shown.message for shown in stage.logs] == ["line 1", "line 2"]


async def test_a_batch_that_cannot_be_stored_at_once_is_tried_again(stage: Stage) -> None:
    stage.ingest.failures = 1
    host = await stage.host()
    await host.send_batch(batch(1))
    assert (await host.take(Ack)).sequence == 1


async def test_an_order_goes_out_with_its_progress_and_comes_back_with_its_reply(stage: Stage) -> None:
    host = await stage.host()
    await until(lambda: bool(stage.server.sessions()))
    seen: list[str] = []
    order = asyncio.create_task(
        stage.server.sessions()[0].order("states", timeout_s=5, on_progress=lambda p: seen.append(p.step))
    )
    received = await host.take(Order)
    await host.send(Progress(order_id=received.id, step="import", state="running"))
    await host.send(Reply(order_id=received.id, result={"states": []}))
    assert (await order).result == {"states": []}
    assert seen == ["import"]


async def test_an_order_ends_when_its_host_leaves(stage: Stage) -> None:
    host = await stage.host()
    await until(lambda: bool(stage.server.sessions()))
    order = asyncio.create_task(stage.server.sessions()[0].order("states", timeout_s=30))
    await host.take(Order)
    await host.leave()
    with pytest.raises(Unavailable):
        await order
    await until(lambda: [entry.connected for entry in stage.board.hosts()] == [False])


async def test_an_order_that_is_never_answered_times_out(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isotherm.controllers.session._order_grace_s", 0.0)
    host = await stage.host()
    await until(lambda: bool(stage.server.sessions()))
    with pytest.raises(TimedOut):
        await stage.server.sessions()[0].order("states", timeout_s=0.05)
    assert (await host.take(Order)).timeout_s == 0.05


async def test_the_second_connection_of_a_host_takes_the_place_of_the_first(stage: Stage) -> None:
    first = await stage.host()
    second = await stage.host(boot_id="boot_2")
    await second.take(State)
    assert await first.hung_up()
    await until(lambda: [(e.boot_id, e.connected) for e in stage.board.hosts()] == [("boot_2", True)])


async def test_settled_waits_until_every_host_has_applied_the_state_of_now(stage: Stage) -> None:
    host = await stage.host()
    await until(lambda: bool(stage.server.sessions()))
    stage.source.add_key()
    settled = asyncio.create_task(stage.server.settled(10))
    barrier = await host.take(Order)
    assert barrier.verb == "states"
    assert not settled.done()
    await host.send(Reply(order_id=barrier.id))
    assert await settled
    assert await stage.server.settled(10)  # known already: no second order


async def test_settled_gives_up_on_a_host_that_does_not_answer(stage: Stage) -> None:
    host = await stage.host()
    await until(lambda: bool(stage.server.sessions()))
    stage.source.add_key()
    assert not await stage.server.settled(0.1)
    assert (await host.take(Order)).verb == "states"


@pytest.mark.parametrize(
    "garbage",
    [b"\xff\xff\xff\xff", b"\x04\x00\x00\x00\xc1\xc1\xc1\xc1", b"GET / HTTP/1.1\r\n\r\n"],
    ids=["too long", "not MessagePack", "HTTP"],
)
async def test_a_peer_that_breaks_the_protocol_is_cut_off_and_others_go_on(stage: Stage, garbage: bytes) -> None:
    good = await stage.host()
    bad = await stage.host(host_id="host_2")
    await bad.send_bytes(garbage)
    assert await bad.hung_up()
    await good.send_batch(batch(1))
    assert (await good.take(Ack)).sequence == 1


async def test_a_host_of_another_protocol_is_welcomed_with_ours_and_turned_away(stage: Stage) -> None:
    host = await connect(stage.path, protocol=99)
    assert (await host.take(Welcome)).protocol == PROTOCOL
    assert await host.hung_up()
    assert stage.server.sessions() == []
