"""Ships telemetry: collects about every second, spools, sends, and sends again until control has acknowledged."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from isotherm.base.clock import Clock
from isotherm.host.spool import BatchKey, Spool
from isotherm.invocations.recorder import Recorder
from isotherm.telemetry.logging import get_logger
from isotherm.wire.telemetry import Batch, NamespaceUse, WorkloadState

__all__ = ["Shipper", "Uplink"]

SHIP_INTERVAL_S = 0.9
HURRY_S = 0.05  # what somebody waits for is shipped this soon, with all that comes meanwhile
STATES_INTERVAL_S = 5.0
KEYS_INTERVAL_S = 15.0
WINDOW = 16  # batches on their way at the same time


class Uplink(Protocol):
    """The link to control."""

    def connected(self) -> bool: ...

    def send_raw(self, message: bytes) -> None:
        """Send an encoded message; dropped where there is no connection."""


class Shipper:
    """One per host process."""

    def __init__(
        self,
        host_id: str,
        boot_id: str,
        recorder: Recorder,
        spool: Spool,
        clock: Clock,
        states: Callable[[], list[WorkloadState]],
        host_facts: Callable[[], dict[str, Any]],
        uses: Callable[[], list[NamespaceUse]],
        keys_used: Callable[[], dict[str, int]] = dict,
    ) -> None:
        self.uplink: Uplink | None = None
        self._host_id = host_id
        self._boot_id = boot_id
        self._recorder = recorder
        self._spool = spool
        self._clock = clock
        self._states = states
        self._host_facts = host_facts
        self._uses = uses
        self._keys_used = keys_used
        self._keys_at_s = clock.monotonic_s()
        self._last_uses: list[NamespaceUse] = []
        self._sequence = 0
        self._flying: set[BatchKey] = set()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._states_at_s = -STATES_INTERVAL_S
        self._last_states: object = None
        self._hurry = asyncio.Event()
        recorder.on_hurry = self._hurry.set
        self._log = get_logger("host")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHIP_INTERVAL_S):
                    await self._hurry.wait()
                    await asyncio.sleep(HURRY_S)
            self._hurry.clear()
            await self.ship()

    async def ship(self) -> None:
        """Collect, spool, and send what the window has room for."""
        batch = self._collect()
        loop = asyncio.get_running_loop()
        if batch is not None:
            try:
                await loop.run_in_executor(self._disk, self._spool.put, batch)
            except OSError as exc:
                self._log.error("telemetry cannot be written", problem=str(exc))
        await self.send_waiting()

    async def send_waiting(self) -> None:
        """Send what is on disk and not under way, oldest first."""
        uplink = self.uplink
        loop = asyncio.get_running_loop()
        for key in self._spool.waiting():
            if uplink is None or not uplink.connected() or len(self._flying) >= WINDOW:
                return
            if key in self._flying:
                continue
            self._flying.add(key)
            message = await loop.run_in_executor(self._disk, self._spool.get, key)
            if message is None:
                self._flying.discard(key)
            elif uplink.connected():
                uplink.send_raw(message)

    async def acknowledged(self, boot_id: str, sequence: int) -> None:
        """Control has stored a batch."""
        key = (boot_id, sequence)
        self._flying.discard(key)
        await asyncio.get_running_loop().run_in_executor(self._disk, self._spool.discard, key)
        if self._spool.waiting() and not self._flying:
            await self.send_waiting()

    def disconnected(self) -> None:
        """What was under way is sent again on the next connection, and control is told anew what is used."""
        self._flying.clear()
        self._last_uses = []

    async def close(self) -> None:
        """Spool what is left."""
        await self.ship()
        await asyncio.get_running_loop().run_in_executor(None, lambda: self._disk.shutdown(wait=True))

    def _collect(self) -> Batch | None:
        collected = self._recorder.collect()
        dropped = self._spool.take_dropped()
        if dropped:
            collected.dropped["batches"] = dropped
        states, uses, keys_used = self._new_states(), self._new_uses(), self._new_keys_used()
        if not collected and states is None and uses is None and not keys_used:
            return None
        self._sequence += 1
        return Batch(
            host_id=self._host_id,
            boot_id=self._boot_id,
            sequence=self._sequence,
            sent_at_ms=self._clock.time_ms(),
            invocations=collected.invocations,
            minutes=collected.minutes,
            logs=collected.logs,
            events=collected.events,
            dropped=collected.dropped,
            states=states,
            uses=uses,
            host=self._host_facts() if states is not None else {},
            keys_used=keys_used,
        )

    def _new_keys_used(self) -> dict[str, int]:
        now_s = self._clock.monotonic_s()
        if now_s - self._keys_at_s < KEYS_INTERVAL_S:
            return {}
        self._keys_at_s = now_s
        return self._keys_used()

    def _new_uses(self) -> list[NamespaceUse] | None:
        uses = self._uses()
        if uses == self._last_uses:
            return None
        self._last_uses = uses
        return uses

    def _new_states(self) -> list[WorkloadState] | None:
        """The states where their numbers of instances changed, or the last ones are old."""
        states = self._states()
        now_s = self._clock.monotonic_s()
        shape = [(state.revision_id, state.temperatures, state.queued) for state in states]
        if shape == self._last_states and (not shape or now_s - self._states_at_s < STATES_INTERVAL_S):
            return None
        self._last_states = shape
        self._states_at_s = now_s
        return states
