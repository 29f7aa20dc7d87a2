"""What control's policy wants: made ahead, kept, let go; never in the way of a call; over where control is silent."""

import asyncio
from pathlib import Path
from typing import Any

from isotherm.pool.model import Phase
from isotherm.pool.revision import RevisionPool
from isotherm.wire.warmth import Target, Warmth
from tests.pool.bench import PoolBench

SLOW_IMPORT = "import time\ntime.sleep(0.4)\n\ndef handler(event, context):\n    return event\n"


def steer(bench: PoolBench, *targets: tuple[RevisionPool, int, bool], valid_s: float = 180.0, **more: Any) -> None:
    specs = {revision.spec.id: revision.spec for revision, _, _ in targets}
    wanted = [Target(revision_id=each.spec.id, instances=n, template=t) for each, n, t in targets]
    bench.pool.steer(Warmth(valid_s=valid_s, targets=wanted, **more), specs.get)


def ready(revision: RevisionPool) -> int:
    return sum(1 for each in revision.connections.values() if each.phase is Phase.READY)


async def test_instances_are_ready_before_the_call_which_is_not_cold(bench: PoolBench) -> None:
    revision = bench.revision(warm={"spare": 1})
    steer(bench, (revision, 2, True))
    await bench.until(lambda: ready(revision) == 2 and len(revision.spares) == 1, "two that are warm, and a spare")
    answer = bench.call(revision, 1)
    assert await answer.value() == 1
    assert answer.call.cold_cause is None


async def test_a_revision_that_was_never_called_is_made_from_what_the_host_knows(bench: PoolBench) -> None:
    spec = bench.spec()
    target = Target(revision_id=spec.id, instances=1, template=True)
    bench.pool.steer(Warmth(valid_s=60, targets=[target, Target(revision_id="gone", instances=1, template=True)]),
                     lambda revision_id: spec if revision_id == spec.id else None)  # fmt: skip
    await bench.until(lambda: spec.id in bench.pool.revisions and ready(bench.pool.revisions[spec.id]) == 1, "warm")
    assert "gone" not in bench.pool.revisions


async def test_a_template_alone_is_kept_without_instances(bench: PoolBench) -> None:
    revision = bench.revision(warm={"template_keep_alive_s": 10})
    steer(bench, (revision, 0, True), valid_s=1e6)
    await bench.until(lambda: bench.pool.templates[revision].template is not None, "the template")
    bench.clock.skip(1000)
    bench.maintain()
    await asyncio.sleep(0.05)
    assert bench.pool.templates[revision].template is not None
    assert not revision.connections


async def test_what_was_idle_when_it_was_let_go_ends_and_what_is_called_later_stays(bench: PoolBench) -> None:
    revision = bench.revision(warm={"keep_alive_s": 600})
    assert await bench.call(revision, 1).value() == 1
    bench.clock.skip(5)
    steer(bench, (revision, 0, False))
    bench.clock.skip(1)
    bench.maintain()
    await bench.until(lambda: not revision.connections, "the end of what was idle")
    again = bench.call(revision, 2)
    assert await again.value() == 2
    assert again.call.cold_cause == "let_go"
    bench.clock.skip(30)
    bench.maintain()
    await asyncio.sleep(0.05)
    assert ready(revision) == 1, "it was called after the decision"
    steer(bench, (revision, 0, False))
    bench.clock.skip(1)
    bench.maintain()
    await bench.until(lambda: not revision.connections, "the end after the next decision")


async def test_what_is_wanted_outlives_its_keep_alive(bench: PoolBench) -> None:
    revision = bench.revision(warm={"keep_alive_s": 5})
    assert await bench.call(revision, 1).value() == 1
    steer(bench, (revision, 1, True), valid_s=1e6)
    bench.clock.skip(100)
    bench.maintain()
    await asyncio.sleep(0.05)
    assert ready(revision) == 1


async def test_where_control_is_silent_keep_alives_decide_again(bench: PoolBench) -> None:
    revision = bench.revision(warm={"keep_alive_s": 5})
    steer(bench, (revision, 1, True), valid_s=60)
    await bench.until(lambda: ready(revision) == 1, "warm")
    bench.clock.skip(61)
    bench.maintain()
    assert revision.target is None
    await bench.until(lambda: not revision.connections, "the end by keep-alive")


