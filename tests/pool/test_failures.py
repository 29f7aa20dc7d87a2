"""Crashes, time limits, lost templates and a lost driver: the caller is told, and nobody else notices."""

import asyncio

import pytest

from isotherm.base.errors import (
    ImportFailed,
    InstanceCrashed,
    InvalidResponse,
    OutOfMemory,
    TimedOut,
    Unavailable,
)
from isotherm.pool.revision import RevisionPool
from isotherm.sandbox.drivers.fake import FakeInstance
from isotherm.sandbox.model import Exit
from isotherm.wire.telemetry import InvocationRecord
from isotherm_runtime.frames import HEADER, Kind
from tests.pool.bench import Answer, PoolBench

SLEEPER = """
import time
def handler(event, context):
    time.sleep(event or 0)
    return event
"""
GATED = """
import os, time
def handler(event, context):
    go, size = event
    if go:
        open(f"{go}.begun", "w").close()
        while not os.path.exists(go):
            time.sleep(0.005)
    return "x" * size
"""
ASYNC = """
import asyncio
async def handler(event, context):
    await asyncio.sleep(event or 0)
    return event
"""


async def held(bench: PoolBench, revision: RevisionPool, name: str, size: int) -> Answer:
    """A call of GATED that has begun, and ends once there is a file of that name."""
    call = bench.call(revision, [str(bench.folder / name), size])
    await bench.until((bench.folder / f"{name}.begun").exists, "the handler")
    return call


async def test_a_crash_fails_its_call_and_spares_the_next(bench: PoolBench) -> None:
    revision = bench.revision(SLEEPER, warm={"max_instances": 1})
    call = bench.call(revision, 5)
    await bench.until(lambda: call.call.carrier is not None)
    waiting = bench.call(revision, 0)
    bench.driver.instances[0].die(Exit(signal=11))
    with pytest.raises(InstanceCrashed, match="signal 11"):
        await call.value()
    assert await waiting.value() == 0
    assert bench.driver.started == 2


async def test_crashes_of_handlers_do_not_hold_back_the_next_start(bench: PoolBench) -> None:
    revision = bench.revision("import os\ndef handler(event, context):\n    if event: os._exit(1)\n    return 1\n")
    for _ in range(3):
        with pytest.raises(InstanceCrashed):
            await bench.call(revision, 1).value()
    assert revision.failures == 0
    assert await bench.call(revision, 0).value() == 1


async def test_out_of_memory_is_told_with_the_limit(bench: PoolBench) -> None:
    revision = bench.revision(SLEEPER, memory_mb=64)
    call = bench.call(revision, 5)
    await bench.until(lambda: call.call.carrier is not None)
    bench.driver.instances[0].run_out_of_memory()
    with pytest.raises(OutOfMemory, match="64 MB"):
        await call.value()
    again = bench.call(revision, 0)
    assert await again.value() == 0
    assert again.call.cold_cause == "replaced"


async def test_exit_in_the_handler_is_a_crash_of_that_call(bench: PoolBench) -> None:
    code = "import os\ndef handler(event, context):\n    if event: os._exit(3)\n    return 1\n"
    revision = bench.revision(code)
    with pytest.raises(InstanceCrashed, match="status 3"):
        await bench.call(revision, 1).value()
    assert await bench.call(revision, 0).value() == 1


async def test_at_its_deadline_a_lone_call_ends_its_instance(bench: PoolBench) -> None:
    revision = bench.revision(SLEEPER, timeout_s=0.2, warm={"max_instances": 1})
    call = bench.call(revision, 3)
    with pytest.raises(TimedOut, match=r"0\.2 s"):
        await call.value()
    again = bench.call(revision, 0)
    assert await again.value() == 0
    assert again.call.cold_cause == "replaced"


async def test_an_async_handler_is_cancelled_at_its_deadline_and_its_instance_stays(bench: PoolBench) -> None:
    revision = bench.revision(ASYNC, timeout_s=0.6, concurrency=4, warm={"max_instances": 1})
    await bench.call(revision, 0).value()
    with pytest.raises(TimedOut):
        await bench.call(revision, 5).value()
    assert await bench.call(revision, 0).value() == 0
    assert bench.driver.started == 1


async def test_a_stuck_instance_takes_no_new_calls_and_its_others_run_on(bench: PoolBench) -> None:
    revision = bench.revision(GATED, timeout_s=60, concurrency=4, warm={"max_instances": 2})
    stuck = await held(bench, revision, "stuck", 1)
    bench.clock.skip(40)
    other = await held(bench, revision, "other", 2)
    bench.clock.skip(40)
    with pytest.raises(TimedOut):
        await stuck.value()
    (old,) = [each for each in revision.connections.values() if each.stuck]
    fresh = bench.call(revision, ["", 3])
    assert await fresh.value() == "xxx"
    assert fresh.call.carrier is not old
    (bench.folder / "other").touch()
    assert await other.value() == "xx"
    assert other.call.carrier is old
    await bench.until(lambda: old.id not in revision.connections, "the end of the stuck instance")
    (bench.folder / "stuck").touch()


