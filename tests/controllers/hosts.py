"""A scripted host: speaks the link as a real one does and does what the test tells it."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from isotherm.wire.link import (
    PROTOCOL,
    FromControl,
    FromHost,
    Hello,
    Telemetry,
    decode_from_control,
    encode,
    split_messages,
)
from isotherm.wire.telemetry import Batch

__all__ = ["ScriptedHost", "connect", "unix_listener"]

M = TypeVar("M")
_patience_s = 10.0


@asynccontextmanager
async def unix_listener() -> AsyncIterator[tuple[socket.socket, str]]:
    """A listening Unix socket, as the supervisor binds it, and its path."""
    with tempfile.TemporaryDirectory(prefix="isotherm-link-") as folder:
        path = str(Path(folder) / "link.sock")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.bind(path)
        listener.listen(64)
        try:
            yield listener, path
        finally:
            listener.close()


class ScriptedHost:
    """Received messages queue up by kind; `take` waits for the next of a kind."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._received: list[FromControl] = []

    async def send(self, message: FromHost) -> None:
        await self.send_bytes(encode(message))

    async def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def send_batch(self, batch: Batch) -> None:
        await self.send(Telemetry(batch))

    async def take(self, kind: type[M]) -> M:
        """The next message of this kind; those of others stay. Raises `EOFError` where control hung up."""
        async with asyncio.timeout(_patience_s):
            while True:
                for message in self._received:
                    if isinstance(message, kind):
                        self._received.remove(message)
                        return message
                await self._receive()

    async def hung_up(self) -> bool:
        """Whether control closes the connection."""
        async with asyncio.timeout(_patience_s):
            while True:
                try:
                    await self._receive()
                except EOFError:
                    return True

    async def _receive(self) -> None:
        data = await self._reader.read(1 << 20)
        if not data:
            raise EOFError("control hung up")
        self._buffer += data
        self._received += [decode_from_control(payload) for payload in split_messages(self._buffer)]

    async def leave(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def connect(
    path: str,
    *,
    host_id: str = "host_1",
    boot_id: str = "boot_1",
    epoch: str | None = None,
    version: int = 0,
    protocol: int = PROTOCOL,
) -> ScriptedHost:
    """Connect and say hello."""
    host = ScriptedHost(*await asyncio.open_unix_connection(path))
    await host.send(
        Hello(
            protocol=protocol,
            host_id=host_id,
            boot_id=boot_id,
            isotherm_version="1.0",
            epoch=epoch,
            version=version,
            probes={"process": {"works": True}},
            runtimes=["python3.11"],
        )
    )
    return host
