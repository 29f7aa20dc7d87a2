"""A gateway over the fake driver."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.front import Front


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    found = Front(tmp_path, max_body_mb=0.1, max_header_kb=8)
    await found.start()
    yield found
    await found.stop()
