"""The control process for real: started as the supervisor starts it, spoken to over its Unix sockets."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from isotherm.base.settings import Settings
from isotherm.wire.boot import ControlBoot

__all__ = ["ControlProcess", "Listeners", "listeners", "start_control"]


class Listeners:
    """The two sockets that outlive the process, as the supervisor holds them."""

    def __init__(self, folder: Path) -> None:
        self.api_path, self.link_path = str(folder / "api.sock"), str(folder / "link.sock")
        self.api, self.link = _bind(self.api_path), _bind(self.link_path)

    def close(self) -> None:
        self.api.close()
        self.link.close()


def _bind(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.bind(path)
    listener.listen(128)
    return listener


@contextlib.contextmanager
def listeners(data_dir: Path) -> Iterator[Listeners]:
    folder = data_dir / "run"
    folder.mkdir()
    held = Listeners(folder)
    try:
        yield held
    finally:
        held.close()


class ControlProcess:
    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, str], started_s: float, api: str) -> None:
        self.process = process
        self.ready = ready
        self.started_s = started_s  # from the start to the ready line
        self._api = api

    def client(self, token: str | None = None, **options: Any) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token or self.ready['admin_key']}"}
        transport = httpx.AsyncHTTPTransport(uds=self._api)
        return httpx.AsyncClient(
            transport=transport, base_url="http://isotherm", headers=headers, timeout=20, **options
        )

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(15):
            return await self.process.wait()


@asynccontextmanager
async def start_control(
    data_dir: Path, held: Listeners, settings: Settings | None = None
) -> AsyncIterator[ControlProcess]:
    """Start it and wait for its ready line; killed at the end where it still runs."""
    boot_read, boot_write = os.pipe()
    ready_read, ready_write = os.pipe()
    boot = ControlBoot(
        data_dir=str(data_dir),
        api_fd=held.api.fileno(),
        link_fd=held.link.fileno(),
        ready_fd=ready_write,
        url="http://127.0.0.1:7070",
        content_url="http://127.0.0.1:7071",
        settings=settings or Settings(api_rate_per_s=100_000, warming="keep_alive"),
    )
    began_s = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "isotherm.controllers", "--boot-fd", str(boot_read)),
        pass_fds=(boot_read, held.api.fileno(), held.link.fileno(), ready_write),
        cwd="/",
    )
    os.close(boot_read)
    os.close(ready_write)
    try:
        await asyncio.to_thread(_send, boot_write, msgspec.json.encode(boot))
        async with asyncio.timeout(30):
            line = await asyncio.to_thread(_read, ready_read)
        assert line, f"control ended with {await process.wait()} before it was ready"
        yield ControlProcess(process, json.loads(line), time.monotonic() - began_s, held.api_path)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _send(fd: int, content: bytes) -> None:
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def _read(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as file:
        return file.readline()
