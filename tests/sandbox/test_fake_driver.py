"""What tests can make the fake driver do, and that it leaves this process as it was."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from isotherm.base.errors import OutOfMemory, TimedOut, Unavailable
from isotherm.sandbox.drivers.fake import FakeDriver, FakeFaults
from isotherm.sandbox.model import Exit, JobResult, JobSpec
from tests.contracts.sandbox.client import TIME_LIMIT_S, Client, Ended
from tests.contracts.sandbox.harness import GATES, make_spec, open_gate

ECHO = "def handler(event, context):\n    return event\n"


async def test_delays_and_errors_are_those_that_the_test_sets(tmp_path: Path) -> None:
    faults = FakeFaults(prepare_delay_s=0.05, start_delay_s=0.05)
    driver = FakeDriver(faults)
    began = time.monotonic()
    template = await driver.prepare(make_spec(tmp_path, ECHO))
    async with Client(await template.start()) as client:
        assert (await client.invoke(1)).value == 1
    assert time.monotonic() - began >= 0.1
    faults.start_error = OutOfMemory("no room")
    with pytest.raises(OutOfMemory):
        await template.start()
    faults.prepare_error = Unavailable("later")
    with pytest.raises(Unavailable):
        await driver.prepare(make_spec(tmp_path, ECHO))
    await driver.close()
    assert driver.templates == driver.instances == []
    assert (driver.prepared, driver.started) == (1, 1)


async def test_instances_die_when_told_and_templates_take_theirs_along(tmp_path: Path) -> None:
    driver = FakeDriver()
    template = await driver.prepare(make_spec(tmp_path, ECHO))
    async with Client(await template.start()) as one, Client(await template.start()) as two:
        await asyncio.gather(one.started(), two.started())
        driver.instances[0].die(Exit(signal=11))
        assert (await asyncio.wait_for(one.instance.exited, TIME_LIMIT_S)).signal == 11
        assert (await two.invoke(2)).value == 2
        template.die("its keeper was killed")
        assert await template.closed == "its keeper was killed"
        assert (await asyncio.wait_for(two.instance.exited, TIME_LIMIT_S)).signal == 9
    with pytest.raises(Unavailable, match="keeper was killed"):
        await template.start()


async def test_an_instance_can_die_before_it_says_hello_or_never_say_it(tmp_path: Path) -> None:
    driver = FakeDriver(FakeFaults(die_at_start=Exit(status=1)))
    template = await driver.prepare(make_spec(tmp_path, ECHO))
    async with Client(await template.start()) as client:
        assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 1
    driver.faults.die_at_start = None
    driver.faults.say_hello = False
    async with Client(await template.start()) as client:
        await asyncio.sleep(0.05)
        assert not client.hello.done()
    await driver.close()


async def test_a_handlers_exit_ends_its_instance_and_not_this_process(tmp_path: Path) -> None:
    driver = FakeDriver()
    original = os._exit
    code = "import os, threading\ndef handler(event, context):\n    os._exit(5)\n"
    template = await driver.prepare(make_spec(tmp_path, code, concurrency=4))
    async with Client(await template.start()) as client:
        with pytest.raises(Ended):
            await client.invoke({})
        assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 5
    await driver.close()
    end = time.monotonic() + TIME_LIMIT_S
    while os._exit is not original and time.monotonic() < end:
        await asyncio.sleep(0.01)
    assert os._exit is original


async def test_functions_with_modules_of_one_name_do_not_mix(tmp_path: Path) -> None:
    driver = FakeDriver()
    before = (sys.path[:], dict(os.environ))
    templates = []
    for name in ("one", "two"):
        folder = tmp_path / name
        spec = make_spec(folder, f"import helper\ndef handler(event, context):\n    return [{name!r}, helper.NAME]\n")
        (folder / "code" / "helper.py").write_text(f"NAME = {name!r}\n")
        templates.append(await driver.prepare(spec))
    assert (sys.path, dict(os.environ)) == before
    assert "helper" not in sys.modules
    for name, template in zip(("one", "two"), templates, strict=True):
        async with Client(await template.start()) as client:
            assert (await client.invoke({})).value == [name, name]
    await driver.close()


async def test_an_import_over_its_time_is_timed_out(tmp_path: Path) -> None:
    driver = FakeDriver()
    code = f"{GATES}import time\nwhile not opened('go'):\n    time.sleep(0.01)\n{ECHO}"
    with pytest.raises(TimedOut):
        await driver.prepare(make_spec(tmp_path, code, init_timeout_s=0.1))
    open_gate(tmp_path, "go")


async def test_jobs_are_noted_and_answered_as_set() -> None:
    driver = FakeDriver(FakeFaults(job_result=JobResult(exit=Exit(status=3), output="no such package")))
    job = JobSpec(
        name="install",
        argv=("true",),
        env={},
        read_only={},
        out_dir="/out",
        memory_bytes=1,
        pids=1,
        tmp_bytes=1,
        timeout_s=1,
    )
    heard: list[str] = []
    result = await driver.run(job, heard.append)
    assert result.exit.status == 3
    assert heard == ["no such package"]
    assert driver.jobs == [job]


async def test_two_hundred_instances_leave_no_descriptor_behind(tmp_path: Path) -> None:
    driver = FakeDriver()
    template = await driver.prepare(make_spec(tmp_path, ECHO, concurrency=2))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        instances = [await template.start() for _ in range(10)]
        for instance in instances:
            async with Client(instance) as client:
                assert (await client.invoke(1)).value == 1
            os.close(instance.output)
    await driver.close()
    end = time.monotonic() + TIME_LIMIT_S
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < end:
        await asyncio.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before
