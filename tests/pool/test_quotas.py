"""Quotas of namespaces: never more instances or memory than allowed, and no neighbour notices who is at its limit."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from isotherm.base.errors import TooManyRequests
from isotherm.pool.policy import Idle, evictions_within
from isotherm.pool.tenants import Place, Tenant, Tenants
from isotherm.wire.quota import Quota
from tests.pool.bench import MIB, PoolBench

HELD = (
    "import os, time\ndef handler(event, context):\n    while not os.path.exists(event):\n        time.sleep(0.005)\n"
)
SLOW = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"


async def test_a_namespace_never_holds_more_instances_than_its_quota(bench: PoolBench) -> None:
    bench.pool.tenants.put("team", Quota(instances=3))
    functions = [bench.revision(SLOW, namespace="team", warm={"spare": 1}) for _ in range(4)]
    most = 0
    answers = [bench.call(function, 0.01).value() for _ in range(10) for function in functions]
    waiting = asyncio.gather(*answers)
    while not waiting.done():
        most = max(most, len(bench.driver.instances))
        await asyncio.sleep(0.001)
    assert await waiting == [0.01] * 40
    assert most == 3


async def test_what_is_idle_in_the_namespace_makes_room_and_nothing_else_does(bench: PoolBench) -> None:
    bench.pool.tenants.put("team", Quota(instances=2))
    neighbour = bench.revision(namespace="other")
    await bench.call(neighbour, 0).value()
    first, second, third = (bench.revision(namespace="team") for _ in range(3))
    for number, revision in enumerate((first, second, third)):
        assert await bench.call(revision, number).value() == number
    assert not first.connections, "the longest idle"
    assert len(second.connections) == len(third.connections) == len(neighbour.connections) == 1
    again = bench.call(first, 1)
    await again.value()
    assert again.call.cold_cause == "evicted"


async def test_spares_and_minimums_take_no_room_from_what_serves(bench: PoolBench) -> None:
    bench.pool.tenants.put("team", Quota(instances=2))
    kept = bench.revision(namespace="team", warm={"min_instances": 1})
    bench.maintain()
    await bench.until(lambda: len(kept.free) == 1, "the minimum")
    other = bench.revision(namespace="team", warm={"spare": 1})
    assert await bench.call(other, 1).value() == 1
    for _ in range(3):
        bench.maintain()
        await asyncio.sleep(0.03)
    assert len(kept.connections) == 1
    assert (len(other.connections), other.spares) == (1, [])


async def test_a_call_that_finds_no_room_is_told_which_quota_it_met(bench: PoolBench) -> None:
    bench.pool.tenants.put("team", Quota(instances=1))
    busy = bench.revision(HELD, namespace="team")
    running = bench.call(busy, str(bench.folder / "release"))
    await bench.until(lambda: bool(busy.connections), "a busy instance")
    waiting = bench.revision(namespace="team", queue_wait_s=0.1)
    with pytest.raises(TooManyRequests, match=r"waited 0\.1 s.*the namespace team has a quota of 1 instances") as told:
        await bench.call(waiting, 0).value()
    assert told.value.data == {"quota": "instances", "limit": 1, "namespace": "team"}
    assert told.value.retry_after_s is not None
    assert bench.pool.tenants.of("team").refused == {"instances": 1}
    (bench.folder / "release").touch()
    await running.value()


async def test_memory_is_counted_as_what_instances_may_take(bench: PoolBench) -> None:
    bench.pool.tenants.put("team", Quota(memory_mb=640))
    small = bench.revision(HELD, namespace="team", memory_mb=128, queue_wait_s=0.1)
    large = bench.revision(namespace="team", memory_mb=512, queue_wait_s=0.1)
    running = [bench.call(small, str(bench.folder / "release")) for _ in range(2)]
    await bench.until(lambda: len(small.connections) == 2, "two busy instances")
    with pytest.raises(TooManyRequests, match="640 MB for all its instances"):
        await bench.call(large, 0).value()
    (bench.folder / "release").touch()
    for call in running:
        await call.value()
    assert await bench.call(large, 1).value() == 1
    assert bench.pool.tenants.of("team").memory_mb <= 640


async def test_a_namespace_at_its_quota_slows_no_other(bench: PoolBench) -> None:
    bench.pool.tenants.put("greedy", Quota(instances=2))
    greedy = [bench.revision(SLOW, namespace="greedy") for _ in range(50)]
    flood = [bench.call(function, 0.05) for function in greedy for _ in range(4)]
    neighbour = bench.revision(namespace="quiet")
    for number in range(20):
        assert await bench.call(neighbour, number).value() == number
    assert sum(call.done.done() for call in flood) < len(flood) / 2
    assert bench.pool.tenants.of("greedy").instances <= 2
    assert not any(call.done.done() and call.done.exception() for call in flood)


async def test_a_lower_quota_ends_what_is_idle_at_once_and_what_is_busy_after_its_call(bench: PoolBench) -> None:
    busy = bench.revision(HELD, namespace="team")
    idle = bench.revision(namespace="team", warm={"min_instances": 1})
    running = bench.call(busy, str(bench.folder / "release"))
    await bench.call(idle, 0).value()
    bench.pool.tenants.put("team", Quota(instances=1))
    bench.maintain()
    await bench.until(lambda: not idle.connections, "the end of the idle one, minimum or not")
    assert len(busy.connections) == 1
    (bench.folder / "release").touch()
    await running.value()
    bench.pool.tenants.remove("team")
    bench.maintain()
    await bench.until(lambda: len(idle.connections) == 1, "the minimum again")


async def test_a_deploy_needs_room_for_one_instance_and_waits_for_it(bench: PoolBench) -> None:
    bench.pool.tenants.put("team", Quota(instances=1))
    live = bench.revision(namespace="team")
    await bench.call(live, 0).value()
    await bench.pool.prepare_instances(bench.spec(namespace="team"), 1)
    assert not live.connections, "the idle one made room"
    bench.pool.tenants.put("team", Quota(memory_mb=100))
    preparing = asyncio.create_task(bench.pool.prepare_instances(bench.spec(namespace="team", memory_mb=256), 1))
    await asyncio.sleep(0.05)
    bench.clock.skip(10)
    with pytest.raises(TooManyRequests, match=r"no instance of revision .* can be started.*100 MB"):
        await preparing


async def test_of_many_instances_that_are_asked_for_ahead_the_quota_lets_some_be_there(bench: PoolBench) -> None:
    bench.pool.tenants.put("team", Quota(instances=3))
    spec = bench.spec(namespace="team")
    await bench.pool.prepare_instances(spec, 5)
    assert len(bench.pool.revision(spec).connections) == bench.pool.tenants.of("team").instances == 3


async def test_a_changed_secret_is_taken_up_where_the_namespace_is_full(bench: PoolBench) -> None:
    bench.pool.tenants.put("team", Quota(instances=1))
    code = "import os\nTOKEN = os.environ['TOKEN']\n\ndef handler(event, context):\n    return TOKEN\n"
    former = bench.spec(
        code, namespace="team", env={"TOKEN": "first-value"}, secrets={"TOKEN": "token"}, warm={"min_instances": 1}
    )
    assert await bench.call(bench.pool.revision(former)).value() == "first-value"
    switched = asyncio.Event()
    bench.pool.renew(replace(former, env={"TOKEN": "second-value"}), switched.set)
    await bench.until(switched.is_set, "the switch")
    assert await bench.call(bench.pool.revision(former)).value() == "second-value"
    tenant = bench.pool.tenants.of("team")
    assert tenant.instances == 1
    await bench.pool.forget(former.id)
    await bench.until(lambda: (tenant.instances, tenant.memory_mb) == (0, 0), "all places")


async def test_places_come_back_however_a_start_ends(bench: PoolBench) -> None:
    bench.pool.tenants.put("team", Quota(instances=2))
    broken = bench.revision("raise ValueError('no')\n", namespace="team")
    for _ in range(3):
        with pytest.raises(Exception, match="no"):
            await bench.call(broken, 0).value()
        bench.clock.skip(60)
    tenant = bench.pool.tenants.of("team")
    await bench.until(lambda: tenant.instances == 0, "all places")
    fine = bench.revision(namespace="team")
    assert await bench.call(fine, 1).value() == 1
    await bench.pool.forget(fine.spec.id)
    await bench.until(lambda: (tenant.instances, tenant.memory_mb) == (0, 0), "all places")


def test_a_place_is_given_back_once() -> None:
    tenant = Tenants().of("team")
    place, other = Place(tenant, 64), Place(tenant, 128)
    place.give_back()
    place.give_back()
    assert (tenant.instances, tenant.memory_mb) == (1, 128)
    other.give_back()
    assert (tenant.instances, tenant.memory_mb) == (0, 0)


def test_what_is_left_open_follows_the_default() -> None:
    tenants = Tenants(Quota(instances=10, rate_per_s=5.0, burst=7))
    assert tenants.of("team").quota == Quota(instances=10, rate_per_s=5.0, burst=7)
    tenants.put("team", Quota(memory_mb=64, rate_per_s=9.0))
    assert tenants.of("team").quota == Quota(memory_mb=64, instances=10, rate_per_s=9.0), "a burst goes with its rate"
    tenants.remove("team")
    assert tenants.of("team").quota == Quota(instances=10, rate_per_s=5.0, burst=7)


idle = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 512)), max_size=20)


@given(st.integers(-2, 8), st.integers(-100, 2048), idle)
def test_no_more_is_evicted_than_makes_room_and_nothing_where_none_would(
    instances: int, memory_mb: int, entries: list[tuple[float, int]]
) -> None:
    stock = [Idle(key, since_s, size * MIB, template=False) for key, (since_s, size) in enumerate(entries)]
    chosen = evictions_within(instances, memory_mb * MIB, stock)
    freed = sum(stock[key].memory_bytes for key in chosen)
    whole = sum(entry.memory_bytes for entry in stock)
    if instances > len(stock) or memory_mb * MIB > whole:
        assert chosen == []
        return
    assert len(chosen) >= instances
    assert freed >= memory_mb * MIB
    if chosen:
        fewer = len(chosen) - 1 < instances or freed - stock[chosen[-1]].memory_bytes < memory_mb * MIB
        assert fewer, "the last one was needed"
        kept = [entry.since_s for entry in stock if entry.key not in chosen]
        assert max(stock[key].since_s for key in chosen) <= min(kept, default=101)


@given(st.integers(1, 5), st.integers(64, 1024), st.lists(st.integers(32, 512), max_size=12))
def test_a_shortage_is_what_has_to_go(instances: int, memory_mb: int, sizes: list[int]) -> None:
    tenant = Tenant("team", Quota(instances=instances, memory_mb=memory_mb))
    for size in sizes:
        over = tenant.over(size)
        assert (tenant.shortage(size) is None) == (over == (0, 0))
        if tenant.shortage(size) is None:
            Place(tenant, size)
        assert tenant.instances <= instances
        assert tenant.memory_mb <= memory_mb
        assert tenant.shortage(0) is None
