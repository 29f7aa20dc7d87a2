"""Running as a process: the boot message, the supervisor's channel, one warden at a time, signals."""

import asyncio
import os
import signal
import socket
from typing import Any

import msgspec

from isotherm.base.errors import Invalid
from isotherm.egress.drivers.name_servers import NameServers, parse_server
from isotherm.egress.model import EgressLimits
from isotherm.egress.port import NamesUnavailable, Resolver
from isotherm.egress.service import Egress
from isotherm.telemetry.logging import get_logger
from isotherm.wire.boot import EgressBoot
from isotherm.wire.egress import Address, parse_networks
from isotherm_runtime.seqpacket import close_all
from isotherm_runtime.seqpacket_async import AsyncChannel

__all__ = ["is_own", "limits_from", "read_boot", "run_egress"]


def read_boot(descriptor: int) -> EgressBoot:
    """The boot message. Raises `Invalid`."""
    with os.fdopen(descriptor, "rb") as file:
        content = file.read()
    try:
        return msgspec.json.decode(content, type=EgressBoot)
    except msgspec.MsgspecError as exc:
        raise Invalid(f"the boot message of egress cannot be read: {exc}") from exc


def limits_from(boot: EgressBoot) -> EgressLimits:
    """Raises `Invalid`."""
    try:
        never = parse_networks(boot.never)
    except ValueError as exc:
        raise Invalid(f"ISOTHERM_EGRESS_NEVER: {exc}; write networks such as 10.0.0.0/8 between commas") from exc
    return EgressLimits(
        connections=boot.connections, idle_s=boot.idle_s, never=never, own_ports=frozenset(boot.own_ports)
    )


def is_own(address: Address) -> bool:
    """Whether it is an address of this machine: only then a socket can be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


async def run_egress(boot: EgressBoot) -> None:
    """Serve until told to stop. Raises `Invalid`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    warden = _Warden(_resolver(boot.resolver), limits_from(boot))

    def on_message(message: dict[str, Any], descriptors: list[int]) -> None:
        if message.get("op") == "peer" and len(descriptors) == 1:
            warden.connect(socket.socket(fileno=descriptors.pop()))
        close_all(descriptors)
        if message.get("op") == "stop":
            stop.set()

    supervisor = AsyncChannel(socket.socket(fileno=boot.supervisor_fd), on_message, lambda _reason: stop.set())
    care = loop.create_task(warden.egress.look_after())
    await stop.wait()
    care.cancel()
    warden.egress.close()
    supervisor.close()


class _Warden:
    """The warden's end, given anew at each start of it; what the former had open ends with it."""

    def __init__(self, resolver: Resolver, limits: EgressLimits) -> None:
        self._channel: AsyncChannel | None = None
        self.egress = Egress(resolver, limits, is_own, self._send)

    def connect(self, peer: socket.socket) -> None:
        if self._channel is not None:
            self._channel.close("the warden was replaced")
        self._channel = AsyncChannel(peer, self.egress.on_message, lambda _reason: self.egress.close())

    def _send(self, message: dict[str, Any]) -> None:
        if self._channel is not None:
            self._channel.send(message)


class _NoNames:
    """Where the machine has no name servers: addresses can be reached all the same."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def addresses(self, name: str) -> list[Address]:
        raise NamesUnavailable(self._reason)


def _resolver(server: str | None) -> Resolver:
    """Raises `Invalid`."""
    try:
        return NameServers(None if server is None else parse_server(server))
    except ValueError as exc:
        raise Invalid(
            f"ISOTHERM_EGRESS_RESOLVER: {exc}; write an address, such as 192.0.2.53 or 192.0.2.53:53"
        ) from exc
    except NamesUnavailable as exc:
        get_logger("egress").warning("names cannot be resolved", reason=str(exc))
        return _NoNames(str(exc))
