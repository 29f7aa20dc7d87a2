"""Asynchronous calls from the gateway to their end, over the fake driver."""

import asyncio
import threading
from pathlib import Path

import pytest

from isotherm.wire.desired import AsyncSpec
from tests.queue.conftest import Bench, until
from tests.queue.stores import Stores

FAST = {"retry_delay_s": 0.01, "max_retry_delay_s": 0.02}
COUNTED = """
calls = []
def handler(event, context):
    with open({path!r}, "a") as file:
        file.write(context.aws_request_id + "\\n")
    {body}
"""


def counted(path: Path, body: str = "return event") -> str:
    """A handler that writes down each of its runs."""
    return COUNTED.format(path=str(path), body=body)


async def test_an_event_is_answered_202_and_runs(bench: Bench) -> None:
    bench.function("echo")
    call_id = await bench.accepted("echo", {"n": 1})
    assert await bench.result(call_id) == {"n": 1}
    found = (await bench.detail(call_id)).call
    assert (found.source, found.attempts, found.condition, found.status) == ("async", 0, "Success", 200)


async def test_what_a_handler_streams_is_kept_as_text(bench: Bench) -> None:
    bench.function("rows", "def handler(event, context):\n    for n in range(event):\n        yield {'n': n}\n")
    assert await bench.result(await bench.accepted("rows", 2)) == '{"n":0}\n{"n":1}\n'
    large = (await bench.until(await bench.accepted("rows", 100_000), "succeeded")).call
    assert large.condition == "Success"  # though its result is too large to be kept
    bench.function("fails", "def handler(event, context):\n    yield 'x'\n    raise ValueError('late')\n",
                   asynchronous=AsyncSpec(retries=0, **FAST))  # fmt: skip
    dead = await bench.until(await bench.accepted("fails"), "dead")
    assert (dead.call.error_type, dead.result) == ("ValueError", None)


async def test_the_handler_sees_the_calls_id_and_client_context(bench: Bench) -> None:
    bench.function(
        "who",
        "def handler(event, context):\n    return [context.aws_request_id, context.client_context.custom]\n",
    )
    context = {"X-Amz-Client-Context": "eyJjdXN0b20iOnsiYSI6MX19"}
    call_id = await bench.accepted("who", headers=context)
    assert await bench.result(call_id) == [call_id, {"a": 1}]


async def test_what_may_not_be_called_is_refused_before_it_is_queued(bench: Bench) -> None:
    bench.function("echo", route={"rate_per_s": 0.001, "burst": 1})
    bench.key("viewer", "default", "iso_viewer")
    assert (await bench.event("nobody")).status == 404
    assert (await bench.event("echo", token="iso_viewer")).status == 403
    assert (await bench.event("echo", token=None)).status == 403
    broken = await bench.get(
        "/2015-03-31/functions/echo/invocations",
        method="POST",
        body=b"{",
        port=bench.api,
        headers={"X-Amz-Invocation-Type": "Event"},
    )
    assert (broken.status, broken.json()["code"]) == (400, "invalid")
    assert (await bench.event("echo")).status == 429  # the refused one took the token: it was called
    assert (await bench.calls()).calls == []


