"""Asynchronous and streamed calls of a replay: what became of them."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from isotherm.base.errors import IsothermError
from isotherm.replay.drive import Outcomes
from isotherm.replay.model import Way
from isotherm.replay.platform import Platform, QueueRow
from isotherm.replay.report import AsyncReport, StreamReport
from isotherm.replay.sketch import spread
from isotherm.replay.ways import PIECES

__all__ = ["Ledger", "async_report", "open_ledger", "stream_report"]

POLL_S = 0.25
CLOCK_SLACK_MS = 60_000  # between our clock and the platform's; a page more is read for it
OVER = ("succeeded", "dead", "redriven")


@dataclass(frozen=True)
class Ledger:
    """The queue's word on every call that was accepted."""

    rows: list[tuple[int, QueueRow | None]]  # (index of the call, its row; None where the platform has none)
    drained: bool
    drain_s: float

    @property
    def ended(self) -> list[tuple[int, float]]:
        """(index, milliseconds from acceptance to the end) of each that is over."""
        return [
            (index, float(max(0, row.finished_at_ms - row.accepted_at_ms)))
            for index, row in self.rows
            if row is not None and row.state in OVER and row.finished_at_ms is not None
        ]


async def open_ledger(
    platform: Platform, namespace: str, functions: set[str], outcomes: Outcomes, started_at_ms: int, settle_s: float
) -> Ledger:
    """Wait until nothing of `functions` waits or runs, at most `settle_s`, and read what became of each call."""
    began = perf_counter()
    drained = await _drained(platform, namespace, functions, began + settle_s)
    drain_s = perf_counter() - began
    accepted = {
        outcomes.request_ids[index]: int(index)
        for index in np.flatnonzero((outcomes.way == Way.EVENT) & ~outcomes.failed)
    }
    found = await platform.queue_rows(namespace, set(accepted), started_at_ms - CLOCK_SLACK_MS)
    return Ledger([(index, found.get(call_id)) for call_id, index in accepted.items()], drained, drain_s)


async def _drained(platform: Platform, namespace: str, functions: set[str], until: float) -> bool:
    while True:
        try:
            if not await platform.open_calls(namespace, functions):
                return True
        except IsothermError as exc:
            if exc.status < 500:
                raise
        if perf_counter() > until:
            return False
        await asyncio.sleep(POLL_S)


def async_report(ledger: Ledger, outcomes: Outcomes) -> AsyncReport:
    sent = outcomes.way == Way.EVENT
    accepted = sent & ~outcomes.failed
    known = [row for _, row in ledger.rows if row is not None]
    states = Counter(row.state for row in known)
    dead = [row for row in known if row.state in ("dead", "redriven")]
    return AsyncReport(
        sent=int(sent.sum()),
        accepted=int(accepted.sum()),
        acknowledged_ms=spread((outcomes.done_s - outcomes.sent_s)[accepted] * 1000),
        succeeded=states["succeeded"],
        dead=len(dead),
        open=states["queued"] + states["running"],
        lost=len(ledger.rows) - len(known),
        dead_by_code=dict(Counter(row.error_code or "unknown" for row in dead).most_common()),
        tried_again=sum(row.attempts > 0 for row in known),
        to_end_ms=spread(np.array([ms for _, ms in ledger.ended])),
        drained=ledger.drained,
        drain_s=round(ledger.drain_s, 3),
    )


def stream_report(outcomes: Outcomes) -> StreamReport | None:
    """None where nothing was streamed."""
    sent = outcomes.way == Way.STREAM
    if not sent.any():
        return None
    whole = sent & ~outcomes.failed
    return StreamReport(
        sent=int(sent.sum()),
        whole=int(whole.sum()),
        pieces=PIECES,
        first_byte_ms=spread((outcomes.first_s - outcomes.sent_s)[whole] * 1000),
        to_end_ms=spread((outcomes.done_s - outcomes.sent_s)[whole] * 1000),
    )