async def test_released_and_full_take_targets_away(bench: PoolBench) -> None:
    one, two, three = (bench.revision(warm={"keep_alive_s": 600}) for _ in range(3))
    steer(bench, (one, 1, True), (two, 1, True), (three, 1, True))
    steer(bench, released=[one.spec.id])
    assert one.target is None
    assert two.target is not None
    steer(bench, (three, 2, True), full=True)
    assert two.target is None
    assert three.target is not None
    assert three.target.instances == 2


async def test_a_minimum_of_the_configuration_stays_whatever_the_target(bench: PoolBench) -> None:
    revision = bench.revision(warm={"min_instances": 1, "keep_alive_s": 600})
    bench.maintain()
    await bench.until(lambda: len(revision.connections) == 1, "the minimum")
    steer(bench, (revision, 0, False))
    bench.clock.skip(10)
    bench.maintain()
    await asyncio.sleep(0.05)
    assert len(revision.connections) == 1


async def test_a_revision_without_an_alias_is_not_made_ahead_by_upkeep(bench: PoolBench) -> None:
    revision = bench.revision(warm={"keep_alive_s": 600})
    steer(bench, (revision, 1, True))
    await bench.until(lambda: ready(revision) == 1, "warm")
    bench.referenced = False
    bench.clock.skip(11)
    bench.maintain()
    await bench.until(lambda: not revision.connections, "the end of what nobody can call")


async def test_a_call_does_not_wait_for_what_is_made_ahead(tmp_path: Path) -> None:
    """Two builds at once: many imports ahead leave one place for the one that somebody waits for."""
    bench = PoolBench(tmp_path, max_starts=2)
    try:
        early = [bench.revision(SLOW_IMPORT) for _ in range(6)]
        called = bench.revision()

        def count() -> int:
            return sum(1 for revision in early if bench.pool.templates[revision].template is not None)

        steer(bench, *((revision, 1, True) for revision in early))
        await bench.until(lambda: any(bench.pool.templates[revision].building for revision in early), "an import")
        before, began = count(), asyncio.get_running_loop().time()
        assert await bench.call(called, 1).value() == 1
        took_s = asyncio.get_running_loop().time() - began
        built = count() - before
        assert built < 3, f"the call waited {took_s:.2f} s for {built} templates that nobody waits for"
        await bench.until(lambda: all(ready(revision) == 1 for revision in early), "all of them in the end")
    finally:
        await bench.close()


async def test_what_is_early_evicts_nothing(tmp_path: Path) -> None:
    bench = PoolBench(tmp_path, max_instances=2)
    try:
        kept = [bench.revision(warm={"keep_alive_s": 600}) for _ in range(2)]
        for revision in kept:
            assert await bench.call(revision, 1).value() == 1
        wanted = bench.revision()
        steer(bench, (wanted, 1, True))
        bench.maintain()
        await bench.until(lambda: bench.pool.templates[wanted].template is not None, "the template")
        await bench.until(lambda: bench.pool._ahead._workers == 0, "where there is no room, the end of the attempts")
        assert [ready(revision) for revision in (*kept, wanted)] == [1, 1, 0]
        assert await bench.call(wanted, 2).value() == 2, "a call may evict"
        bench.clock.skip(11)
        steer(bench, (wanted, 2, True))
        bench.maintain()
        await asyncio.sleep(0.1)
        assert ready(wanted) == 1, "and after it there is no room either"
        left = next(revision for revision in kept if revision.connections)
        left.retire(next(iter(left.connections.values())), "expired")
        await bench.until(lambda: not left.connections, "its end")
        bench.clock.skip(11)
        bench.maintain()
        await bench.until(lambda: ready(wanted) == 2, "the second, once there is room")
    finally:
        await bench.close()


async def test_one_that_cannot_start_is_left_alone_for_a_while(bench: PoolBench) -> None:
    broken = bench.revision("raise RuntimeError('no')\n")
    fine = bench.revision()
    steer(bench, (broken, 1, True), (fine, 1, True))
    await bench.until(lambda: ready(fine) == 1 and broken.failures == 1, "one failure, and the other warm")
    bench.maintain()
    await asyncio.sleep(0.1)
    assert broken.failures == 1
    bench.clock.skip(2)
    bench.maintain()
    await bench.until(lambda: broken.failures == 2, "another attempt later")
