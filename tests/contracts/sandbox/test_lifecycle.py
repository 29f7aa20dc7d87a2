"""How templates and instances begin and end, on every driver."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from isotherm.base.errors import ImportFailed
from isotherm_runtime.frames import Kind
from tests.contracts.sandbox.client import TIME_LIMIT_S, Client, Ended
from tests.contracts.sandbox.conftest import Start
from tests.contracts.sandbox.harness import Harness, make_spec

ECHO = "def handler(event, context):\n    return event\n"


async def test_an_instance_says_hello_and_a_kill_ends_it(harness: Harness, data_dir: Path) -> None:
    template = await harness.driver.prepare(make_spec(data_dir, ECHO))
    assert template.info.unfit == ()
    instance = await template.start()
    async with Client(instance) as client:
        assert (await client.started())["v"] == 1
        instance.kill()
        ended = await asyncio.wait_for(instance.exited, TIME_LIMIT_S)
        assert ended.asked
        instance.kill()  # harmless
    await template.close()
    assert isinstance(await template.closed, str)


async def test_closing_a_template_ends_its_instances(harness: Harness, data_dir: Path) -> None:
    template = await harness.driver.prepare(make_spec(data_dir, ECHO))
    async with Client(await template.start()) as one, Client(await template.start()) as two:
        assert one.instance.id != two.instance.id
        await asyncio.wait_for(template.close(), TIME_LIMIT_S)
        assert one.instance.exited.done()
        assert two.instance.exited.done()


async def test_drain_finishes_running_calls_and_exits_with_0(start: Start) -> None:
    client = await start("import time\ndef handler(event, context):\n    time.sleep(0.2)\n    return 'done'\n")
    stream = client.request({})
    client.send(Kind.DRAIN, 0)
    assert (await client.answer(stream)).value == "done"
    ended = await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)
    assert (ended.status, ended.asked) == (0, False)


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_drain_finishes_calls_that_run_beside_each_other(start: Start, prefix: str) -> None:
    wait = "await asyncio.sleep(0.2)" if prefix else "time.sleep(0.2)"
    client = await start(
        f"import asyncio, time\n{prefix}def handler(event, context):\n    {wait}\n    return event\n", concurrency=8
    )
    streams = [client.request(number) for number in range(8)]
    client.send(Kind.DRAIN, 0)
    assert [(await client.answer(stream)).value for stream in streams] == list(range(8))
    assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 0


async def test_an_idle_instance_drains_at_once(start: Start) -> None:
    for changes in ({}, {"concurrency": 4}, {"concurrency": 4, "dispatch": "serial"}):
        client = await start(ECHO, **changes)
        client.send(Kind.DRAIN, 0)
        assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 0


async def test_a_crash_closes_the_stream_and_tells_the_status(start: Start) -> None:
    client = await start("import os\ndef handler(event, context):\n    os._exit(3)\n")
    with pytest.raises(Ended):
        await client.invoke({})
    ended = await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)
    assert (ended.status, ended.asked, ended.out_of_memory) == (3, False, False)


async def test_an_instance_over_its_memory_dies_alone_and_says_so(
    harness: Harness, start: Start, data_dir: Path
) -> None:
    code = """
def handler(event, context):
    if event.get("do") == "eat_memory":
        hoard = []
        while True:
            hoard.append(b"x" * (8 << 20))
    return "fine"
"""
    template = await harness.driver.prepare(make_spec(data_dir, code))
    async with Client(await template.start()) as hungry, Client(await template.start()) as other:
        await asyncio.gather(hungry.started(), other.started())
        await harness.exhaust_memory(hungry)
        ended = await asyncio.wait_for(hungry.instance.exited, TIME_LIMIT_S)
        assert ended.out_of_memory
        assert not ended.asked
        assert (await other.invoke({})).value == "fine"
        async with Client(await template.start()) as third:
            assert (await third.invoke({})).value == "fine"
    await template.close()


async def test_an_async_call_is_cancelled_at_its_deadline(start: Start) -> None:
    client = await start(
        """
import asyncio
async def handler(event, context):
    await asyncio.sleep(event)
    return "slept"
