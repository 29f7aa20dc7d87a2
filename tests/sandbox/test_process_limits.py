"""Limits hold, per instance and per revision, and who breaks one goes alone."""

import asyncio
import signal
import time

import pytest

from isotherm.base.errors import Unavailable
from tests.contracts.sandbox.client import Ended
from tests.sandbox.conftest import MB, Bench

pytestmark = pytest.mark.root

EAT = """
import os, subprocess, sys
def eat(megabytes):
    held = bytearray(megabytes << 20)
    for index in range(0, len(held), 4096):
        held[index] = 1
    return held
def handler(event, context):
    if event == "eat":
        eat(400)
    if event == "child":
        code = "x = bytearray(400 << 20)\\nfor i in range(0, len(x), 4096): x[i] = 1"
        return subprocess.run([sys.executable, "-c", code]).returncode
    if event == "keep":
        global kept
        kept = eat(60)
    return "alive"
"""


async def test_one_instance_over_its_memory_goes_alone(bench: Bench) -> None:
    template = await bench.template(EAT)
    greedy, sibling = await bench.client(template), await bench.client(template)
    stream = greedy.request("eat")
    with pytest.raises(Ended):
        await greedy.answer(stream)
    how = await asyncio.wait_for(greedy.instance.exited, 10)
    assert (how.out_of_memory, how.signal, how.asked) == (True, signal.SIGKILL, False)
    assert (await sibling.invoke()).value == "alive"
    assert (await (await bench.client(template)).invoke()).value == "alive"
    assert not template.closed.done()


async def test_a_child_over_the_memory_is_killed_alone(bench: Bench) -> None:
    client = await bench.client(await bench.template(EAT))
    assert (await client.invoke("child")).value == -signal.SIGKILL
    assert (await client.invoke()).value == "alive"


async def test_a_kill_that_comes_after_the_end_has_begun_does_not_hide_why(bench: Bench) -> None:
    client = await bench.client(await bench.template(EAT))
    stream = client.request("eat")
    with pytest.raises(Ended):
        await client.answer(stream)
    client.instance.kill()  # as a host does that sees the stream end
    assert (await client.instance.exited).out_of_memory


async def test_an_instance_killed_by_us_did_not_run_out_of_memory(bench: Bench) -> None:
    client = await bench.client(await bench.template(EAT))
    await client.invoke("child")
    client.instance.kill()
    assert (await client.instance.exited).out_of_memory is False


async def test_the_revision_as_a_whole_is_limited(bench: Bench) -> None:
    template = await bench.template(EAT, revision_memory_bytes=200 * MB)
    clients = [await bench.client(template) for _ in range(4)]
    await asyncio.gather(*(client.invoke("keep") for client in clients), return_exceptions=True)
    exits = [client.instance.exited for client in clients]
    await asyncio.wait(exits, timeout=15, return_when=asyncio.FIRST_COMPLETED)
    ended = [ending.result() for ending in exits if ending.done()]
    assert ended
    assert all(how.out_of_memory for how in ended)


async def test_a_fork_bomb_stops_at_the_limit_and_dies_with_the_instance(bench: Bench) -> None:
    code = """
import os, time
def handler(event, context):
    made = 0
    try:
        while made < 1000:
            if os.fork() == 0:
                time.sleep(1000)
            made += 1
    except OSError as exc:
        return [made, exc.errno]
"""
    client = await bench.client(await bench.template(code, pids=20))
    made, error = (await client.invoke()).value
    assert (made, error) == (19, 11)
    started = time.monotonic()
    client.instance.kill()
    await client.instance.exited
    assert time.monotonic() - started < 10


async def test_cpu_is_limited_over_all_threads_and_children(bench: Bench) -> None:
    code = """
import os, time
def handler(event, context):
    for _ in range(3):
        if os.fork() == 0:
            while True:
                pass
    time.sleep(1.5)
"""
    template = await bench.template(code, cpus=0.5)
    started = time.monotonic()
    client = await bench.client(template)
    await client.invoke()
    used = client.instance.cpu_s()
    share = 0.5 * (time.monotonic() - started)
    assert 0.05 < used < share + 0.2  # on two idle processors, unlimited, it would be four times its share


async def test_a_full_disk_is_an_error_of_the_writer(bench: Bench) -> None:
    code = """
import os
def handler(event, context):
    found = []
    for number in range(100):
        try:
            with open(f"/tmp/{number}", "wb") as file:
                file.write(bytes(1 << 20))
        except OSError as exc:
            return [number, exc.errno]
"""
    number, error = await bench.run(code, tmp_bytes=16 * MB)
    assert (number, error) == (16, 28)


async def test_descriptors_are_limited(bench: Bench) -> None:
    code = """
def handler(event, context):
    kept = []
    try:
        while True:
            kept.append(open("/dev/null"))
    except OSError as exc:
        return [len(kept), exc.errno]
"""
    count, error = await bench.run(code)
    assert count < 1024
    assert error == 24


async def test_the_pids_of_a_revision_are_limited_as_a_whole(bench: Bench) -> None:
    template = await bench.template(revision_pids=8)
    starts = await asyncio.gather(*(bench.client(template) for _ in range(10)), return_exceptions=True)
    assert any(isinstance(start, Unavailable) for start in starts)
