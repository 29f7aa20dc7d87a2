"""A pool over the fake driver."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

from tests.pool.bench import PoolBench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[PoolBench]:
    found = PoolBench(tmp_path)
    yield found
    await found.close()


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """The loop that the host runs on."""
    return uvloop.EventLoopPolicy()
