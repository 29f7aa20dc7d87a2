"""What is there before and after many starts is the same."""

import asyncio
import os

import pytest

from tests.contracts.sandbox.client import Client
from tests.sandbox.conftest import Bench
from tests.sandbox.footprint import take_footprint

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]


async def test_a_thousand_starts_leave_nothing(bench: Bench) -> None:
    spec = bench.spec()
    template = await bench.driver.prepare(spec)
    await use(template, 5)
    before = take_footprint(bench.warden)
    for _ in range(100):
        await use(template, 10)
    assert take_footprint(bench.warden) == before
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
    assert take_footprint(bench.warden) == before


async def use(template: object, count: int) -> None:
    clients = [Client(instance) for instance in await asyncio.gather(*(template.start() for _ in range(count)))]  # type: ignore[attr-defined]
    for client in clients:
        async with client:
            assert (await client.invoke(1)).value == 1
        os.close(client.instance.output)
