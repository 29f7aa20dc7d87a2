"""The suite's parameter: every driver that ships."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import require
from tests.contracts.sandbox.client import Client
from tests.contracts.sandbox.harness import Harness, make_spec, missing, open_harness

Start = Callable[..., Awaitable[Client]]


@pytest.fixture(params=["fake", pytest.param("process", marks=pytest.mark.root)])
async def harness(request: pytest.FixtureRequest, data_dir: Path) -> AsyncIterator[Harness]:
    reason = missing(request.param)
    require(reason is None, reason or "")
    async with open_harness(request.param, data_dir) as opened:
        yield opened


@pytest.fixture
async def start(harness: Harness, data_dir: Path) -> AsyncIterator[Start]:
    """`await start(code, **changes of the spec)`: a client of a new instance that has said HELLO."""
    async with AsyncExitStack() as stack:

        async def begin(code: str, **changes: Any) -> Client:
            template = await harness.driver.prepare(make_spec(data_dir, code, **changes))
            stack.push_async_callback(template.close)
            client = await stack.enter_async_context(Client(await template.start()))
            await client.started()
            return client

        yield begin
