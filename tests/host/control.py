"""A host process without processes: the real service over the fake driver, and a scripted control at its link."""

import asyncio
import io
import socket
import struct
import zipfile
from pathlib import Path
from typing import Any, TypeVar

from isotherm.base.ids import token_digest
from isotherm.base.settings import Settings
from isotherm.host.service import HostService
from isotherm.sandbox.drivers.fake import FakeDriver
from isotherm.storage.drivers.memory import MemoryBlobs
from isotherm.storage.vault import Vault
from isotherm.wire.boot import HostBoot
from isotherm.wire.desired import (
    DESIRED_FORMAT,
    AliasSpec,
    Desired,
    GrantSpec,
    Item,
    KeySpec,
    RevisionSpec,
    RouteSpec,
    WarmSpec,
)
from isotherm.wire.link import (
    PROTOCOL,
    Ack,
    FromControl,
    FromHost,
    Hello,
    Order,
    Progress,
    Reply,
    State,
    Telemetry,
    Welcome,
    decode_from_host,
    encode,
)
from isotherm.wire.telemetry import Batch

WAIT_S = 10.0
M = TypeVar("M")
ECHO = "def handler(event, context):\n    return event\n"


class ScriptedControl:
    """Accepts one host at a time, keeps what it says, and acknowledges batches unless told not to."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.hellos: list[Hello] = []
        self.batches: list[Batch] = []
        self.heard: list[FromHost] = []
        self.acknowledge = True
        self._changed = asyncio.Condition()
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        await asyncio.to_thread(Path(self.path).unlink, missing_ok=True)
        self._server = await asyncio.start_unix_server(self._host, self.path)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._writer is not None:
            self._writer.close()

    def send(self, message: FromControl) -> None:
        assert self._writer is not None
        self._writer.write(encode(message))

    async def until(self, condition: Any, what: str) -> None:
        try:
            async with asyncio.timeout(WAIT_S), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"{what} did not come within {WAIT_S:g} s; heard {self.heard[-5:]}") from None

    async def order(self, verb: Any, revision: RevisionSpec | None = None, *, order_id: str = "o1") -> Reply:
        self.send(Order(id=order_id, verb=verb, timeout_s=8.0, revision=revision))
        await self.until(lambda: self.reply(order_id) is not None, f"the reply to {verb}")
        found = self.reply(order_id)
        assert found is not None
        return found

    def reply(self, order_id: str) -> Reply | None:
        return next((each for each in self.heard if isinstance(each, Reply) and each.order_id == order_id), None)

    def progress(self, order_id: str) -> list[tuple[str, str]]:
        found = [each for each in self.heard if isinstance(each, Progress) and each.order_id == order_id]
        return [(each.step, each.state) for each in found]

    async def _host(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        try:
            while True:
                (length,) = struct.unpack("<I", await reader.readexactly(4))
                message = decode_from_host(await reader.readexactly(length))
                async with self._changed:
                    self._take(message, writer)
                    self._changed.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _take(self, message: FromHost, writer: asyncio.StreamWriter) -> None:
        if isinstance(message, Hello):
            self.hellos.append(message)
            writer.write(encode(Welcome(protocol=PROTOCOL, isotherm_version="test")))
        elif isinstance(message, Telemetry):
            self.batches.append(message.batch)
            if self.acknowledge:
                writer.write(encode(Ack(boot_id=message.batch.boot_id, sequence=message.batch.sequence)))
        else:
            self.heard.append(message)


class Rig:
    """One host and its control, on a folder that outlives the host."""

    def __init__(self, folder: Path, vault: Vault, **settings: Any) -> None:
        self.folder = folder
        self.vault = vault
        self.blobs = MemoryBlobs()
        self.control = ScriptedControl(str(folder / "link.sock"))
        self.settings = Settings(**({"sample_rate": 0.0, "drain_timeout_s": 1.0} | settings))
        self.version = 0
        self.driver: FakeDriver
        self.service: HostService
        self.api = self.content = 0

    async def start(self) -> None:
        """Start a host on this folder, as after a restart."""
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.api, self.content = (listener.getsockname()[1] for listener in listeners)
        boot = HostBoot(
            data_dir=str(self.folder),
            supervisor_fd=-1,
            api_fds=[listeners[0].detach()],
            content_fds=[listeners[1].detach()],
            link_path=self.control.path,
            api_path=str(self.folder / "api.sock"),
            url=f"http://127.0.0.1:{self.api}",
            content_url=f"http://127.0.0.1:{self.content}",
            settings=self.settings,
        )
        self.driver = FakeDriver()
        self.service = await asyncio.to_thread(HostService, boot, self.vault, self.blobs, self.driver)
        await self.service.start()

    async def stop(self) -> None:
        await self.service.stop()

    def revision(self, code: str = ECHO, *, name: str = "f", number: int = 1, **changes: Any) -> RevisionSpec:
        """A revision whose package is in the store."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("app.py", code)
        values: dict[str, Any] = {
            "id": f"rev_{name}_{number}",
            "workload_id": f"wl_{name}",
            "namespace": "default",
            "name": name,
            "number": number,
            "runtime": "python3.11",
            "handler": "app.handler",
            "package": self.blobs.put(buffer.getvalue()),
            "warm": WarmSpec(spare=1),
        }
        return RevisionSpec(**(values | changes))

    def push(self, *items: Item, full: bool = False, epoch: str = "e", written_as: int = DESIRED_FORMAT) -> None:
        self.version += 1
        self.control.send(
            State(Desired(epoch=epoch, version=self.version, full=full, items=list(items), format=written_as))
        )

    def serve(self, revision: RevisionSpec) -> None:
        """Make a revision live, and let `iso_key` call it."""
        route = RouteSpec(
            workload_id=revision.workload_id,
            namespace=revision.namespace,
            name=revision.name,
            aliases=[AliasSpec("live", [(revision.id, 1.0)])],
            versions=[(revision.number, revision.id)],
        )
        key = KeySpec(id="key_1", digest=token_digest("iso_key"), principal_id="pr", grants=[GrantSpec("*", "admin")])
        self.push(Item(revision=revision), Item(route=route), Item(key=key))

    async def get(self, path: str, *, token: str = "iso_key", port: int | None = None) -> tuple[int, bytes]:
        """`(status, body)` of a GET on the content port."""
        async with asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port or self.content)
            request = f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
            writer.write(request.encode())
            answer = await reader.read()
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body

    async def until_served(self, path: str, body: bytes) -> None:
        """Wait until a URL answers with `body`."""
        try:
            async with asyncio.timeout(WAIT_S):
                while await self.get(path) != (200, body):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{path} does not answer {body!r}, but {await self.get(path)}") from None
