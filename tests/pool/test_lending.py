"""Who gets which instance, and what a call that finds none is told."""

import asyncio

import pytest

from isotherm.base.errors import HandlerFailed, ImportFailed, TooManyRequests
from tests.pool.bench import PoolBench

SLOW = """
import time
def handler(event, context):
    time.sleep(event or 0)
    return event
"""
ASYNC = """
import asyncio
async def handler(event, context):
    await asyncio.sleep(event or 0)
    return event
"""


async def test_a_first_call_builds_the_template_and_is_cold_by_first(bench: PoolBench) -> None:
    revision = bench.revision()
    answer = bench.call(revision, {"x": 1})
    assert await answer.value() == {"x": 1}
    assert answer.call.cold_cause == "first"
    again = bench.call(revision, 2)
    assert await again.value() == 2
    assert again.call.cold_cause is None
    assert bench.driver.started == 1


async def test_simultaneous_calls_build_one_template(bench: PoolBench) -> None:
    bench.driver.faults.prepare_delay_s = 0.05
    revision = bench.revision(warm={"max_instances": 5})
    answers = [bench.call(revision, number) for number in range(50)]
    assert [await answer.value() for answer in answers] == list(range(50))
    assert bench.driver.prepared == 1


async def test_500_calls_of_a_cold_function_pass_the_limit_never_and_lose_none(bench: PoolBench) -> None:
    revision = bench.revision(warm={"max_instances": 20}, queue_limit=1000)
    most = 0
    answers = [bench.call(revision, number) for number in range(500)]
    while not all(answer.done.done() for answer in answers):
        most = max(most, len(bench.driver.instances))
        await asyncio.sleep(0)
    assert [await answer.value() for answer in answers] == list(range(500))
    assert 1 <= most <= 20


async def test_beyond_the_queue_a_call_is_told_when_to_come_again(bench: PoolBench) -> None:
    revision = bench.revision(SLOW, queue_limit=3, warm={"max_instances": 1})
    held = bench.call(revision, 0.3)
    await bench.until(lambda: held.call.carrier is not None)
    waiting = [bench.call(revision, 0) for _ in range(3)]
    refused = bench.call(revision, 0)
    with pytest.raises(TooManyRequests, match="queue is full") as caught:
        await refused.value()
    assert caught.value.retry_after_s is not None
    assert [await answer.value() for answer in (held, *waiting)] == [0.3, 0, 0, 0]


async def test_a_call_that_waits_too_long_is_turned_away(bench: PoolBench) -> None:
    revision = bench.revision(SLOW, queue_wait_s=0.1, warm={"max_instances": 1})
    held = bench.call(revision, 0.4)
    await bench.until(lambda: held.call.carrier is not None)
    with pytest.raises(TooManyRequests, match=r"waited 0\.1 s"):
        await bench.call(revision, 0).value()
    assert await held.value() == 0.4


async def test_short_calls_do_not_wait_for_long_ones_where_instances_may_be_started(bench: PoolBench) -> None:
    revision = bench.revision(SLOW, queue_wait_s=5.0, warm={"spare": 0, "max_instances": 4})
    for _ in range(30):  # so that calls are known to be short
        await bench.call(revision, 0).value()
    held = bench.call(revision, 3)
    await bench.until(lambda: held.call.carrier is not None)
    assert await bench.call(revision, 0).value() == 0
    assert not held.done.done()
    assert await held.value() == 3


async def test_an_instance_takes_as_many_calls_as_its_concurrency(bench: PoolBench) -> None:
    revision = bench.revision(ASYNC, concurrency=8, warm={"max_instances": 1})
    await bench.call(revision, 0).value()
    answers = [bench.call(revision, 0.1) for _ in range(12)]
    (connection,) = revision.connections.values()
    assert len(connection.calls) == 8
    assert len(revision.queue) == 4
    assert [await answer.value() for answer in answers] == [0.1] * 12


async def test_a_spare_takes_the_next_call_and_is_replaced(bench: PoolBench) -> None:
    revision = bench.revision(SLOW, warm={"spare": 1, "max_instances": 4})
    await bench.pool.prepare_template(revision.spec)
    await bench.pool.prepare_instances(revision.spec, 1)
    assert len(revision.spares) == 1
    answer = bench.call(revision, 0.05)
    assert answer.call.cold_cause == "spare"
    await bench.until(lambda: len(revision.spares) == 1, "a new spare")
    assert await answer.value() == 0.05
    assert len(revision.connections) == 2


