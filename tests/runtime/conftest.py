"""An instance without a sandbox, ready to be called."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.sandbox.client import Client
from tests.runtime.local_instance import LocalInstance

Begin = Callable[..., Awaitable[Client]]


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    """`await begin(code, **fields of RuntimeConfig)`: a client of an instance that has said HELLO."""
    async with AsyncExitStack() as stack:

        async def start(code: str | Mapping[str, str], *, python: str = sys.executable, **config: Any) -> Client:
            folder = tmp_path / f"instance-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            client = await stack.enter_async_context(Client(LocalInstance(folder, code, python=python, **config)))
            await client.started()
            return client

        yield start
