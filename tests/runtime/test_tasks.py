"""Async handlers: what is theirs, what is the loop's, and how they end."""

import asyncio
import time

import pytest

from isotherm_runtime.frames import Kind, pack_frame
from tests.contracts.sandbox.client import TIME_LIMIT_S
from tests.runtime.conftest import Begin


@pytest.mark.parametrize(
    ("body", "kind", "error_type"),
    [
        ("raise asyncio.CancelledError", "handler", "CancelledError"),
        ("asyncio.current_task().cancel(); await asyncio.sleep(1)", "handler", "CancelledError"),
        ("raise SystemExit(4)", "exit", "Runtime.ExitError"),
        ("raise KeyboardInterrupt", "handler", "KeyboardInterrupt"),
        ("raise StopAsyncIteration", "handler", "StopAsyncIteration"),
        ("raise StopIteration", "handler", "RuntimeError"),
        ("asyncio.run(asyncio.sleep(0))", "handler", "RuntimeError"),
        ("return asyncio.sleep(0)", "response", "Runtime.MarshalError"),
        ("return [agen()]", "response", "Runtime.MarshalError"),
    ],
)
async def test_whatever_it_raises_ends_that_call_alone(begin: Begin, body: str, kind: str, error_type: str) -> None:
    client = await begin(
        f"""
import asyncio
async def agen():
    yield 1
async def handler(event, context):
    if event:
        {body}
    return "fine"
""",
        concurrency=4,
    )
    error = (await client.invoke(1)).error
    assert (error["kind"], error["error_type"]) == (kind, error_type)
    assert (await client.invoke(0)).value == "fine"


async def test_a_handler_that_stops_or_blocks_the_loop_does_not_end_the_instance(begin: Begin) -> None:
    client = await begin(
        """
import asyncio, time
async def handler(event, context):
    if event == "stop":
        asyncio.get_running_loop().stop()
    if event == "block":
        time.sleep(0.2)
    await asyncio.sleep(0)
    return event
""",
        concurrency=4,
    )
    for event in ("stop", "block", "stop", 1):
        assert (await client.invoke(event)).value == event


async def test_clean_up_runs_at_the_deadline_and_the_answer_says_so(begin: Begin) -> None:
    client = await begin(
        """
import asyncio
async def handler(event, context):
    try:
        await asyncio.sleep(30)
    finally:
        print("cleaned up", context.get_remaining_time_in_millis())
""",
        concurrency=2,
    )
    began = time.monotonic()
    error = (await client.invoke(None, deadline_ms=150)).error
    assert (error["kind"], error["error_message"]) == ("cancelled", "the time limit was reached")
    assert 0.1 < time.monotonic() - began < 5
    assert client.lines_of(1) == ["cleaned up 0"]


async def test_a_handler_may_outlive_its_cancellation_and_answer(begin: Begin) -> None:
    client = await begin(
        """
import asyncio
async def handler(event, context):
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        return "caught"
""",
        concurrency=2,
    )
    assert (await client.invoke(None, deadline_ms=50)).value == "caught"


async def test_many_deadlines_are_kept_by_one_timer(begin: Begin) -> None:
    client = await begin(
        "import asyncio\nasync def handler(event, context):\n    await asyncio.sleep(event)\n    return event\n",
        concurrency=64,
    )
    late = [client.request(30, deadline_ms=100 + 7 * number) for number in range(30)]
    early = [client.request(0.05, deadline_ms=5_000) for _ in range(30)]
    for stream in early:
        assert (await client.answer(stream)).value == 0.05
    for stream in late:
        assert (await client.answer(stream)).error["kind"] == "cancelled"


async def test_more_calls_than_the_limit_wait_in_order(begin: Begin) -> None:
    code = """
import asyncio
running = most = 0
order = []
async def handler(event, context):
    global running, most
    running += 1
    most = max(most, running)
    order.append(event)
    await asyncio.sleep(0.01)
    running -= 1
    return [most, order]
"""
    for changes, limit in (({"concurrency": 3}, 3), ({"concurrency": 3, "dispatch": "serial"}, 1)):
        client = await begin(code, **changes)
        streams = [client.request(number) for number in range(9)]
        answers = [(await client.answer(stream)).value for stream in streams]
        assert answers[-1] == [limit, list(range(9))]


async def test_context_variables_of_a_call_stay_in_it(begin: Begin) -> None:
    for prefix in ("", "async "):
        client = await begin(
            f"""
import contextvars
var = contextvars.ContextVar("var", default="unset")
var.set("at import")
{prefix}def handler(event, context):
    before = var.get()
    var.set(event)
    return before
""",
            concurrency=4,
        )
        assert [(await client.invoke(n)).value for n in range(3)] == ["at import"] * 3


async def test_background_tasks_go_on_and_their_output_is_the_instances(begin: Begin) -> None:
    client = await begin(
        """
import asyncio
tasks = []
async def later():
    await asyncio.sleep(0.05)
    print("later")
async def handler(event, context):
    print("now")
    tasks.append(asyncio.create_task(later()))
""",
        concurrency=2,
    )
    await client.invoke(None)
    end = time.monotonic() + TIME_LIMIT_S
    while not client.lines_of(0) and time.monotonic() < end:
        await asyncio.sleep(0.01)
    assert client.lines_of(1) == ["now"]
    assert client.lines_of(0) == ["later"]


async def test_drain_does_not_wait_for_background_tasks(begin: Begin) -> None:
    client = await begin(
        """
import asyncio
tasks = []
async def handler(event, context):
    tasks.append(asyncio.create_task(asyncio.sleep(60)))
""",
        concurrency=2,
    )
    await client.invoke(None)
    client.send(Kind.DRAIN, 0)
    assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 0


async def test_a_call_cancelled_before_its_first_step_is_answered_and_gives_its_place_back(begin: Begin) -> None:
    client = await begin("async def handler(event, context):\n    return event\n", concurrency=1)
    both = pack_frame(Kind.REQUEST, 901, b'["request-901"]', b"1", deadline_ms=10_000) + pack_frame(Kind.CANCEL, 901)
    client.instance.stream.send(both)  # in one piece: both are read before the task takes a step
    assert (await client.answer(901)).error["kind"] == "cancelled"
    assert (await client.invoke("next")).value == "next"
