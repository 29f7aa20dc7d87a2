"""The warden: waits for a host's end of a socket pair from the supervisor, serves it, ends what it leaves."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import Any

from isotherm.warden.egress import EgressDesk
from isotherm.warden.facilities import Facilities
from isotherm.warden.launching import reap_orphans
from isotherm.warden.nurseries import Nurseries
from isotherm.warden.probe import probe
from isotherm.warden.session import Session
from isotherm_runtime.seqpacket import close_all
from isotherm_runtime.seqpacket_async import AsyncChannel

__all__ = ["Warden"]

_FIRST_TENANT = "default"  # the namespace that every platform has


class Warden:
    """`serve` returns once it was told to stop (`{"op": "stop"}`, SIGTERM) or the supervisor is gone."""

    def __init__(self, facilities: Facilities, supervisor: socket.socket) -> None:
        self._have = facilities
        self._stopped = asyncio.Event()
        self._changed = asyncio.Event()
        self._next: socket.socket | None = None
        self._session: Session | None = None
        self._checks: list[dict[str, Any]] = []
        self._nurseries = Nurseries(facilities.interpreters.values())
        self._egress = EgressDesk()
        self._nurseries.warm(_FIRST_TENANT, facilities.python)
        self._channel = AsyncChannel(supervisor, self._on_message, lambda _: self._stop())

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        if not self._have.isolated:
            loop.add_signal_handler(signal.SIGCHLD, reap_orphans)
        while not self._stopped.is_set():
            await self._changed.wait()
            self._changed.clear()
            if self._session is not None and (self._next is not None or not self._session.is_open):
                await self._session.end()
                self._session = None
            if self._next is not None and self._session is None:
                peer, self._next = self._next, None
                self._session = Session(peer, self._have, self._nurseries, self._egress, self._probe, self._changed.set)
        if self._session is not None:
            await self._session.end()
        self._nurseries.close()
        self._egress.end()
        self._channel.close()

    def _probe(self) -> list[dict[str, Any]]:
        """Once in a life: what this machine can do does not change, and trying takes a while."""
        self._checks = self._checks or [check.to_message() for check in probe(self._have)]
        return self._checks

    def _stop(self) -> None:
        self._stopped.set()
        self._changed.set()

    def _on_message(self, message: dict[str, Any], descriptors: list[int]) -> None:
        operation = message.get("op")
        if operation == "peer" and len(descriptors) == 1:
            if self._next is not None:
                self._next.close()
            self._next = socket.socket(fileno=descriptors.pop())
            self._changed.set()
        elif operation == "egress" and len(descriptors) == 1:
            self._egress.connect(socket.socket(fileno=descriptors.pop()))
        elif operation == "stop":
            self._stop()
        else:
            sys.stderr.write(
                f"warden: the supervisor sent {str(operation)[:32]!r} with {len(descriptors)} descriptors\n"
            )
        close_all(descriptors)
