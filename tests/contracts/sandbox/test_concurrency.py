"""Calls beside each other in one instance, and whose output is whose, on every driver."""

import asyncio
import time

import pytest

from isotherm_runtime.frames import Kind
from tests.contracts.sandbox.conftest import Start
from tests.contracts.sandbox.harness import Harness

SLEEPY = {
    "threads": "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n",
    "async": "import asyncio\nasync def handler(event, context):\n    await asyncio.sleep(event)\n    return event\n",
}
TOGETHER = {
    "threads": "import threading\nbarrier = threading.Barrier(16)\n"
    "def handler(event, context):\n    barrier.wait(8)\n    return event\n",
    "async": "import asyncio\nbarrier = asyncio.Barrier(16)\n"
    "async def handler(event, context):\n    await barrier.wait()\n    return event\n",
}


@pytest.mark.parametrize("kind", ["threads", "async"])
async def test_calls_run_beside_each_other(start: Start, kind: str) -> None:
    client = await start(TOGETHER[kind], concurrency=16)
    streams = [client.request(number) for number in range(16)]
    answers = await asyncio.gather(*(client.answer(stream) for stream in streams))
    assert [answer.value for answer in answers] == list(range(16))


@pytest.mark.parametrize("kind", ["threads", "async"])
async def test_a_slow_call_does_not_hold_up_a_fast_one(start: Start, kind: str) -> None:
    client = await start(SLEEPY[kind], concurrency=8)
    slow = client.request(10.0)
    fast = [client.request(0) for _ in range(5)]
    await asyncio.gather(*(client.answer(stream) for stream in fast))
    await asyncio.sleep(0.05)
    assert (await client.invoke(0)).value == 0
    assert slow not in client.answered


async def test_serial_dispatch_runs_one_at_a_time_in_order(start: Start) -> None:
    client = await start(
        """
import threading, time
running, threads, order = [], set(), []
def handler(event, context):
    running.append(1); threads.add(threading.get_ident()); order.append(event)
    time.sleep(0.01)
    most = len(running)
    running.pop()
    return [most, len(threads), order]
""",
        concurrency=8,
        dispatch="serial",
    )
    streams = [client.request(number) for number in range(8)]
    answers = [(await client.answer(stream)).value for stream in streams]
    assert {(most, threads) for most, threads, _ in answers} == {(1, 1)}
    assert answers[-1][2] == list(range(8))


@pytest.mark.parametrize("kind", ["threads", "async"])
async def test_a_ping_is_answered_while_a_call_runs(start: Start, kind: str) -> None:
    client = await start(SLEEPY[kind], concurrency=2)
    slow = client.request(10.0)
    client.send(Kind.PING, 0)
    await client.ponged()
    assert client.pongs == 1
    assert slow not in client.answered


async def test_cancel_ends_an_async_call(start: Start) -> None:
    client = await start(SLEEPY["async"], concurrency=2)
    stream = client.request(30)
    await client.invoke(0)
    client.send(Kind.CANCEL, stream)
    assert (await client.answer(stream)).error["kind"] == "cancelled"


TALKATIVE = """
import asyncio, logging, sys, threading, time
log = logging.getLogger("shop")
def say(event):
    print("print", event)
    print("error", event, file=sys.stderr)
    log.warning("record %s", event)
    thread = threading.Thread(target=print, args=("thread", event))
    thread.start()
    thread.join()
"""


@pytest.mark.parametrize("kind", ["threads", "async"])
async def test_output_belongs_to_the_call_that_wrote_it(start: Start, kind: str) -> None:
    tail = {
        "threads": "def handler(event, context):\n    say(event)\n    time.sleep(0.05)\n"
        "    print('end', event, end='')\n",
        "async": "async def handler(event, context):\n    say(event)\n    await asyncio.sleep(0.05)\n"
        "    print('end', event, end='')\n",
    }
    client = await start(TALKATIVE + tail[kind], concurrency=8)
    streams = {client.request(number): number for number in range(8)}
    await asyncio.gather(*(client.answer(stream) for stream in streams))
    for stream, n in streams.items():
        assert client.lines_of(stream) == [f"print {n}", f"error {n}", f"record {n}", f"thread {n}", f"end {n}"]
    assert {line.level for line in client.logs if line.text.startswith("record")} == {"WARNING"}


async def test_output_over_the_limit_is_cut_and_says_so_once(start: Start) -> None:
    client = await start("""
def handler(event, context):
    for _ in range(200):
        print("x" * 100_000)
    print("end")
    return "fine"
""")
    assert (await client.invoke({})).value == "fine"
    assert sum(len(line.text) for line in client.logs if not line.truncated) <= 4096
    assert [line.truncated for line in client.logs].count(True) == 1
    assert client.logs[-1].truncated
    before = len(client.logs)
    assert (await client.invoke({})).value == "fine"  # the limit is for each call
    assert len(client.logs) > before


async def test_raw_output_comes_through_the_instances_pipe(start: Start, harness: Harness) -> None:
    if not harness.owns_descriptors:
        pytest.skip("in this driver descriptors 1 and 2 are the tests' own")
    client = await start(
        "import os\ndef handler(event, context):\n    os.write(1, b'raw ')\n    os.system('echo shell')\n"
    )
    await client.invoke({})
    import os

    text, end = b"", time.monotonic() + 5
    while b"shell" not in text and time.monotonic() < end:
        try:
            text += os.read(client.instance.output, 4096)
        except BlockingIOError:
            await asyncio.sleep(0.01)
    assert text == b"raw shell\n"


async def test_more_calls_than_the_limit_of_processes_are_all_answered(start: Start) -> None:
    client = await start(SLEEPY["threads"], concurrency=100)  # the limit of the suite's specs is 64
    streams = [client.request(0.2) for _ in range(100)]
    for stream in streams:
        assert (await client.answer(stream)).value == 0.2