""",
        concurrency=4,
    )
    quick = client.request(0.3)
    error = (await client.invoke(30, deadline_ms=100)).error
    assert error["kind"] == "cancelled"
    assert (await client.answer(quick)).value == "slept"


async def test_a_sync_call_over_its_deadline_can_be_killed(start: Start) -> None:
    client = await start("import time\ndef handler(event, context):\n    time.sleep(event)\n")
    stream = client.request(10, deadline_ms=1000)
    await asyncio.sleep(1.1)
    client.instance.kill()
    with pytest.raises(Ended):
        await client.answer(stream)
    assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).asked


@pytest.mark.parametrize(
    ("code", "handler", "error_type", "words"),
    [
        ("x = 1\n", "app.handler", "Runtime.HandlerNotFound", "'handler' missing on module 'app'"),
        ("handler = 7\n", "app.handler", "Runtime.HandlerNotFound", "not a function"),
        ("x = 1\n", "nowhere.handler", "Runtime.ImportModuleError", "No module named 'nowhere'"),
        ("import nothing_like_this\n", "app.handler", "Runtime.ImportModuleError", "nothing_like_this"),
        ("def broken(:\n", "app.handler", "Runtime.UserCodeSyntaxError", "line 1"),
        ("def f():\n    raise OSError('no disk')\nf()\n", "app.handler", "OSError", "no disk"),
        ("import sys\nsys.exit(4)\n", "app.handler", "Runtime.ExitError", "sys.exit(4)"),
        ("x = 1\n", "handler", "Runtime.MalformedHandlerName", "module.function"),
    ],
)
async def test_an_import_that_fails_says_why(
    harness: Harness, data_dir: Path, code: str, handler: str, error_type: str, words: str
) -> None:
    with pytest.raises(ImportFailed) as caught:
        await harness.driver.prepare(make_spec(data_dir, code, handler=handler))
    data = caught.value.data
    assert data["error_type"] == error_type
    assert words in data["error_message"]
    trace = json.dumps(data["stack_trace"])
    assert "isotherm_runtime" not in trace
    assert "importlib" not in trace
    if error_type == "OSError":
        assert "in f" in trace


async def test_a_module_that_starts_a_thread_is_unfit_and_served_all_the_same(harness: Harness, data_dir: Path) -> None:
    code = """
import threading, time
threading.Thread(target=time.sleep, args=(20,), daemon=True, name="pulse").start()
loaded = []
def handler(event, context):
    loaded.append(1)
    return len(loaded)
"""
    template = await harness.driver.prepare(make_spec(data_dir, code))
    assert "thread" in " ".join(template.info.unfit)
    async with Client(await template.start()) as one, Client(await template.start()) as two:
        assert [(await client.invoke({})).value for client in (one, one, two)] == [1, 2, 1]
    await template.close()


async def test_hooks_run_before_the_snapshot_and_after_each_restore(harness: Harness, data_dir: Path) -> None:
    code = """
from snapshot_restore_py import register_after_restore, register_before_snapshot
seen = []
@register_before_snapshot
def first(): seen.append("before 1")
register_before_snapshot(seen.append, "before 2")
register_after_restore(seen.append, "after 1")
@register_after_restore
def second(): seen.append("after 2")
def handler(event, context):
    return seen
"""
    template = await harness.driver.prepare(make_spec(data_dir, code, template=True))
    async with Client(await template.start()) as client:
        assert (await client.invoke({})).value == ["before 2", "before 1", "after 1", "after 2"]
    await template.close()


async def test_forks_are_unlike_each_other(harness: Harness, data_dir: Path) -> None:
    """A hundred of them: every source of chance that a module can reach by name."""
    code = """
import random, secrets, ssl, uuid
import numpy
random.random(); numpy.random.random(); ssl.RAND_bytes(8); uuid.uuid1()
def handler(event, context):
    return [random.random(), secrets.token_hex(8), ssl.RAND_bytes(16).hex(), str(uuid.uuid4()), str(uuid.uuid1()),
            float(numpy.random.random())]
"""
    spec = make_spec(data_dir, code, deps_dir=harness.deps_with_numpy(), init_timeout_s=60.0)
    template = await harness.driver.prepare(spec)
    seen: list[list[object]] = []
    began = time.monotonic()
    for _ in range(100):
        async with Client(await template.start()) as client:
            seen.append((await client.invoke({})).value)
        assert time.monotonic() - began < 90
    await template.close()
    for drawn in zip(*seen, strict=True):
        assert len(set(drawn)) == 100
