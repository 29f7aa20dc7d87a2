"""Keep-alive, minimum instances, spares and memory: what is kept, and what goes first."""

import asyncio
import contextlib

from isotherm.base.errors import IsothermError
from tests.pool.bench import MIB, PoolBench


async def test_an_idle_instance_ends_after_its_keep_alive(bench: PoolBench) -> None:
    revision = bench.revision(warm={"keep_alive_s": 60})
    await bench.call(revision, 0).value()
    bench.clock.skip(59)
    bench.maintain()
    assert len(revision.connections) == 1
    bench.clock.skip(2)
    bench.maintain()
    await bench.until(lambda: not bench.driver.instances, "the end of the idle instance")
    again = bench.call(revision, 1)
    assert await again.value() == 1
    assert again.call.cold_cause == "expired"
    assert bench.driver.prepared == 1


async def test_an_unused_template_ends_after_its_own_keep_alive(bench: PoolBench) -> None:
    revision = bench.revision(warm={"keep_alive_s": 1, "template_keep_alive_s": 100, "spare": 1})
    await bench.call(revision, 0).value()
    await bench.until(lambda: not revision.awake, "quiet")
    bench.clock.skip(50)
    bench.maintain()
    await bench.until(lambda: len(revision.connections) == len(revision.spares) == 1, "only a spare")
    await bench.until(lambda: not revision.awake, "quiet")
    bench.clock.skip(101)
    bench.maintain()
    await bench.until(lambda: not bench.driver.templates, "the end of the template")
    assert await bench.call(revision, 1).value() == 1


async def test_upkeep_looks_only_at_what_holds_something(bench: PoolBench) -> None:
    cold = [bench.revision(warm={"keep_alive_s": 1, "template_keep_alive_s": 1, "spare": 0}) for _ in range(5)]
    kept = bench.revision(warm={"min_instances": 1})
    assert len(bench.pool.held) == 6
    for revision in cold:
        assert await bench.call(revision, 7).value() == 7

    async def cool() -> None:
        for left in ("connections", "has_template"):
            await bench.until(lambda: not any(revision.awake for revision in cold), "quiet")
            bench.clock.skip(5)
            bench.maintain()
            await bench.until(lambda left=left: not any(getattr(revision, left) for revision in cold), f"no {left}")
        await bench.until(lambda: not any(revision.awake for revision in cold), "quiet")
        bench.maintain()

    await cool()
    assert bench.pool.held == {kept}
    assert bench.pool._upkeep.used_bytes() == sum(c.used_bytes for c in kept.connections.values()) + (
        bench.pool.templates[kept].used_bytes
    )
    again = bench.call(cold[2], 8)
    assert cold[2] in bench.pool.held
    assert await again.value() == 8
    await bench.pool.prepare_template(cold[3].spec)
    assert cold[3] in bench.pool.held
    await cool()
    assert bench.pool.held == {kept}


async def test_what_was_forgotten_is_not_looked_at_again(bench: PoolBench) -> None:
    revision = bench.revision()
    call = bench.call(revision, 1)
    await bench.pool.forget(revision.spec.id)
    with contextlib.suppress(IsothermError):
        await call.value()
    await bench.until(lambda: not revision.starting and not revision.connections, "its end")
    assert revision not in bench.pool.held
    bench.maintain()


async def test_a_minimum_is_started_ahead_and_kept(bench: PoolBench) -> None:
    revision = bench.revision(warm={"min_instances": 2, "keep_alive_s": 1})
    bench.maintain()
    await bench.until(lambda: len(revision.free) == 2, "two instances")
    bench.clock.skip(1000)
    bench.maintain()
    assert len(revision.connections) == 2
    bench.referenced = False
    bench.maintain()
    await bench.until(lambda: not bench.driver.instances, "the end of a revision that nothing points to")


async def test_a_revision_that_nothing_points_to_cools_within_seconds(bench: PoolBench) -> None:
    revision = bench.revision(warm={"keep_alive_s": 600})
    await bench.call(revision, 0).value()
    bench.referenced = False
    bench.maintain()
    assert len(revision.connections) == 1
    bench.clock.skip(11)
    bench.maintain()
    await bench.until(lambda: bench.maintain() or not bench.driver.templates, "the end of its template")


async def test_under_memory_pressure_the_longest_idle_goes_first(bench: PoolBench) -> None:
    tight = PoolBench(bench.folder / "tight", memory_mb=100)
    tight.folder.mkdir()
    first, second = tight.revision(), tight.revision()
    await tight.call(first, 0).value()
    await tight.call(second, 0).value()
    for instance in tight.driver.instances:
        instance.memory_used_bytes = 40 * MIB
    await tight.until(lambda: tight.maintain() or len(tight.driver.instances) == 1, "an eviction")
    assert not first.connections
    assert len(second.connections) == 1
    again = tight.call(first, 1)
    assert await again.value() == 1
    assert again.call.cold_cause == "evicted"
    await tight.close()


async def test_states_say_what_is_held(bench: PoolBench) -> None:
    revision = bench.revision(warm={"spare": 1}, name="shown")
    await bench.call(revision, 0).value()
    await bench.until(lambda: len(revision.spares) == 1)
    bench.maintain()
    (state,) = bench.pool.states()
    assert (state.namespace, state.name, state.revision_id) == ("default", "shown", revision.spec.id)
    assert state.temperatures == {"hot": 0, "warm": 1, "spare": 1, "template": 1}
    assert state.memory_bytes == 3 * 16 * MIB


async def test_closing_the_pool_leaves_nothing(bench: PoolBench) -> None:
    for _ in range(3):
        await bench.call(bench.revision(warm={"spare": 1}), 0).value()
    await bench.pool.drain(1.0)
    assert not bench.driver.instances
    assert not bench.driver.templates


async def test_upkeep_takes_nothing_from_a_revision_that_is_being_prepared(bench: PoolBench) -> None:
    bench.driver.faults.start_delay_s = 0.1
    revision = bench.revision(warm={"keep_alive_s": 0, "template_keep_alive_s": 0, "spare": 0})
    await bench.pool.prepare_template(revision.spec)
    preparing = asyncio.create_task(bench.pool.prepare_instances(revision.spec, 1))
    while not preparing.done():
        bench.clock.skip(10)
        bench.maintain()
        await asyncio.sleep(0.005)
    await preparing  # it would raise where its template or its instance was taken away
