"""A gateway with its queue over the fake driver, and ways to see what became of asynchronous calls."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from isotherm.queue.desk import QueueDesk
from isotherm.queue.port import QueueStore
from isotherm.wire.queue import CallDetail, CallPage, QueueChanged, QueueOrder, QueueOverview
from tests.gateway.front import Front, Reply
from tests.queue.hosts import shared
from tests.queue.stores import Stores

__all__ = ["Bench", "shared", "until"]

WAIT_S = 10.0


class Bench(Front):
    """Functions of it can be called asynchronously."""

    def __init__(
        self, folder: Path, stores: Stores, host: str = "host_first", store: QueueStore | None = None, **settings: Any
    ) -> None:
        super().__init__(folder, store=store or stores(folder, host), **settings)
        self.folder = folder
        self.stores = stores
        self.desk = QueueDesk(self.queue, self.store)

    def successor(self) -> "Bench":
        """Another process on the same queue, once this one has stopped."""
        found = Bench(self.folder, self.stores)
        found.bench.folder = self.folder / "second"
        return found

    async def event(self, name: str, event: Any = None, **more: Any) -> Reply:
        headers = {"X-Amz-Invocation-Type": "Event"} | more.pop("headers", {})
        return await self.invoke(name, event, headers=headers, **more)

    async def accepted(self, name: str, event: Any = None, **more: Any) -> str:
        """The id of a call that was accepted."""
        reply = await self.event(name, event, **more)
        assert (reply.status, reply.body) == (202, b"")
        return reply.headers["x-amzn-requestid"]

    async def detail(self, call_id: str, namespace: str = "default") -> CallDetail:
        found = await self.desk.take(QueueOrder(action="call", namespace=namespace, ids=[call_id]))
        assert isinstance(found, CallDetail)
        return found

    async def until(self, call_id: str, state: str, wait_s: float = WAIT_S) -> CallDetail:
        """The call, once it is in that state."""
        found: list[CallDetail] = []

        async def there() -> bool:
            found[:] = [await self.detail(call_id)]
            return found[0].call.state == state

        await until(there, lambda: f"{call_id} to be {state}; it is {found[0].call}", wait_s)
        return found[0]

    async def result(self, call_id: str) -> Any:
        return (await self.until(call_id, "succeeded")).result

    async def change(self, action: Any, name: str, **more: Any) -> QueueChanged:
        found = await self.desk.take(QueueOrder(action=action, namespace="default", name=name, **more))
        assert isinstance(found, QueueChanged)
        return found

    async def calls(self, name: str | None = None, **more: Any) -> CallPage:
        found = await self.desk.take(QueueOrder(action="calls", namespace="default", name=name, **more))
        assert isinstance(found, CallPage)
        return found

    async def overview(self, namespace: str | None = "default") -> QueueOverview:
        found = await self.desk.take(QueueOrder(action="overview", namespace=namespace))
        assert isinstance(found, QueueOverview)
        return found


async def until(condition: Callable[[], Any], what: Callable[[], str], wait_s: float = WAIT_S) -> None:
    """Poll: what is waited for happens on another thread and in instances."""
    try:
        async with asyncio.timeout(wait_s):
            while not await condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {wait_s:g} s for {what()}") from None


@pytest.fixture(params=["sqlite", "postgres"])
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """Both kinds."""
    cluster = request.getfixturevalue("postgres") if request.param == "postgres" else None
    made = Stores(cluster)
    yield made
    made.close()


@pytest.fixture
async def bench(tmp_path: Path, stores: Stores) -> AsyncIterator[Bench]:
    found = Bench(tmp_path, stores, max_body_mb=0.1)
    await found.start()
    yield found
    await found.stop()


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """The loop that the host runs on."""
    return uvloop.EventLoopPolicy()
