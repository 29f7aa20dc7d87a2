"""Leader and followers under load: every call answered once, limits kept, nobody held up."""

import asyncio
import time

from isotherm_runtime.frames import Kind
from tests.runtime.conftest import Begin

MIXED = """
import threading, time
lock = threading.Lock()
running = most = 0
def handler(event, context):
    global running, most
    with lock:
        running += 1
        most = max(most, running)
    print(event[0])
    time.sleep(event[1])
    with lock:
        running -= 1
    return [event[0], most, threading.active_count()]
"""


async def test_a_mix_of_fast_and_slow_calls_is_answered_once_each(begin: Begin) -> None:
    client = await begin(MIXED, concurrency=8)
    sent = {}
    for number in range(600):
        pause = 0.02 if number % 7 == 0 else 0.0
        sent[client.request([number, pause])] = number
        if number % 40 == 39:
            await client.answer(client._next - 20)  # so that the stream never fills
    answers = await asyncio.gather(*(client.answer(stream) for stream in sent))
    assert [answer.value[0] for answer in answers] == list(sent.values())
    assert sorted(client.answered) == sorted(sent)
    assert max(answer.value[1] for answer in answers) <= 8  # handlers at a time
    assert max(answer.value[2] for answer in answers) <= 10  # threads: the main one, eight, and one that reads
    for stream, number in sent.items():
        assert client.lines_of(stream) == [str(number)]


async def test_fast_calls_need_no_second_thread(begin: Begin) -> None:
    client = await begin(
        "import threading\ndef handler(event, context):\n    return threading.get_ident()\n", concurrency=64
    )
    threads = []
    for _ in range(20):
        streams = [client.request(None) for _ in range(32)]
        threads.append(len({(await client.answer(stream)).value for stream in streams}))
    assert sorted(threads)[5] == 1, threads  # more where the machine stalled a call for a millisecond


async def test_many_slow_calls_at_once_are_all_under_way_soon(begin: Begin) -> None:
    client = await begin(
        "import threading, time\ntogether = threading.Barrier(64)\ndef handler(event, context):\n"
        "    began = time.monotonic()\n    if event:\n        together.wait(15)\n    return began\n",
        concurrency=64,
    )
    await client.invoke(0)
    streams = [client.request(1) for _ in range(64)]
    began = [(await client.answer(stream)).value for stream in streams]
    assert max(began) - min(began) < 5.0  # measured: 0.01 s


async def test_more_calls_than_threads_wait_their_turn(begin: Begin) -> None:
    client = await begin(MIXED, concurrency=2)
    streams = [client.request([number, 0.02]) for number in range(20)]
    answers = [(await client.answer(stream)).value for stream in streams]
    assert [answer[0] for answer in answers] == list(range(20))
    assert max(answer[1] for answer in answers) <= 2


async def test_a_waiting_call_can_be_cancelled_and_one_that_is_late_is_not_begun(begin: Begin) -> None:
    client = await begin(MIXED, concurrency=1 + 1)
    slow = [client.request([number, 0.4]) for number in range(2)]
    await asyncio.sleep(0.05)
    late = client.request([10, 0], deadline_ms=100)
    dropped = client.request([11, 0])
    client.send(Kind.CANCEL, dropped)
    assert (await client.answer(dropped)).error["kind"] == "cancelled"
    assert (await client.answer(late)).error["kind"] == "cancelled"
    for stream in slow:
        await client.answer(stream)
    assert client.lines_of(late) == []


async def test_a_fast_call_does_not_wait_for_one_that_computes(begin: Begin) -> None:
    client = await begin(
        """
import time
def handler(event, context):
    end = time.monotonic() + event
    while time.monotonic() < end:
        pass
""",
        concurrency=8,
    )
    late = []
    for _ in range(5):
        slow = client.request(0.3)
        await asyncio.sleep(0.002)
        began = time.monotonic()
        await client.invoke(0)
        late.append(time.monotonic() - began)
        await client.answer(slow)
    assert sorted(late)[2] < 0.1  # measured: 2 to 5 ms


async def test_an_idle_instance_uses_no_cpu(begin: Begin) -> None:
    client = await begin("def handler(event, context):\n    return 1\n", concurrency=16)
    await client.invoke(None)
    await asyncio.sleep(0.1)
    clock = (~client.instance.process.pid << 3) | 2  # type: ignore[attr-defined]  # a LocalInstance
    before = time.clock_gettime(clock)
    await asyncio.sleep(0.5)
    assert time.clock_gettime(clock) - before < 0.005
    assert (await client.invoke(None)).value == 1
