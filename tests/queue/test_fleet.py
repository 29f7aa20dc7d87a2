"""Whole hosts on one queue in Postgres, with their lanes, schedules and functions: what each makes, and how often."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from isotherm.base.clock import ManualClock
from isotherm.wire.desired import AsyncSpec
from tests.databases import Cluster
from tests.queue.conftest import Bench, until
from tests.queue.proxy import Proxy
from tests.queue.stores import Stores
from tests.queue.test_queue import FAST, counted
from tests.queue.test_triggers import MINUTE_S, Scheduled

LEASE_S = 1.5


class Fleet:
    """Hosts on one queue. Their leases are short, so that tests are."""

    def __init__(self, folder: Path, stores: Stores) -> None:
        self.folder = folder
        self.stores = stores
        self.benches: list[Bench] = []

    async def host(self, name: str, url: str | None = None, lease_s: float = LEASE_S) -> Bench:
        bench = Bench(self.folder, self.stores, name, store=self.stores(self.folder, name, lease_s=lease_s, url=url))
        bench.bench.folder = self.folder / name
        self.benches.append(bench)
        await bench.start()
        return bench

    async def close(self) -> None:
        for bench in self.benches:
            await bench.stop()


@pytest.fixture
async def fleet(tmp_path: Path, postgres: Cluster) -> AsyncIterator[Fleet]:
    stores = Stores(postgres)
    made = Fleet(tmp_path, stores)
    yield made
    await made.close()
    stores.close()


async def freeze(bench: Bench) -> None:
    """The host does nothing any more, as when its machine is paused: no tick, no write."""
    assert bench._ticking is not None
    bench._ticking.cancel()
    await bench.queue.writer.write(lambda _: None)


def thaw(bench: Bench) -> None:
    bench._ticking = asyncio.create_task(bench._tick())


async def test_another_host_makes_the_calls_of_one_that_is_gone_and_it_makes_none_of_them_again(
    fleet: Fleet, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    gone, other = await fleet.host("host_gone"), await fleet.host("host_other")
    for bench in (gone, other):
        bench.function("job", counted(runs), asynchronous=AsyncSpec(concurrency=1))
    await gone.change("pause", "job")
    ids = [await gone.accepted("job", n) for n in range(300)]  # some are held in memory, the rest are not
    assert gone.queue.lane("default", "job").next_due_ms is not None
    await freeze(gone)
    await other.change("resume", "job")
    for number, one in enumerate(ids):
        assert await other.result(one) == number
    assert other.queue.adopted == 300
    thaw(gone)
    await until(lambda: _is(gone.store.lost), lambda: "the host to hear that it lost its calls")
    await until(lambda: _is(not gone.queue.lane("default", "job").ready), lambda: "the lane to be empty")
    own = await gone.accepted("job", "own")
    assert await gone.result(own) == "own"
    assert Counter(runs.read_text().split()) == Counter([*ids, own])


async def test_an_attempt_that_ends_after_its_host_lost_the_call_counts_for_nothing(
    fleet: Fleet, tmp_path: Path
) -> None:
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    body = f"""
    import os, time
    while event == "slow" and not os.path.exists({str(gate)!r}):
        time.sleep(0.01)
    raise ValueError("slow and wrong")"""
    gone, other = await fleet.host("host_gone"), await fleet.host("host_other")
    gone.function("job", counted(runs, body), asynchronous=AsyncSpec(retries=0, on_failure="told"))
    other.function("job", counted(runs), asynchronous=AsyncSpec(on_success="told"))
    for bench in (gone, other):
        bench.function("told")
    call_id = await gone.accepted("job", "slow")
    await until(lambda: _is(runs.exists()), lambda: "the first attempt")
    await freeze(gone)
    assert await other.result(call_id) == "slow"
    gate.touch()
    await until(lambda: _is(not gone.queue.running), lambda: "the first attempt to end")
    thaw(gone)
    await until(lambda: _is(gone.store.fenced), lambda: "its end to be dropped")
    found = await gone.detail(call_id)
    assert (found.call.state, found.result, found.call.error_message) == ("succeeded", "slow", None)
    told = (await other.calls("told")).calls
    assert [call.origin for call in told] == [call_id]
    assert runs.read_text().split() == [call_id] * 2


async def test_a_dead_letter_never_runs_again_on_the_host_that_had_it_before(fleet: Fleet, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    gone, other = await fleet.host("host_gone"), await fleet.host("host_other")
    for bench in (gone, other):
        bench.function("bad", counted(runs, "raise ValueError('no')"), asynchronous=AsyncSpec(retries=1, **FAST))
    await gone.change("pause", "bad")
    ids = [await gone.accepted("bad", n) for n in range(20)]
    await freeze(gone)
    await other.change("resume", "bad")
    for one in ids:
        await other.until(one, "dead")
    thaw(gone)
    await until(lambda: _is(gone.store.lost), lambda: "the host to hear that it lost its calls")
    await asyncio.sleep(0.3)  # some ticks, in which it could begin what it holds
    assert Counter(runs.read_text().split()) == Counter(ids * 2)


async def test_a_function_that_one_host_holds_back_is_held_back_on_all(fleet: Fleet) -> None:
    first, second = await fleet.host("host_first"), await fleet.host("host_second")
    for bench in (first, second):
        bench.function("held")
    await first.change("pause", "held")
    await until(
        lambda: _is(second.queue.lane("default", "held").paused), lambda: "the second host to hear of the pause"
    )
    call_id = await second.accepted("held", 1)
    await first.change("resume", "held")
    assert await second.result(call_id) == 1


async def test_calls_wait_until_a_host_knows_what_there_is_to_call(fleet: Fleet) -> None:
    """A new machine on an old queue knows no function yet. It would make dead letters of all of them."""
    gone = await fleet.host("host_gone")
    gone.function("job")
    await gone.change("pause", "job")
    call_id = await gone.accepted("job", 5)
    await freeze(gone)
    new = await fleet.host("host_new")
    new.queue.held = True
    await asyncio.sleep(3 * LEASE_S)
    assert (await new.detail(call_id)).call.state == "queued"
    assert new.queue.adopted == 0, "another host may know the function"
    new.function("job")
    new.queue.held = False
    await new.change("resume", "job")
    assert await new.result(call_id) == 5


async def test_each_time_of_a_schedule_is_called_for_once_by_hosts_that_all_have_it(
    tmp_path: Path, postgres: Cluster
) -> None:
    stores = Stores(postgres)
    clock = ManualClock()
    hosts = [Scheduled(tmp_path, stores, clock, f"host_{number}") for number in range(3)]
    for host in hosts:
        await host.start()
        for name in ("job", "second"):
            host.scheduled(name)
        await host.look()
    for _ in range(4):
        clock.advance(MINUTE_S)
        await asyncio.gather(*(host.look() for host in hosts))
    for name in ("job", "second"):
        assert len(await hosts[0].events(name)) == 4
    for host in hosts:
        await host.stop()
    stores.close()


async def test_accepted_calls_outlive_a_connection_that_breaks_again_and_again(fleet: Fleet, tmp_path: Path) -> None:
    """At any point: before a COMMIT, in it, and after it. Each call that was answered 202 is made, and none twice."""
    proxy = Proxy(fleet.stores.cluster.port)  # type: ignore[union-attr]
    url = fleet.stores.url(tmp_path).replace(str(fleet.stores.cluster.port), str(proxy.port))  # type: ignore[union-attr]
    runs = tmp_path / "runs"
    host = await fleet.host("host_first", url, lease_s=30.0)
    host.function("job", counted(runs), asynchronous=AsyncSpec(concurrency=4), warm={"max_instances": 4})
    accepted: list[str] = []
    ended = asyncio.Event()

    async def send() -> None:
        for number in itertools.count():
            reply = await host.event("job", number)
            if reply.status == 202:
                accepted.append(reply.headers["x-amzn-requestid"])
            else:
                assert reply.status == 503
            if ended.is_set():
                return

    senders = [asyncio.create_task(send()) for _ in range(4)]
    chance = random.Random(20261126)
    harms = 0
    while harms < 40 or len(accepted) < 100:
        await asyncio.sleep(chance.uniform(0.02, 0.2))
        chance.choice([proxy.lose_answers, proxy.cut, proxy.lose_questions])()
        harms += 1
    ended.set()
    await asyncio.gather(*senders)
    for one in accepted:
        await host.until(one, "succeeded")
    counts = Counter(runs.read_text().split())
    assert {one: counts[one] for one in accepted} == dict.fromkeys(accepted, 1)
    assert host.store.lost == 0
    proxy.close()


async def _is(value: object) -> object:
    return value
