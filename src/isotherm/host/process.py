"""Running as a process: the boot message, the master key, the supervisor's channel, signals."""

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.errors import Invalid, Unavailable
from isotherm.host.identity import raise_limits
from isotherm.host.service import HostService
from isotherm.sandbox.drivers.process import ProcessDriver, WardenLink
from isotherm.storage.drivers.objects import open_objects
from isotherm.storage.vault import Vault, read_master_key
from isotherm.telemetry.logging import get_logger
from isotherm.wire.boot import HostBoot
from isotherm_runtime.seqpacket import close_all
from isotherm_runtime.seqpacket_async import AsyncChannel

__all__ = ["read_boot", "run_host"]

KEY_TIMEOUT_S = 60.0


def read_boot(descriptor: int) -> HostBoot:
    """The boot message. Raises `Invalid`."""
    with os.fdopen(descriptor, "rb") as file:
        content = file.read()
    try:
        return msgspec.json.decode(content, type=HostBoot)
    except msgspec.MsgspecError as exc:
        raise Invalid(f"the boot message of the host cannot be read: {exc}") from exc


async def run_host(boot: HostBoot) -> None:
    """Serve until told to stop. Raises `Invalid`, `Unavailable` where it cannot start."""
    raise_limits()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    warden = WardenLink()
    supervisor = _supervisor(boot.supervisor_fd, warden, stop)
    vault = Vault(await _master_key(Path(boot.data_dir)))
    driver = ProcessDriver(warden, allow_unisolated=boot.settings.allow_unisolated)
    service = HostService(boot, vault, open_objects(str(Path(boot.data_dir) / "blobs")), driver)
    await service.start()
    await stop.wait()
    get_logger("host").info("draining")
    await service.stop()
    supervisor.close()


def _supervisor(descriptor: int, warden: WardenLink, stop: asyncio.Event) -> AsyncChannel:
    """Listen to the supervisor: it brings a new end to the warden at every start of it, and says when to stop."""

    def on_message(message: dict[str, Any], descriptors: list[int]) -> None:
        if message.get("op") == "peer" and len(descriptors) == 1:
            warden.reconnect(descriptors[0])
            return
        close_all(descriptors)
        if message.get("op") == "stop":
            stop.set()

    return AsyncChannel(socket.socket(fileno=descriptor), on_message, lambda _reason: stop.set())


async def _master_key(data_dir: Path) -> bytes:
    """The master key, which control makes at the very first start. Raises `Unavailable`, `Invalid`."""
    waited_s = 0.0
    while (key := read_master_key(data_dir, os.environ)) is None:
        if waited_s >= KEY_TIMEOUT_S:
            raise Unavailable(f"{data_dir}/keys/master.key did not appear within {KEY_TIMEOUT_S:g} s; control makes it")
        await asyncio.sleep(0.1)
        waited_s += 0.1
    return key
