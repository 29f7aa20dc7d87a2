"""Both ports over a pool with the fake driver, on real sockets of the loopback, and a raw client for them."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.clock import SystemClock
from isotherm.base.ids import token_digest
from isotherm.base.settings import Settings
from isotherm.gateway.debugger import Debugging
from isotherm.gateway.events import EventIntake
from isotherm.gateway.keys import KeyRing
from isotherm.gateway.operations import ApiOperations
from isotherm.gateway.plan import Planner
from isotherm.gateway.ports import ApiPort, ContentPort, FunctionPort
from isotherm.gateway.request import http_limits
from isotherm.gateway.routes import RouteTable
from isotherm.gateway.signed import Signatures
from isotherm.queue.drivers.sqlite import SqliteQueue
from isotherm.queue.model import queue_limits
from isotherm.queue.port import QueueStore
from isotherm.queue.service import Queue
from isotherm.sigv4.caller import CallerSeal
from isotherm.sigv4.secrets import KeySecrets, seal_key_secrets
from isotherm.storage.vault import Vault
from isotherm.wire.desired import AliasSpec, GrantSpec, KeySpec, RevisionSpec, Role, RouteSpec
from tests.pool.bench import PoolBench

READ_S = 10.0


class Reply:
    """One parsed response."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Wire:
    """A client that sends just the bytes that it is given."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self, *, head: bool = False) -> Reply:
        """The next response. Raises `asyncio.IncompleteReadError` where the connection ends first."""
        async with asyncio.timeout(READ_S):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = raw[:-4].decode("latin-1").split("\r\n")
            headers: dict[str, str] = {}
            for line in lines:
                name, _, value = line.partition(": ")
                headers[name.lower()] = headers[name.lower()] + "\n" + value if name.lower() in headers else value
            status = int(first.split(" ")[1])
            if head or status in (100, 204, 304):
                return Reply(status, headers, b"")
            if headers.get("transfer-encoding") == "chunked":
                return Reply(status, headers, await self._chunks())
            return Reply(status, headers, await self.reader.readexactly(int(headers["content-length"])))

    async def ended(self) -> bool:
        """Whether the server closes the connection, with nothing more on it."""
        async with asyncio.timeout(READ_S):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True

    def close(self) -> None:
        self.writer.close()

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return body


class Front:
    """A gateway. `functions` are added by source text; keys by role."""

    def __init__(self, folder: Path, *, store: QueueStore | None = None, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.bench = PoolBench(folder, **settings)
        self.revisions: dict[str, RevisionSpec] = {}
        pool = self.bench.pool
        self.routes = RouteTable(self.revisions.get, pool.revision, time.monotonic, pool.tenants, pool.under_way)
        self.vault = vault = Vault(bytes(range(32)))
        self.time_ms: Callable[[], int] = SystemClock().time_ms
        self.keys = KeyRing(SystemClock().time_ms, vault)
        self.reason: str | None = None
        self.api_path = str(folder / "api.sock")
        signatures = Signatures(self.keys, "local", lambda: self.time_ms())
        planner = Planner(self.routes, self.keys, signatures)
        limits = http_limits(self.settings)
        self.debugging = Debugging(self.keys, self.routes)
        operations = ApiOperations(
            self.keys,
            signatures,
            CallerSeal(vault),
            self,
            self._metrics,
            self.api_path,
            1_000_000,
            self.debugging,
        )
        self.content = ContentPort(limits, planner)
        self.store = store or SqliteQueue(folder / "queue.db", vault)
        self.queue = Queue(self.store, self.routes, queue_limits(self.settings), SystemClock(), "local")
        self.api = ApiPort(limits, planner, operations, EventIntake(self.queue))
        self._ticking: asyncio.Task[None] | None = None
        self._servers: list[asyncio.Server] = []
        self._wires: list[Wire] = []
        self._numbers: dict[FunctionPort, int] = {}
        self.key("admin", "*", "iso_admin")

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        await self.queue.start()
        self._ticking = asyncio.create_task(self._tick())
        for port in (self.api, self.content):
            server = await loop.create_server(port.connection, "127.0.0.1", 0)
            self._servers.append(server)
            self._numbers[port] = server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        for wire in self._wires:
            wire.close()
        for server in self._servers:
            server.close()
        if self._ticking is not None:
            self._ticking.cancel()
        self.queue.stop()
        await self.bench.close()
        await self.queue.close()

    async def _tick(self) -> None:
        while True:
            self.queue.tick()
            await asyncio.sleep(0.02)

    def not_ready(self) -> str | None:
        return self.reason

    def key(self, role: Role, namespace: str, token: str, *, home: str = "default", expires: int | None = None) -> None:
        """A key. It signs with the access key id `AK` + token and the secret access key `secret-` + token."""
        key_id = f"key_{token}"
        self.keys.put(
            KeySpec(
                id=key_id,
                digest=token_digest(token),
                principal_id=f"pr_{token}",
                grants=[GrantSpec(namespace, role)],
                home_namespace=home,
                expires_at_ms=expires,
                access_key_id=f"AK{token}",
                sealed=seal_key_secrets(self.vault, key_id, KeySecrets(f"secret-{token}")),
            )
        )
        self.routes.renew()

    def function(
        self,
        name: str,
        code: str = "def handler(event, context):\n    return event\n",
        *,
        route: dict[str, Any] | None = None,
        **changes: Any,
    ) -> RevisionSpec:
        """Add a function with one live revision."""
        spec = self.bench.spec(code, name=name, **changes)
        self.revisions[spec.id] = spec
        self.route(spec, **(route or {}))
        return spec

    def route(self, spec: RevisionSpec, **changes: Any) -> None:
        values: dict[str, Any] = {
            "workload_id": spec.workload_id,
            "namespace": spec.namespace,
            "name": spec.name,
            "aliases": [AliasSpec("live", [(spec.id, 1.0)])],
            "versions": [(spec.number, spec.id)],
        }
        self.routes.put(RouteSpec(**(values | changes)))

    async def wire(self, port: FunctionPort | None = None) -> Wire:
        """A new connection; to the content port, unless said otherwise."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._numbers[port or self.content])
        self._wires.append(Wire(reader, writer))
        return self._wires[-1]

    async def get(
        self,
        path: str,
        *,
        method: str = "GET",
        token: str | None = "iso_admin",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        port: FunctionPort | None = None,
    ) -> Reply:
        """One request on a connection of its own."""
        wire = await self.wire(port)
        lines = [f"{method} {path} HTTP/1.1", "Host: test", "Connection: close"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        wire.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b""))
        reply = await wire.reply(head=method == "HEAD")
        assert await wire.ended()
        return reply

    async def invoke(self, name: str, event: Any = None, *, query: str = "", **more: Any) -> Reply:
        """Lambda's Invoke."""
        path = f"/2015-03-31/functions/{name}/invocations{query}"
        return await self.get(path, method="POST", body=msgspec.json.encode(event), port=self.api, **more)

    async def _metrics(self) -> str:
        return "isotherm_test 1\n"