async def test_a_template_that_dies_is_built_again(bench: PoolBench) -> None:
    revision = bench.revision(warm={"spare": 1})
    await bench.call(revision, 0).value()
    bench.driver.templates[0].die("it was killed")
    await bench.until(lambda: not revision.connections, "the end of its instances")
    assert await bench.call(revision, 7).value() == 7
    assert bench.driver.prepared == 2


async def test_calls_wait_for_a_driver_that_is_away(bench: PoolBench) -> None:
    revision = bench.revision()
    driver = bench.pool.detach()
    assert driver is bench.driver
    call = bench.call(revision, 1)
    await asyncio.sleep(0.05)
    assert not call.done.done()
    bench.pool.attach(bench.driver)
    assert await call.value() == 1


async def test_a_start_that_fails_for_now_is_told_and_later_tried_again(bench: PoolBench) -> None:
    revision = bench.revision(queue_wait_s=1000)
    bench.driver.faults.start_error = Unavailable("no room")
    call = bench.call(revision)
    for failures in (1, 2):
        await bench.until(lambda: revision.failures == failures and not revision.starting, "a failed start")  # noqa: B023
        bench.clock.skip(5)
    with pytest.raises(Unavailable, match="no room"):
        await call.value()
    bench.driver.faults.start_error = None
    call = bench.call(revision, 5)
    bench.clock.skip(5)
    assert await call.value() == 5


async def test_calls_outlast_a_platform_that_cannot_start_for_a_moment(bench: PoolBench) -> None:
    revision = bench.revision()
    bench.driver.faults.start_error = Unavailable("no room")
    call = bench.call(revision, 7)
    await bench.until(lambda: revision.failures == 1, "a failed start")
    bench.driver.faults.start_error = None
    assert await call.value() == 7


async def test_an_instance_that_dies_before_its_hello_does_not_hang_anyone(bench: PoolBench) -> None:
    bench.driver.faults.die_at_start = Exit(signal=9, out_of_memory=True)
    revision = bench.revision()
    with pytest.raises(OutOfMemory):
        await bench.call(revision).value()


async def test_an_import_that_fails_in_the_instance_is_an_import_error(bench: PoolBench) -> None:
    code = "import os\nif 'twice' in os.environ: raise RuntimeError('no')\ndef handler(event, context): return 1\n"
    revision = bench.revision(code, env={"twice": "1"}, warm={"template": False})
    with pytest.raises(ImportFailed):
        await bench.call(revision).value()


async def test_an_answer_over_the_limit_fails_that_call_alone(bench: PoolBench) -> None:
    small = PoolBench(bench.folder / "small", max_body_mb=0.01)
    small.folder.mkdir()
    revision = small.revision("def handler(event, context):\n    return 'x' * event\n", warm={"max_instances": 1})
    with pytest.raises(InvalidResponse):
        await small.call(revision, 400_000).value()
    assert await small.call(revision, 3).value() == "xxx"
    assert small.driver.started == 1
    await small.close()


async def test_what_the_handler_could_not_say_is_in_its_log(bench: PoolBench) -> None:
    revision = bench.revision(SLEEPER, timeout_s=0.2)
    late = bench.call(revision, 5)
    with pytest.raises(TimedOut):
        await late.value()
    crashed = bench.call(revision, 5)
    await bench.until(lambda: crashed.call.carrier is not None)
    carrier = crashed.call.carrier
    next(one for one in bench.driver.instances if carrier is not None and one.id == carrier.id).die(Exit(signal=11))
    with pytest.raises(InstanceCrashed):
        await crashed.value()
    lines = [line for line in bench.recorder.collect().logs if line.stream == "platform"]
    assert [(line.invocation_id, line.level) for line in lines] == [
        (late.call.id, "error"),
        (crashed.call.id, "error"),
    ]
    assert "0.2 s" in lines[0].message
    assert "signal 11" in lines[1].message


async def test_a_late_answer_over_the_limit_gives_its_instance_back(bench: PoolBench) -> None:
    small = PoolBench(bench.folder / "small", max_body_mb=0.01)
    small.folder.mkdir()
    revision = small.revision(GATED, timeout_s=60, concurrency=4, warm={"max_instances": 1})
    late = await held(small, revision, "late", 400_000)
    small.clock.skip(40)
    beside = await held(small, revision, "beside", 1)  # while it runs, the instance is not ended for the late one
    small.clock.skip(40)
    with pytest.raises(TimedOut):
        await late.value()
    (connection,) = revision.connections.values()
    (small.folder / "late").touch()
    await small.until(lambda: not connection.stuck, "the late answer")
    (small.folder / "beside").touch()
    assert await beside.value() == "x"
    assert await small.call(revision, ["", 2]).value() == "xx"
    assert small.driver.started == 1
    await small.close()


