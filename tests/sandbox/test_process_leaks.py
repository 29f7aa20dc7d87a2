"""What is there before and after many starts is the same."""

import asyncio
import os
import random
import re
import time

import pytest

from isotherm.sandbox.drivers.process_template import ProcessTemplate
from isotherm.sandbox.model import SandboxSpec
from tests.contracts.sandbox.client import Client
from tests.sandbox.conftest import Bench, until
from tests.sandbox.footprint import Footprint, groups_of, take_footprint

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]


async def test_a_thousand_starts_leave_nothing(bench: Bench) -> None:
    spec = bench.spec()
    template = await bench.driver.prepare(spec)
    await use(template, 5)
    await until(lambda: any(re.search(r"/i\d+$", group) for group in groups_of(bench.warden)))  # of the next, in stock
    before = take_footprint(bench.warden)
    for _ in range(100):
        await use(template, 10)
    await until_back_at(before, bench)
    await template.close()


async def test_fifty_templates_leave_nothing(bench: Bench) -> None:
    spec = bench.spec()
    await (await bench.driver.prepare(spec)).close()
    before = take_footprint(bench.warden)
    for _ in range(10):
        templates = await asyncio.gather(*(bench.driver.prepare(spec) for _ in range(5)))
        for template in templates:
            await use(template, 1)
            await template.close()
    await until_back_at(before, bench)


async def until_back_at(before: Footprint, bench: Bench) -> None:
    deadline = time.monotonic() + 20
    while (found := take_footprint(bench.warden)) != before:
        assert time.monotonic() < deadline, (before, found)
        await asyncio.sleep(0.05)


async def use(template: ProcessTemplate, count: int) -> None:
    clients = [Client(instance) for instance in await asyncio.gather(*(template.start() for _ in range(count)))]
    for client in clients:
        async with client:
            assert (await client.invoke(1)).value == 1
        os.close(client.instance.output)


async def test_a_storm_leaves_nothing(bench: Bench) -> None:
    """Starts, kills, cancelled starts, closes and crashes at random; fixed seed."""
    chance = random.Random(7)
    spec = bench.spec("import os\ndef handler(event, context): os._exit(3) if event == 'crash' else None")
    await (await bench.driver.prepare(spec)).close()
    before = take_footprint(bench.warden)
    await asyncio.gather(*(storm(bench, spec, random.Random(chance.random())) for _ in range(4)))
    await until_back_at(before, bench)


async def storm(bench: Bench, spec: SandboxSpec, chance: random.Random) -> None:
    for _ in range(6):
        preparing = asyncio.ensure_future(bench.driver.prepare(spec))
        if chance.random() < 0.2:
            await asyncio.sleep(chance.random() * 0.05)
            preparing.cancel()
            (made,) = await asyncio.gather(preparing, return_exceptions=True)
            if isinstance(made, ProcessTemplate):  # it was ready before it could be cancelled
                await made.close()
            continue
        template = await preparing
        await asyncio.gather(*(live(template, chance) for _ in range(8)), return_exceptions=True)
        await template.close()


async def live(template: ProcessTemplate, chance: random.Random) -> None:
    starting = asyncio.ensure_future(template.start())
    await asyncio.sleep(chance.random() * 0.03)
    if chance.random() < 0.3:
        starting.cancel()
    instance = await starting
    client = Client(instance)
    try:
        await end_somehow(template, client, chance.choice(["crash", "kill", "close"]))
        await instance.exited
    finally:  # the instance may be gone before it could be asked anything
        client._reader.cancel()
        instance.stream.close()
        os.close(instance.output)


async def end_somehow(template: ProcessTemplate, client: Client, kind: str) -> None:
    if kind == "crash":
        client.request("crash")
    elif kind == "kill":
        client.instance.kill()
    else:
        await template.close()
