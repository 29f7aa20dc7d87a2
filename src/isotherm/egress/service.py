"""All gates of the machine: opened and closed at the warden's word, looked after, reported on."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from isotherm.egress.gate import Gate
from isotherm.egress.model import EgressLimits
from isotherm.egress.port import Resolver
from isotherm.telemetry.logging import get_logger
from isotherm.wire.egress import Address, EgressAllow, parse_rules
from isotherm_runtime.seqpacket import close_all

__all__ = ["Egress"]

REPORT_S = 0.25
ROUNDS_A_SWEEP = 8
SOCKETS = 3

Send = Callable[[dict[str, Any]], None]


class Egress:
    """`send` goes to the warden that is there now. Belongs to one running loop."""

    def __init__(self, resolver: Resolver, limits: EgressLimits, own: Callable[[Address], bool], send: Send) -> None:
        self._resolver = resolver
        self._limits = limits
        self._own = own
        self._send = send
        self._gates: dict[str, Gate] = {}
        self._told_open: dict[str, int] = {}
        self._log = get_logger("egress")

    @property
    def gates(self) -> int:
        return len(self._gates)

    def on_message(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """Of the warden: `open` with rules and sockets, or `close`."""
        number, operation = str(message.get("id")), message.get("op")
        if operation == "open" and len(descriptors) == SOCKETS:
            self._open(number, str(message.get("rules")), [socket.socket(fileno=each) for each in descriptors])
            return
        close_all(descriptors)
        gate = self._gates.get(number)
        if operation == "close" and gate is not None:
            gate.close()
            self._report("closed", number, gate)
            self._gates.pop(number)
            self._told_open.pop(number, None)

    def close(self) -> None:
        """End all connections of all revisions: the warden has gone, and they with it."""
        for gate in self._gates.values():
            gate.close()
        self._gates.clear()
        self._told_open.clear()

    async def look_after(self) -> None:
        """Report and sweep until cancelled."""
        rounds = 0
        while True:
            await asyncio.sleep(REPORT_S)
            rounds += 1
            now_s = asyncio.get_running_loop().time()
            for number, gate in list(self._gates.items()):
                if rounds % ROUNDS_A_SWEEP == 0:
                    gate.sweep(now_s)
                if gate.tally or gate.open != self._told_open.get(number, 0):
                    self._report("report", number, gate)

    def _open(self, number: str, rules: str, sockets: list[socket.socket]) -> None:
        try:
            parsed = parse_rules(msgspec.json.decode(rules, type=EgressAllow))
        except (msgspec.MsgspecError, ValueError) as exc:  # it was checked before: then nothing is let through
            self._log.error("rules of egress cannot be read", reason=str(exc))
            for each in sockets:
                each.close()
            return
        gate = self._gates[number] = Gate(parsed, sockets, self._resolver, self._limits, self._own)
        gate.start()

    def _report(self, operation: str, number: str, gate: Gate) -> None:
        tally = gate.take()
        self._told_open[number] = gate.open
        self._send(
            {
                "op": operation,
                "id": number,
                "opened": tally.opened,
                "refused": tally.refused,
                "open": gate.open,
                "sent_bytes": tally.sent_bytes,
                "received_bytes": tally.received_bytes,
                "lines": tally.lines(),
            }
        )
