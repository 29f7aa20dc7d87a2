"""The warming controller: looks every few seconds at what was called, decides what waits warm, and tells the hosts.

It has nothing to do with a call under way: where it is slow, away or switched off, revisions go by their keep-alives.
What it knows of the past it reads from the records when it starts.
"""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from isotherm.base.clock import Clock
from isotherm.base.errors import IsothermError, Unavailable
from isotherm.bus.board import HostBoard
from isotherm.controllers.link import LinkServer
from isotherm.controllers.port import DesiredSource
from isotherm.controllers.session import HostSession
from isotherm.warming.drivers.cache import wants_filling
from isotherm.warming.receipt import Receipt
from isotherm.wire.telemetry import Batch
from isotherm.wire.warmth import Warmth

if TYPE_CHECKING:  # what is heavy is loaded once the platform serves, on a worker thread
    from isotherm.warming.service import Turn, Warming

__all__ = ["WarmingController", "WarmingRecords"]

_log = structlog.get_logger(__name__)
_most_batches = 10_000  # that wait to be looked at; beyond that the oldest are not counted
_save_every_s = 60.0
_state = "warming"


class WarmingRecords(Protocol):
    """What is written down, and read again at the start. Called on worker threads."""

    def add_receipts(self, receipts: list[Receipt], /) -> None: ...

    def minute_counts(self, since_minute: int, /) -> Iterable[tuple[str, str, int, int, float]]:
        """(namespace, name, minute, calls, ms that they ran)."""

    def keep_state(self, name: str, body: bytes, at_ms: int, /) -> None: ...

    def kept_state(self, name: str, /) -> tuple[int, bytes] | None:
        """(when it was kept, ms; the body)."""


class WarmingController:
    """`make` builds the policy on a worker thread: it may compile, and load a model. It raises `Unavailable` where an
    extra is missing: then keep-alives decide, and the log says why."""

    def __init__(
        self,
        *,
        make: Callable[[int], "Warming"],
        source: DesiredSource,
        records: WarmingRecords,
        link: LinkServer,
        board: HostBoard,
        show: Callable[["Warming"], None],
        give_up: Callable[[str], None],
        clock: Clock,
        interval_s: float,
    ) -> None:
        self._make = make
        self._source = source
        self._records = records
        self._link = link
        self._board = board
        self._show = show
        self._give_up = give_up
        self._clock = clock
        self._interval_s = interval_s
        self._batches: deque[tuple[Batch, int]] = deque(maxlen=_most_batches)
        self._told: set[HostSession] = set()
        self._saved_s = 0.0

    def took(self, batch: Batch) -> None:
        """A batch of telemetry, new and stored. Any thread."""
        if batch.minutes or batch.invocations:
            self._batches.append((batch, self._clock.time_ms()))

    async def run(self) -> None:
        """Until cancelled; what is known is kept then."""
        await _compiled()
        try:
            warming = await asyncio.to_thread(self._make, self._clock.time_ms())
        except Unavailable as error:
            _log.warning("keep-alives alone decide what waits warm", reason=error.message)
            self._give_up(error.message)
            await asyncio.Event().wait()
            return
        await asyncio.to_thread(self._begin, warming)
        try:
            while True:
                await self._look(warming)
                await asyncio.sleep(min(self._interval_s, warming.until_s))
        finally:
            with contextlib.suppress(IsothermError):
                await asyncio.shield(asyncio.to_thread(self._save, warming))
            warming.close()

    async def _look(self, warming: "Warming") -> None:
        turn = await asyncio.to_thread(self._turn, warming)
        sessions = set(self._link.sessions())
        fresh = sessions - self._told
        self._told &= sessions
        for session in fresh:
            await self._send(session, warming.whole())
        if turn.warmth is not None:
            for session in self._told - fresh:
                await self._send(session, turn.warmth)
        self._told |= fresh

    async def _send(self, session: HostSession, warmth: Warmth) -> None:
        with contextlib.suppress(ConnectionError):  # it is told everything when it is back
            await session.send(warmth)

    # -- on a worker thread --------------------------------------------------------------------------------------------

    def _begin(self, warming: "Warming") -> None:
        """Learn what there is and what was. Raises `Unavailable`: the database is away; then it is begun anew."""
        now_ms = self._clock.time_ms()
        warming.apply(self._source.desired(None, 0))
        real = warming.options.minute_s == 60.0  # otherwise the records tell of other minutes
        warming.restore(now_ms, self._records.minute_counts(warming.first_remembered(now_ms)) if real else ())
        kept = self._records.kept_state(_state)
        if kept is not None:
            self._take_up(warming, kept[1])
        _log.info("the warming policy decides", workloads=len(warming.catalog.entries))

    def _take_up(self, warming: "Warming", body: bytes) -> None:
        try:
            warming.resume(body)
        except msgspec.MsgspecError as exc:  # of another release: it learns prices anew
            _log.warning("what the warming policy had kept cannot be read", reason=str(exc))

    def _turn(self, warming: "Warming") -> "Turn":
        catalog = warming.catalog
        if self._source.version() != catalog.version:
            warming.apply(self._source.desired(catalog.epoch, catalog.version))
        while self._batches:
            batch, received_ms = self._batches.popleft()
            warming.take(batch, received_ms)
        turn = warming.turn(self._clock.time_ms())
        if turn.minute is not None:
            warming.saw_states(
                state for host in self._board.hosts() if host.connected for state in self._board.states_of(host.host_id)
            )
            if turn.receipts:
                self._records.add_receipts(turn.receipts)
            self._show(warming)
            if self._clock.monotonic_s() - self._saved_s >= _save_every_s:
                self._save(warming)
        return turn

    def _save(self, warming: "Warming") -> None:
        self._saved_s = self._clock.monotonic_s()
        self._records.keep_state(_state, warming.state(), self._clock.time_ms())


async def _compiled() -> None:
    """Have loops compiled in a process of its own, where they are not yet: here it would hold up all else."""
    if not await asyncio.to_thread(wants_filling):
        return
    command = [sys.executable, "-m", "isotherm.warming.prepare"]
    nothing = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=nothing, stderr=nothing)
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status:
        _log.info("loops of the warming policy are compiled in the control process", status=status)