async def test_as_many_as_are_asked_for_are_up_before_the_first_call_within_the_limit(bench: PoolBench) -> None:
    revision = bench.revision(SLOW, warm={"spare": 1, "max_instances": 5})
    await bench.pool.prepare_instances(revision.spec, 3)
    assert (len(revision.connections), len(revision.spares), len(revision.free)) == (3, 1, 2)
    await bench.pool.prepare_instances(revision.spec, 2)
    assert len(revision.connections) == 3, "those that are there count"
    answers = [bench.call(revision, 0.05) for _ in range(3)]
    assert [answer.call.cold_cause for answer in answers] == [None, None, "spare"]
    assert [await answer.value() for answer in answers] == [0.05] * 3
    await bench.pool.prepare_instances(revision.spec, 50)
    assert len(revision.connections) == 5


async def test_a_spare_is_warmed_by_the_event_of_its_revision_and_that_is_not_counted(bench: PoolBench) -> None:
    code = "seen = []\ndef handler(event, context):\n    seen.append(event)\n    return seen\n"
    revision = bench.revision(code, warm={"spare": 1, "warm_event": {"ping": True}})
    await bench.pool.prepare_template(revision.spec)
    await bench.pool.prepare_instances(revision.spec, 1)
    (spare,) = revision.spares
    assert spare.warmed
    assert revision.stats.window.count == 0
    answer = bench.call(revision, "mine")
    assert await answer.value() == [{"ping": True}, "mine"]
    assert answer.call.cold_cause == "spare"


async def test_a_handlers_error_is_the_callers_and_the_instance_goes_on(bench: PoolBench) -> None:
    code = "def handler(event, context):\n    if event: raise ValueError('no')\n    return 'fine'\n"
    revision = bench.revision(code, warm={"max_instances": 1})
    with pytest.raises(HandlerFailed) as caught:
        await bench.call(revision, 1).value()
    assert caught.value.data["error_type"] == "ValueError"
    assert await bench.call(revision, 0).value() == "fine"
    assert bench.driver.started == 1


async def test_what_cannot_be_imported_is_said_to_all_who_wait_and_not_tried_at_once_again(bench: PoolBench) -> None:
    revision = bench.revision("raise RuntimeError('broken')\n")
    answers = [bench.call(revision) for _ in range(5)]
    for answer in answers:
        with pytest.raises(ImportFailed):
            await answer.value()
    assert revision.retry_at_s > bench.clock.now()


async def test_a_caller_that_leaves_while_it_waits_is_never_sent(bench: PoolBench) -> None:
    revision = bench.revision(SLOW, warm={"max_instances": 1})
    held = bench.call(revision, 0.1)
    await bench.until(lambda: held.call.carrier is not None)
    gone = bench.call(revision, 5)
    revision.abandon(gone.call)
    after = bench.call(revision, 0)
    assert await after.value() == 0
    assert gone.call.carrier is None


async def test_leaving_cancels_an_async_handler(bench: PoolBench) -> None:
    revision = bench.revision(ASYNC, concurrency=2, warm={"max_instances": 1})
    await bench.call(revision, 0).value()
    gone = bench.call(revision, 30)
    await bench.call(revision, 0).value()  # so the handler of the one before runs
    revision.abandon(gone.call)
    (connection,) = revision.connections.values()
    await bench.until(lambda: not connection.calls, "the slot's return")
    assert await bench.call(revision, 0).value() == 0


async def test_two_revisions_share_the_hosts_limit_by_eviction(tmp_path: object, bench: PoolBench) -> None:
    small = PoolBench(bench.folder / "small", max_instances=1)
    small.folder.mkdir()
    first, second = small.revision(), small.revision()
    assert await small.call(first, 1).value() == 1
    assert await small.call(second, 2).value() == 2
    again = small.call(first, 3)
    assert await again.value() == 3
    assert again.call.cold_cause == "evicted"
    await small.close()


async def test_a_cold_function_without_a_queue_is_woken_all_the_same(bench: PoolBench) -> None:
    """A call has to wait for the instance that is started for it; beyond its instances it is turned away."""
    code = "import time\ndef handler(event, context):\n    time.sleep(0.2)\n    return event\n"
    revision = bench.revision(code, queue_limit=0, warm={"max_instances": 2})
    answers = [bench.call(revision, n) for n in range(3)]
    assert [await answer.value() for answer in answers[:2]] == [0, 1]
    with pytest.raises(TooManyRequests):
        await answers[2].value()
