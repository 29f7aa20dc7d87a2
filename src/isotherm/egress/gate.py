"""The way out of one revision: accepts what its sandboxes connect to, decides, connects, relays."""

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address

from isotherm.egress import policy
from isotherm.egress.model import EgressLimits, Tally, Target
from isotherm.egress.names import NameTable
from isotherm.egress.port import NameNotFound, NamesUnavailable, Resolver
from isotherm.egress.queries import NameService
from isotherm.egress.relay import Relay
from isotherm.wire.egress import SYNTHETIC, Address, Rules, plain

__all__ = ["Gate"]

ACCEPTS_A_TURN = 8  # then other revisions have the loop
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class _Refused(Exception):
    """A connection is not made; the message says why, in the function's log."""


class Gate:
    """`sockets`: for TCP, for names by UDP, for names by TCP; owned. All in the revision's network namespace."""

    def __init__(
        self,
        rules: Rules,
        sockets: list[socket.socket],
        resolver: Resolver,
        limits: EgressLimits,
        own: Callable[[Address], bool],
    ) -> None:
        self.tally = Tally()
        self._rules = rules
        self._limits = limits
        self._resolver = resolver
        self._own = own
        self._loop = asyncio.get_running_loop()
        self._listener, by_udp, by_tcp = sockets
        names = NameTable(rule.name for rule in rules.hosts if not rule.name.startswith("*"))
        self._names = names
        self._service = NameService(rules, names, resolver, limits, by_udp, by_tcp, lambda: self.tally)
        self._relays: set[Relay] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """Connections, those on their way included."""
        return len(self._relays) + len(self._tasks)

    def start(self) -> None:
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept)
        self._service.start()

    def close(self) -> None:
        """Ends all connections."""
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        self._service.close()
        for task in self._tasks:
            task.cancel()
        for relay in list(self._relays):
            relay.close()
        self._tasks.clear()

    def take(self) -> Tally:
        """What happened since the last call."""
        tally, self.tally = self.tally, Tally()
        for relay in self._relays:
            relay.tally = self.tally
        return tally

    def sweep(self, now_s: float) -> None:
        """End what has been silent for too long. Called every so often."""
        for relay in list(self._relays):
            silent_s = now_s - relay.moved_s
            if silent_s > self._limits.idle_s or (relay.sniffing and silent_s > self._limits.sniff_s):
                relay.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause()
                return
            client.setblocking(False)
            if self.open >= self._limits.connections:
                self._refuse(client, f"egress is at its limit of {self._limits.connections} connections at once")
                continue
            task = self._loop.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _pause(self) -> None:
        """No descriptor is free: leave those who come in the backlog for a moment."""
        self._loop.remove_reader(self._listener.fileno())
        self._loop.call_later(0.2, self._resume)

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    async def _serve(self, client: socket.socket) -> None:
        """From an accepted connection to a relay, or to a refusal."""
        try:
            target = self._target(client)
            async with asyncio.timeout(self._limits.connect_s):
                server = await self._connect(target, await self._addresses(target))
            await self._join(target, client, server)
        except _Refused as exc:
            self._refuse(client, str(exc))
        except TimeoutError:
            self._refuse(client, f"egress to {target} failed: no connection within {self._limits.connect_s:g} s")
        except BaseException:
            client.close()
            raise

    def _target(self, client: socket.socket) -> Target:
        """Where it was meant to go: the accepted socket's own address. Raises `_Refused`."""
        host, port = client.getsockname()[:2]
        address = plain(ip_address(host.partition("%")[0]))
        if address not in SYNTHETIC:
            return Target(address, port)
        name = self._names.name_of(address)
        if name is None:
            raise _Refused(f"egress to {address}:{port} was refused: no name has that address now; resolve it anew")
        why = policy.name_refusal(self._rules, name, port)
        if why is not None:
            raise _Refused(why)
        return Target(name, port)

    async def _addresses(self, target: Target) -> list[Address]:
        """Those that may be connected to. Raises `_Refused`."""
        if isinstance(target.host, str):
            try:
                found = await self._resolver.addresses(target.host)
            except NameNotFound:
                raise _Refused(f"egress to {target} failed: there is no such host") from None
            except NamesUnavailable as exc:
                raise _Refused(f"egress to {target} failed: {exc}") from exc
        else:
            found = [target.host]
        seen = [policy.Seen(address, self._own(address)) for address in found]
        allowed, why = policy.permitted(self._rules, target, seen, self._limits)
        if not allowed:
            raise _Refused(why or f"egress to {target} is not allowed")
        return allowed

    async def _connect(self, target: Target, addresses: list[Address]) -> socket.socket:
        """The first that answers; each has its share of the time. Raises `_Refused`."""
        share_s = self._limits.connect_s / len(addresses)
        problem = errno.ETIMEDOUT
        for address in addresses:
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            server = socket.socket(family, socket.SOCK_STREAM)
            try:
                server.setblocking(False)
                server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                async with asyncio.timeout(share_s):
                    await self._loop.sock_connect(server, (str(address), target.port))
            except OSError as exc:
                problem = exc.errno or errno.ETIMEDOUT
                server.close()
            except BaseException:
                server.close()
                raise
            else:
                return server
        raise _Refused(f"egress to {target} failed: {os.strerror(problem)}")

    async def _join(self, target: Target, client: socket.socket, server: socket.socket) -> None:
        relay = Relay(self.tally, self._loop.time, self._looked_at(target), self._relays.discard)
        self._relays.add(relay)
        self.tally.opened += 1
        try:
            await self._loop.connect_accepted_socket(lambda: relay.server, server)
        except BaseException:
            server.close()
            relay.close()
            raise
        try:
            await self._loop.connect_accepted_socket(lambda: relay.client, client)
        except BaseException:
            relay.close()
            raise

    def _looked_at(self, target: Target) -> Callable[[tuple[str, ...]], str | None] | None:
        """What looks at the names that a client gives; None where any would do."""
        name, port = target.host, target.port
        if not isinstance(name, str) or policy.any_name(self._rules, port):
            return None

        def refuses(names: tuple[str, ...]) -> str | None:
            whys = (policy.name_refusal(self._rules, asked, port) for asked in names)
            why = next((why for why in whys if why is not None), None)
            return None if why is None else f"{why} (asked for in a connection to {name})"

        return refuses

    def _refuse(self, client: socket.socket, why: str) -> None:
        self.tally.refuse(why)
        with contextlib.suppress(OSError):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
