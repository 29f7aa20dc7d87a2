"""The warden's end of the egress process: hands it the sockets of revisions, passes its reports on to the host.

The egress process may die and come back at any time. The sockets stay here meanwhile, so connections wait in their
backlog; the next one is handed all of them anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from dataclasses import dataclass
from typing import Any, Protocol

from isotherm.warden.network import RevisionNetwork
from isotherm_runtime.seqpacket import close_all
from isotherm_runtime.seqpacket_async import AsyncChannel

__all__ = ["EgressDesk"]

_COUNTS = ("opened", "refused", "open", "sent_bytes", "received_bytes")
_MAX_COUNT = 1 << 53
_MAX_LINES, _MAX_LINE = 16, 500
_CLOSE_TIMEOUT_S = 1.0


class _Tell(Protocol):
    def __call__(self, message: dict[str, Any], /) -> None: ...


@dataclass(frozen=True, slots=True)
class _Gate:
    revision: str
    rules: str
    network: RevisionNetwork
    tell: _Tell


class EgressDesk:
    """Belongs to the warden's loop. Numbers of gates are never used again, so a late report harms nobody."""

    def __init__(self) -> None:
        self._gates: dict[str, _Gate] = {}
        self._closing: dict[str, asyncio.Event] = {}
        self._numbers = itertools.count(1)
        self._channel: AsyncChannel | None = None

    def connect(self, peer: socket.socket) -> None:
        """A new egress process is there."""
        if self._channel is not None:
            self._channel.close("the egress process was replaced")
        self._channel = AsyncChannel(peer, self._on_message, self._on_lost)
        for number, gate in self._gates.items():
            self._hand_over(number, gate)

    def open(self, revision: str, rules: str, network: RevisionNetwork, tell: _Tell) -> str:
        """Serve the network's sockets from now on; `tell` gets its reports. What to close it by.

        `rules` is JSON of what is allowed; the egress process parses it, the warden does not.
        """
        number = f"g{next(self._numbers)}"
        gate = self._gates[number] = _Gate(revision, rules, network, tell)
        self._hand_over(number, gate)
        return number

    async def close(self, number: str) -> None:
        """Returns once the last of its reports has been passed on, or will not come."""
        if number in self._gates and self._channel is not None and self._channel.is_open:
            told = self._closing[number] = asyncio.Event()
            self._channel.send({"op": "close", "id": number})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    await told.wait()
            del self._closing[number]
        self._gates.pop(number, None)

    def end(self) -> None:
        if self._channel is not None:
            self._channel.close()

    def _hand_over(self, number: str, gate: _Gate) -> None:
        if self._channel is not None and self._channel.is_open:
            message = {"op": "open", "id": number, "rules": gate.rules}
            self._channel.send(message, gate.network.duplicates())

    def _on_message(self, message: dict[str, Any], descriptors: list[int]) -> None:
        close_all(descriptors)  # it has none to give
        gate = self._gates.get(str(message.get("id")))
        if message.get("op") not in ("report", "closed") or gate is None:
            return
        counts = {name: _count(message.get(name)) for name in _COUNTS}
        lines = message.get("lines")
        texts = [str(line)[:_MAX_LINE] for line in lines[:_MAX_LINES]] if isinstance(lines, list) else []
        gate.tell({"op": "egress", "id": gate.revision, "lines": texts, **counts})
        if message["op"] == "closed" and str(message["id"]) in self._closing:
            self._closing[str(message["id"])].set()

    def _on_lost(self, _reason: str) -> None:
        """What was open is open no more. A gate that was about to close has had its last report."""
        nothing = dict.fromkeys(_COUNTS, 0)
        for gate in self._gates.values():
            gate.tell({"op": "egress", "id": gate.revision, "lines": [], **nothing})
        for told in self._closing.values():
            told.set()


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_COUNT else 0
