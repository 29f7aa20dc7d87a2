"""A real warden and driver for the tests of this room and of the attack suite."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from isotherm.sandbox.drivers.process import ProcessDriver, WardenLink
from isotherm.sandbox.drivers.process_template import ProcessTemplate
from isotherm.sandbox.model import SandboxLimits, SandboxSpec
from tests.contracts.sandbox.client import Client
from tests.sandbox.warden_process import WardenProcess

MB = 1 << 20


async def until(condition: Callable[[], bool], limit_s: float = 15.0) -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.01)


@pytest.fixture
def warden() -> Iterator[WardenProcess]:
    with WardenProcess() as process:
        yield process


class Bench:
    """What a test needs in one line each."""

    def __init__(self, warden: WardenProcess) -> None:
        self.warden = warden
        self.link = WardenLink(warden.peer())
        self.driver = ProcessDriver(self.link)
        self.exits = contextlib.AsyncExitStack()

    def spec(self, code: str = "def handler(event, context): return event", **changes: Any) -> SandboxSpec:
        """`changes` may hold fields of the spec and of its limits."""
        limits: dict[str, Any] = {
            "memory_bytes": 128 * MB,
            "cpus": 1.0,
            "pids": 32,
            "tmp_bytes": 16 * MB,
            "revision_memory_bytes": 1024 * MB,
            "revision_pids": 2048,
        }
        limits |= {name: changes.pop(name) for name in list(changes) if name in limits}
        name = f"f{len(list(self.warden.host.iterdir()))}-{id(code)}"
        values: dict[str, Any] = {
            "revision_id": "rev_1",
            "runtime": "python3.11",
            "handler": "app.handler",
            "code_dir": str(self.warden.code(name, app=code)),
            "deps_dir": None,
            "env": {},
            "limits": SandboxLimits(**limits),
            "timeout_s": 20.0,
            "init_timeout_s": 20.0,
            "concurrency": 1,
            "dispatch": "threads",
            "template": True,
            "threads": 1,
            "log_limit_bytes": 64 * 1024,
            "function_name": "f",
            "function_version": "1",
            "function_arn": "arn:aws:lambda:local:default:function:f",
            "memory_mb": 128,
            "region": "local",
        }
        return SandboxSpec(**(values | changes))

    async def template(
        self, code: str = "def handler(event, context): return event", **changes: Any
    ) -> ProcessTemplate:
        return await self.driver.prepare(self.spec(code, **changes))

    async def client(self, template: ProcessTemplate) -> Client:
        """A new instance that has said HELLO; ended with the test."""
        client = await self.exits.enter_async_context(Client(await template.start()))
        await client.started()
        return client

    async def run(self, code: str, event: object = None, **changes: Any) -> Any:
        """What the handler of a new function returns."""
        return (await (await self.client(await self.template(code, **changes))).invoke(event)).value


@pytest.fixture
async def bench(warden: WardenProcess) -> AsyncIterator[Bench]:
    found = Bench(warden)
    async with found.exits:
        yield found
    if found.link.is_connected:
        await found.driver.close()
        found.link.close()
