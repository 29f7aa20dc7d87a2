"""The real API over the real rooms and SQLite; only the hosts are missing."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from isotherm.api.app import Api
from isotherm.api.port import ApiServices
from isotherm.base.clock import SystemClock
from isotherm.base.settings import Settings
from isotherm.bootstrap import Rooms, build_aws, build_pruning, build_rooms
from isotherm.bus.board import HostBoard
from isotherm.bus.fanout import Fanout
from isotherm.bus.latest import Latest
from isotherm.bus.progress import ProgressBook
from isotherm.bus.warmth import WarmthBoard
from isotherm.tenancy.model import SYSTEM
from isotherm.wire.desired import Role
from isotherm.wire.queue import QueueOrder

HANDLER = b"def handler(event, context):\n    return event\n"


def make_zip(files: dict[str, bytes] | None = None) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, body in (files or {"app.py": HANDLER}).items():
            archive.writestr(zipfile.ZipInfo(name), body)
    return content.getvalue()


class QueueBook:
    """A host's queue as the API asks for it: it has no calls, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[QueueOrder] = []
        self.answers: dict[str, Any] = {}

    async def ask(self, order: QueueOrder) -> Any:
        self.asked.append(order)
        default: dict[str, Any] = {
            "overview": {"queues": [], "used_bytes": 0, "limit_bytes": 1},
            "calls": {"calls": [], "next_below": None},
            "call": None,
        }
        return self.answers.get(order.action, default.get(order.action, {"count": 0, "ids": []}))


@dataclass
class World:
    """A platform with its admin; `settled` counts how often the API waited for hosts."""

    rooms: Rooms
    services: ApiServices
    api: Api
    admin: str
    settled: list[None] = field(default_factory=list)

    async def key(self, role: Role, namespace: str = "default") -> str:
        """A token with this role."""
        made = await asyncio.to_thread(self.rooms.tenancy.create_key, SYSTEM, namespace, name=role, role=role)
        return made.token

    def client(self, token: str | None, **options: Any) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(app=self.api.asgi, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://isotherm", headers=headers, **options)

    async def package(self, namespace: str = "default", files: dict[str, bytes] | None = None) -> str:
        """The digest of an uploaded package."""
        made = await asyncio.to_thread(self.rooms.functions.upload_package, SYSTEM, namespace, make_zip(files))
        return made.digest


def build_world(data_dir: Path, settings: Settings | None = None) -> World:
    settings = settings or Settings(api_rate_per_s=100_000)
    rooms = build_rooms(settings, data_dir, "http://content:7071", environ={})
    settled: list[None] = []
    board = HostBoard()
    services = ApiServices(
        settings=settings,
        clock=SystemClock(),
        version="0.1.0",
        upload_dir=str(data_dir),
        caller_seal=rooms.caller_seal,
        tenancy=rooms.tenancy,
        users=rooms.users,
        logins=rooms.logins,
        quotas=rooms.quotas,
        secrets=rooms.secrets,
        functions=rooms.functions,
        pruning=build_pruning(rooms, settings, board),
        rollouts=rooms.rollouts,
        readings=Latest(),
        warmth=WarmthBoard(),
        records=rooms.records,
        events=rooms.events,
        board=board,
        logs=Fanout(),
        progress=ProgressBook(),
        settle=lambda: settled.append(None),
        queues=QueueBook(),
        aws=build_aws(rooms, settings, "http://content:7071", board, lambda: settled.append(None)),
    )
    admin = rooms.tenancy.bootstrap_admin().token
    return World(rooms, services, Api(services), admin, settled)


@pytest.fixture
def world(data_dir: Path) -> Iterator[World]:
    built = build_world(data_dir)
    yield built
    built.rooms.close()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks with the admin's key."""
    async with world.client(world.admin) as client:
        yield client