async def test_a_handler_that_fails_is_tried_again_and_then_kept_as_a_dead_letter(bench: Bench, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    bench.function("bad", counted(runs, "raise ValueError('no')"), asynchronous=AsyncSpec(retries=2, **FAST))
    call_id = await bench.accepted("bad", [1])
    dead = await bench.until(call_id, "dead")
    assert runs.read_text().split() == [call_id] * 3
    assert (dead.call.attempts, dead.call.condition) == (3, "RetriesExhausted")
    assert (dead.call.error_type, dead.call.error_message) == ("ValueError", "no")
    assert dead.event == [1]
    assert dead.result is None


async def test_a_call_that_fails_and_then_succeeds_has_its_result(bench: Bench, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    body = f"if len(open({str(runs)!r}).readlines()) < 3: raise ValueError('not yet')\n    return 'done'"
    bench.function("late", counted(runs, body), asynchronous=AsyncSpec(retries=5, **FAST))
    call_id = await bench.accepted("late")
    assert await bench.result(call_id) == "done"
    assert (await bench.detail(call_id)).call.attempts == 2


async def test_a_call_that_is_too_old_dies_without_running(bench: Bench, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    bench.function("old", counted(runs), asynchronous=AsyncSpec(max_age_s=0.0))
    dead = await bench.until(await bench.accepted("old"), "dead")
    assert (dead.call.condition, dead.call.attempts, runs.exists()) == ("EventAgeExceeded", 0, False)


async def test_a_function_that_is_gone_leaves_dead_letters_not_retries(bench: Bench) -> None:
    spec = bench.function("gone")
    await bench.change("pause", "gone")
    call_id = await bench.accepted("gone")
    bench.routes.remove(spec.workload_id)
    await bench.change("resume", "gone")
    assert (await bench.until(call_id, "dead")).call.condition == "Undeliverable"


async def test_a_full_function_is_left_alone_and_served_later(bench: Bench) -> None:
    """What the platform itself turns away is no attempt."""
    slow = "import time\ndef handler(event, context):\n    time.sleep(0.05)\n    return event\n"
    bench.function(
        "slow", slow, warm={"max_instances": 1}, queue_limit=0,
        asynchronous=AsyncSpec(retries=0, concurrency=4),
    )  # fmt: skip
    ids = [await bench.accepted("slow", n) for n in range(8)]
    assert [await bench.result(one) for one in ids] == list(range(8))
    assert {(await bench.detail(one)).call.attempts for one in ids} == {0}


async def test_deliveries_at_once_are_bounded(bench: Bench, tmp_path: Path) -> None:
    gauge = tmp_path / "gauge"
    code = f"""
import os, time
def handler(event, context):
    path = {str(gauge)!r} + context.aws_request_id
    open(path, "w").close()
    time.sleep(0.03)
    here = [name for name in os.listdir({str(tmp_path)!r}) if name.startswith("gauge")]
    os.unlink(path)
    return len(here)
"""
    bench.function("few", code, warm={"max_instances": 8}, asynchronous=AsyncSpec(concurrency=2))
    ids = [await bench.accepted("few") for _ in range(12)]
    assert max([await bench.result(one) for one in ids]) == 2


async def test_destinations_get_lambdas_record(bench: Bench) -> None:
    bench.function("next")
    bench.function("good", asynchronous=AsyncSpec(on_success="next"))
    bench.function(
        "bad",
        "def handler(e, c):\n    raise KeyError('k')\n",
        asynchronous=AsyncSpec(retries=0, on_failure="next:live"),
    )
    good, bad = await bench.accepted("good", {"a": 1}), await bench.accepted("bad", 2)

    async def both() -> bool:
        calls = (await bench.calls("next", state="succeeded")).calls
        return len(calls) == 2

    await until(both, lambda: "both destinations")
    records = {}
    for call in (await bench.calls("next")).calls:
        assert call.source == "destination"
        records[call.origin] = await bench.result(call.id)
    success, failure = records[good], records[bad]
    assert success["version"] == failure["version"] == "1.0"
    assert success["requestContext"]["requestId"] == good
    assert success["requestContext"]["condition"] == "Success"
    assert success["requestContext"]["approximateInvokeCount"] == 1
    assert (success["requestPayload"], success["responsePayload"]) == ({"a": 1}, {"a": 1})
    assert failure["requestContext"]["condition"] == "RetriesExhausted"
    assert failure["responseContext"] == {"statusCode": 502, "executedVersion": "1", "functionError": "Unhandled"}
    assert failure["responsePayload"] == {"errorType": "KeyError", "errorMessage": "'k'"}


async def test_a_circle_of_destinations_is_cut(bench: Bench) -> None:
    bench.function("circle", asynchronous=AsyncSpec(on_success="circle"))
    await bench.accepted("circle")
    hops = bench.queue.limits.max_hops

    async def done() -> bool:
        return len((await bench.calls("circle", state="succeeded")).calls) == hops + 1

    await until(done, lambda: f"{hops + 1} calls")
    assert (await bench.overview()).queues[0].queued == 0


async def test_a_paused_function_takes_calls_and_runs_none(bench: Bench) -> None:
    bench.function("held")
    await bench.change("pause", "held")
    ids = [await bench.accepted("held", n) for n in range(3)]
    state = (await bench.overview()).queues[0]
    assert (state.queued, state.running, state.paused) == (3, 0, True)
    await bench.change("resume", "held")
    assert [await bench.result(one) for one in ids] == [0, 1, 2]


async def test_purge_deletes_what_waits(bench: Bench) -> None:
    bench.function("heap")
    bench.function("other")
    await bench.change("pause", "heap")
    await bench.change("pause", "other")
    for name in ("heap", "heap", "other"):
        await bench.accepted(name)
    assert (await bench.change("purge", "heap")).count == 2
    assert [call.name for call in (await bench.calls()).calls] == ["other"]


async def test_a_redriven_dead_letter_is_a_new_call_and_the_old_one_never_runs_again(
    bench: Bench, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    bench.function("flaky", counted(runs, "raise ValueError('no')"), asynchronous=AsyncSpec(retries=0))
    dead = [await bench.accepted("flaky", n) for n in range(3)]
    for one in dead:
        await bench.until(one, "dead")
    spec = bench.function("flaky", counted(runs))
    bench.route(spec)
    first = await bench.change("redrive", "flaky", ids=dead[:1], principal_id="pr_me")
    rest = await bench.change("redrive", "flaky")
    assert (first.count, rest.count) == (1, 2)
    assert await bench.result(first.ids[0]) == 0
    for one in rest.ids:
        await bench.until(one, "succeeded")
    old = await bench.detail(dead[0])
    assert (old.call.state, old.call.redriven_to) == ("redriven", first.ids[0])
    new = await bench.detail(first.ids[0])
    assert (new.call.source, new.call.origin) == ("redrive", dead[0])
    written = runs.read_text().split()
    assert [written.count(one) for one in dead] == [1, 1, 1]
    assert (await bench.change("redrive", "flaky")).count == 0


async def test_only_dead_letters_of_the_function_are_redriven(bench: Bench) -> None:
    bench.function("echo")
    call_id = await bench.accepted("echo")
    await bench.until(call_id, "succeeded")
    with pytest.raises(Exception, match="is no dead letter of default/echo"):
        await bench.change("redrive", "echo", ids=[call_id])


async def test_calls_are_delivered_in_the_order_of_their_acceptance(bench: Bench, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    bench.function("line", counted(runs), asynchronous=AsyncSpec(concurrency=1))
    await bench.change("pause", "line")
    ids = [await bench.accepted("line", n) for n in range(600)]  # more than are held in memory
    await bench.change("resume", "line")
    await bench.until(ids[-1], "succeeded", 60)
    assert runs.read_text().split() == ids


async def test_what_was_accepted_outlives_the_process(tmp_path: Path, stores: Stores) -> None:
    first = Bench(tmp_path, stores)
    await first.start()
    first.function("echo")
    await first.change("pause", "echo")
    call_id = await first.accepted("echo", "kept")
    await first.stop()
    second = first.successor()
    second.function("echo")
    await second.start()
    assert (await second.detail(call_id)).call.state == "queued"
    await second.change("resume", "echo")
    assert await second.result(call_id) == "kept"
    await second.stop()


async def test_a_call_that_a_stop_interrupts_is_made_again(tmp_path: Path, stores: Stores) -> None:
    runs = tmp_path / "runs"
    first = Bench(tmp_path, stores)
    await first.start()
    first.function("long", counted(runs, "import time; time.sleep(30)"), asynchronous=AsyncSpec(retries=0))
    call_id = await first.accepted("long")

    async def running() -> bool:
        return runs.exists()

    await until(running, lambda: "the handler to run")
    await first.stop()
    second = first.successor()
    second.function("long", counted(runs))
    await second.start()
    assert (await second.until(call_id, "succeeded")).call.attempts == 0
    assert runs.read_text().split() == [call_id] * 2
    await second.stop()


async def test_results_and_dead_letters_end_with_their_time(bench: Bench) -> None:
    bench.function("echo")
    bench.function("bad", "def handler(e, c):\n    raise ValueError\n", asynchronous=AsyncSpec(retries=0))
    done, dead = await bench.accepted("echo"), await bench.accepted("bad")
    await bench.until(done, "succeeded")
    await bench.until(dead, "dead")
    later_ms = bench.queue.clock.time_ms() + 1000
    for state in (2, 3):
        assert await bench.queue.writer.write(lambda store, state=state: store.sweep(state, later_ms, 10)) == 1
    assert (await bench.calls()).calls == []


async def test_a_full_queue_refuses_with_a_reason(bench: Bench) -> None:
    bench.function("echo")
    bench.queue.used_bytes = bench.queue.limits.max_bytes
    refused = await bench.event("echo")
    assert (refused.status, "queue_mb" in refused.json()["detail"]) == (429, True)
    assert "retry-after" in refused.headers


async def test_calls_are_counted_by_how_they_ended(bench: Bench) -> None:
    bench.function("echo")
    bench.function("bad", "def handler(e, c):\n    raise ValueError\n", asynchronous=AsyncSpec(retries=1, **FAST))
    await bench.until(await bench.accepted("echo"), "succeeded")
    await bench.until(await bench.accepted("bad"), "dead")
    queue = bench.queue
    assert (queue.accepted, queue.over, queue.retried) == (2, {"succeeded": 1, "dead": 1}, 1)


@pytest.mark.parametrize("stores", ["sqlite"], indirect=True)
async def test_a_locked_database_refuses_calls_and_comes_back_by_itself(bench: Bench, tmp_path: Path) -> None:
    """What ended while nothing could be written is written once it can."""
    import sqlite3

    bench.store._write.execute("PRAGMA busy_timeout = 50")
    started, release = threading.Event(), threading.Event()
    go = tmp_path / "go"
    body = f"import os, time\n    while not os.path.exists({str(go)!r}): time.sleep(0.005)\n    return 1"
    bench.function("slow", counted(tmp_path / "runs", body))
    running = await bench.accepted("slow")

    def hold() -> None:
        other = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        started.set()
        release.wait(30)
        other.execute("ROLLBACK")
        other.close()

    holder = threading.Thread(target=hold)
    holder.start()
    await asyncio.to_thread(started.wait, 10)
    refused = await bench.event("slow")
    assert (refused.status, refused.json()["code"]) == (503, "unavailable")
    go.touch()
    await until(lambda: unwritten(bench), lambda: "the end of the call")
    assert (await bench.detail(running)).call.state != "succeeded"
    release.set()
    await asyncio.to_thread(holder.join)
    assert await bench.result(running) == 1
    assert (await bench.event("slow")).status == 202


async def test_nothing_of_an_event_is_readable_on_disk(bench: Bench, tmp_path: Path) -> None:
    bench.function("echo")
    call_id = await bench.accepted("echo", "very secret words")
    await bench.until(call_id, "succeeded")
    content = bench.stores.content(tmp_path)
    assert call_id.encode() in content
    assert b"very secret words" not in content


async def test_a_retry_is_not_forgotten_while_it_is_written(bench: Bench, tmp_path: Path) -> None:
    """Nothing is held of the function in that moment, so its lane is dropped and has to be made anew."""
    runs = tmp_path / "runs"
    body = f"if len(open({str(runs)!r}).readlines()) < 2: raise ValueError('not yet')"
    bench.function("again", counted(runs, body), asynchronous=AsyncSpec(retries=1, **FAST))
    go = threading.Event()
    call_id = await bench.accepted("again")

    async def failed() -> bool:
        return not bench.queue.running and runs.exists()

    bench.queue.writer.submit(lambda _: go.wait(10), lambda _, __: None)
    await until(failed, lambda: "the first attempt")
    for _ in range(10):
        bench.queue.tick()
    assert not bench.queue.lanes
    go.set()
    assert (await bench.until(call_id, "succeeded")).call.attempts == 1


async def test_a_client_that_leaves_before_it_is_answered_takes_its_call_not_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.function("echo")
    durable, commit = threading.Event(), bench.store.commit

    def late() -> None:
        durable.wait(5)
        commit()

    monkeypatch.setattr(bench.store, "commit", late)
    wire = await bench.wire(bench.api)
    wire.send(
        b"POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n"
        b"authorization: Bearer iso_admin\r\nx-amz-invocation-type: Event\r\n\r\n7"
    )
    await until(lambda: waits(bench), lambda: "the call to be written")
    wire.writer.transport.abort()
    await until(lambda: nobody(bench), lambda: "the connection to end")
    durable.set()
    await until(lambda: made(bench), lambda: "the call to be made")


async def unwritten(bench: Bench) -> bool:
    return bool(bench.queue._unwritten)


async def waits(bench: Bench) -> bool:
    return len(bench.queue.writer) > 0


async def nobody(bench: Bench) -> bool:
    return not bench.api.connections


async def made(bench: Bench) -> bool:
    return [call.state for call in (await bench.calls("echo")).calls] == ["succeeded"]
