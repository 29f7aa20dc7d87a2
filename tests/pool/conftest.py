"""A pool over the fake driver."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.pool.bench import PoolBench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[PoolBench]:
    found = PoolBench(tmp_path)
    yield found
    await found.close()
