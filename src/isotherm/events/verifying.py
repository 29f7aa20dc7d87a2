"""Checks the hash chains of the event log from their first event to the newest, in one snapshot."""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import sqlalchemy
from sqlalchemy import Table
from sqlalchemy.orm import Session

from isotherm.base.errors import Invalid
from isotherm.events.chain import DENIALS, GENESIS, LOG, Sealed, chain_of, link
from isotherm.events.forgetting import FORGOTTEN, ForgottenHistory

__all__ = ["Broken", "Head", "Verdict", "newest", "parse_hash", "verify"]

_at_once = 1000


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The newest event of the log. Keep `hash` elsewhere: it vouches for all up to here."""

    hash: str  # hex; zeros where the log is empty
    event_id: int
    at_ms: int


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """The first event that does not follow from the one before it."""

    event_id: int
    kind: str
    subject: str
    version: int
    at_ms: int
    reason: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    events: int  # that were checked
    head: Head
    broken: Broken | None = None
    expected: Literal["found", "missing"] | None = None  # where a hash was to be looked for


def parse_hash(text: str) -> bytes:
    """Raises `Invalid` where it is not 64 hex digits."""
    try:
        found = bytes.fromhex(text.strip())
    except ValueError:
        found = b""
    if len(found) != len(GENESIS):
        raise Invalid(f"{text[:100]!r} is not a hash of the log: 64 hex digits, as `isotherm audit head` prints them")
    return found


def newest(session: Session, table: Table) -> Head:
    query = sqlalchemy.select(table.c.id, table.c.hash, table.c.at_ms).where(table.c.chain == LOG)
    row = session.execute(query.order_by(table.c.id.desc()).limit(1)).one_or_none()
    if row is None:
        return Head(hash=GENESIS.hex(), event_id=0, at_ms=0)
    return Head(hash=bytes(row.hash).hex(), event_id=row.id, at_ms=row.at_ms)


def verify(session: Session, table: Table, expect: bytes | None = None) -> Verdict:
    """Walk both chains. `expect`: a hash that was the head once. What was cut off at the end only it can tell."""
    log = _Walk(LOG, GENESIS, "what came before it", expect)
    log.follow(session, table)
    if log.broken is None:
        start = bytes.fromhex(log.forgotten.state.hash)
        denials = _Walk(DENIALS, start, "an older denial", expect)
        denials.follow(session, table)
    else:
        denials = _Walk(DENIALS, GENESIS, "", None)
    broken = log.broken or denials.broken
    found: Literal["found", "missing"] | None = None
    if expect is not None:
        found = "found" if log.found or denials.found or expect == GENESIS else "missing"
    return Verdict(
        ok=broken is None and found != "missing",
        events=log.events + denials.events,
        head=newest(session, table),
        broken=broken,
        expected=found,
    )


class _Walk:
    """Along one chain."""

    def __init__(self, chain: str, start: bytes, before: str, expect: bytes | None) -> None:
        self.forgotten = ForgottenHistory(FORGOTTEN)
        self.broken: Broken | None = None
        self.events = 0
        self.found = False
        self._chain = chain
        self._previous = start
        self._before = before
        self._expect = expect

    def follow(self, session: Session, table: Table) -> None:
        query = sqlalchemy.select(table).where(table.c.chain == self._chain).order_by(table.c.id)
        rows: Iterable[Any] = session.execute(query.execution_options(yield_per=_at_once))
        for row in rows:
            if not self._step(row):
                return

    def _step(self, row: Any) -> bool:
        stored = bytes(row.hash)
        event = Sealed(
            row.originator_id,
            row.originator_version,
            row.topic,
            bytes(row.state),
            row.at_ms,
            row.principal_id,
            row.namespace,
        )
        if chain_of(event.originator_id) != self._chain:
            return self._break(row, f"it does not belong into the chain of the {self._chain}")
        if link(self._previous, event) != stored:
            return self._break(row, f"its hash does not follow: it was changed, or {self._before} was, or is gone")
        self.events += 1
        self.found = self.found or stored == self._expect
        self._previous = stored
        if event.originator_id == FORGOTTEN:
            self.forgotten.apply(msgspec.json.decode(event.state, type=ForgottenHistory.facts))
        return True

    def _break(self, row: Any, reason: str) -> bool:
        self.broken = Broken(
            event_id=row.id,
            kind=row.topic,
            subject=row.originator_id,
            version=row.originator_version,
            at_ms=row.at_ms,
            reason=reason,
        )
        return False