async def test_a_stream_that_is_full_at_once_loses_no_instance_and_no_call(bench: PoolBench) -> None:
    revision = bench.revision("def handler(event, context):\n    return len(event)\n", concurrency=16)
    assert await bench.call(revision, "warm").value() == 4
    calls = [bench.call(revision, "x" * 1_500_000) for _ in range(16)]
    assert [await call.value() for call in calls] == [1_500_000] * 16
    assert all(connection.listed == (connection in revision.free) for connection in revision.connections.values())
    assert await bench.call(revision, "again").value() == 5


async def test_an_import_that_takes_long_stands_before_no_other_start(bench: PoolBench) -> None:
    slow = bench.revision(SLEEPER, warm={"template": False})
    assert await bench.call(slow, 0).value() == 0
    template, go = bench.driver.templates[0], asyncio.Event()
    start = template.start

    async def start_that_imports() -> FakeInstance:
        await go.wait()
        return await start()

    template.start = start_that_imports  # type: ignore[method-assign]  # its import is slow from now on
    bench.driver.instances[0].die(Exit(status=0))
    await bench.until(lambda: not slow.connections, "the end of the first instance")
    waiting = bench.call(slow, 0)
    await bench.until(lambda: slow.starting, "the start that imports")
    others = [bench.revision(f"def handler(event, context):\n    return {number}\n") for number in range(3)]
    assert [await bench.call(revision).value() for revision in others] == [0, 1, 2]
    assert not waiting.done.done()
    go.set()
    assert await waiting.value() == 0


@pytest.mark.parametrize(
    "frame",
    [
        HEADER.pack(0xFFFF_FFFF, 0, 1, 0, Kind.RESPONSE, 0, 0),
        HEADER.pack(4, 8, 1, 0, Kind.RESPONSE, 0, 0) + b"abcd",
        HEADER.pack(0, 0, 999, 0, Kind.RESPONSE, 0, 0),
        HEADER.pack(0, 0, 0, 0, 200, 0, 0),
        HEADER.pack(0, 0, 777, 0, Kind.ERROR, 0, 0),
    ],
    ids=["huge", "head longer than frame", "unknown call", "unknown kind", "error of an unknown call"],
)
async def test_an_instance_that_breaks_the_protocol_is_ended(bench: PoolBench, frame: bytes) -> None:
    revision = bench.revision(SLEEPER)
    call = bench.call(revision, 2)
    await bench.until(lambda: call.call.carrier is not None)
    bench.driver.instances[0]._end.send(frame)
    with pytest.raises(InstanceCrashed, match="protocol"):
        await call.value()
    assert await bench.call(revision, 0).value() == 0


async def test_a_frame_may_come_in_pieces(bench: PoolBench) -> None:
    revision = bench.revision("def handler(event, context):\n    return 'y' * event\n")
    assert len(await bench.call(revision, 3_000_000).value()) == 3_000_000


async def test_a_removed_revision_lets_its_calls_end_and_refuses_the_waiting(bench: PoolBench) -> None:
    revision = bench.revision(SLEEPER, warm={"max_instances": 1})
    running = bench.call(revision, 0.2)
    await bench.until(lambda: running.call.carrier is not None)
    waiting = bench.call(revision, 0)
    forgetting = asyncio.create_task(bench.pool.forget(revision.spec.id))
    with pytest.raises(Unavailable):
        await waiting.value()
    assert await running.value() == 0.2
    await forgetting
    assert not bench.driver.instances
    assert not bench.driver.templates


async def test_every_outcome_is_counted_and_failures_are_recorded(bench: PoolBench) -> None:
    code = "def handler(event, context):\n    if event: raise KeyError('k')\n    return 1\n"
    revision = bench.revision(code)
    await bench.call(revision, 0).value()
    with pytest.raises(Exception, match="KeyError"):
        await bench.call(revision, 1).value()
    collected = bench.recorder.collect()
    (minute,) = collected.minutes
    assert minute.count == 2
    assert minute.outcomes == {"ok": 1, "handler_error": 1}
    assert minute.cold == {"first": 1}
    assert sum(minute.latency) == 2
    by_why = {record.why_kept: record for record in collected.invocations}
    assert set(by_why) == {"cold", "failed"}
    failed: InvocationRecord = by_why["failed"]
    assert (failed.error_type, failed.status, failed.outcome) == ("KeyError", 502, "handler_error")
