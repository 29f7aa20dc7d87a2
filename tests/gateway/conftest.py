"""A gateway over the fake driver."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

from tests.gateway.front import Front


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    found = Front(tmp_path, max_body_mb=0.1, max_header_kb=8)
    await found.start()
    yield found
    await found.stop()


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """The loop that the host runs on."""
    return uvloop.EventLoopPolicy()
