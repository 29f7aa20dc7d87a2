"""The event log: commands append to it in the transaction that also writes their projections; the audit reads it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any, TypeVar

import msgspec
import sqlalchemy
from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent
from sqlalchemy.orm import Session

from isotherm.base.clock import Clock
from isotherm.base.errors import Conflict
from isotherm.db.engine import Database
from isotherm.db.pages import Page, clamp_limit, decode_cursor, encode_cursor
from isotherm.events.aggregate import Aggregate, Happened, kind_of
from isotherm.events.changes import take_noted
from isotherm.events.forgetting import FORGOTTEN, ForgottenHistory
from isotherm.events.listeners import Listeners
from isotherm.events.model import Entry
from isotherm.events.store import EventRecorder, SnapshotRecorder, event_datastore
from isotherm.events.upcasting import decode_fact, encode_fact
from isotherm.events.verifying import Head, Verdict, newest, parse_hash, verify

__all__ = ["EventLog"]

A = TypeVar("A", bound=Aggregate[Any])
_began = "isotherm_at_ms"
_system = "system"


class EventLog:
    """Thread-safe. An aggregate is loaded and saved in one `transaction`; projections are written in the same."""

    def __init__(self, database: Database, clock: Clock, *, snapshot_every: int = 50) -> None:
        self.database = database
        self._clock = clock
        self._snapshot_every = snapshot_every
        datastore = event_datastore(database)
        self._events = EventRecorder(datastore)
        self._snapshots = SnapshotRecorder(datastore)
        self._listeners: Listeners[[]] = Listeners("a change of desired state")
        self.desired_changes = 0  # that this process made

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """The unit of work of one command: all of it is committed, or nothing.

        Raises `Conflict` where another command changed the same thing at the same moment, and `Unavailable`.
        """
        with self.database.writing():
            try:
                with self._events.transaction() as session:
                    session.info[_began] = self._clock.time_ms()
                    yield session
                    session.commit()  # in here: the library rolls back what its block raises, not a COMMIT that fails
            except IntegrityError as exc:
                raise Conflict("it was changed by another command at the same moment; try again") from exc
            except PersistenceError as exc:
                raise self.database.failed(exc.__cause__ or exc) from exc
        if take_noted(session):
            self.desired_changes += 1  # only ever compared, so that a lost count of two at once does no harm
            self._listeners.tell()

    def time_ms(self, session: Session) -> int:
        """The one time of all that this transaction writes: events and projections agree to the millisecond."""
        began: int = session.info[_began]
        return began

    def load(self, session: Session, kind: type[A], aggregate_id: str) -> A:
        """The aggregate as its history says; of version 0 where it has none."""
        table = self._snapshots.table
        mine = (table.c.originator_id == aggregate_id, table.c.topic == _snapshot_topic(kind))
        snapshot = session.execute(
            sqlalchemy.select(table.c.originator_version, table.c.state).where(*mine)
        ).one_or_none()
        if snapshot is None:
            aggregate = kind(aggregate_id)
        else:
            state = msgspec.json.decode(snapshot.state, type=kind.state_type)
            aggregate = kind(aggregate_id, snapshot.originator_version, state)
        for event in self._events.select_events(aggregate_id, gt=aggregate.version):
            aggregate.apply(decode_fact(kind, event.topic, event.state))
            aggregate.version = event.originator_version
        return aggregate

    def histories(self, session: Session, kind: type[A], prefix: str) -> Iterator[tuple[A, list[Happened]]]:
        """Every aggregate of a kind, by the prefix of its id, replayed from its first event without a snapshot; with
        its facts."""
        table = self._events.table
        columns = (
            table.c.originator_id,
            table.c.originator_version,
            table.c.topic,
            table.c.state,
            table.c.at_ms,
            table.c.principal_id,
        )
        query = sqlalchemy.select(*columns).where(table.c.originator_id.startswith(prefix, autoescape=True))
        query = query.order_by(table.c.originator_id, table.c.originator_version).execution_options(yield_per=1000)
        for aggregate_id, rows in groupby(session.execute(query), key=lambda row: str(row.originator_id)):
            aggregate, happened = kind(aggregate_id), []
            for row in rows:
                fact = decode_fact(kind, row.topic, bytes(row.state))
                aggregate.apply(fact)
                aggregate.version = row.originator_version
                happened.append(Happened(fact, int(row.at_ms), row.principal_id))
            yield aggregate, happened

    def forget_snapshots(self, session: Session) -> None:
        """They are made anew as histories grow."""
        session.execute(sqlalchemy.delete(self._snapshots.table))

    def save(self, session: Session, aggregate: Aggregate[Any], *, by: str, namespace: str | None) -> None:
        """Append what the aggregate decided. `by` is the principal's id."""
        first = aggregate.version - len(aggregate.pending) + 1
        events = [
            StoredEvent(aggregate.id, version, kind_of(fact), encode_fact(fact))
            for version, fact in enumerate(aggregate.pending, first)
        ]
        if not events:
            return
        self._events.insert_events(
            events, session=session, at_ms=self.time_ms(session), principal_id=by, namespace=namespace
        )
        if aggregate.version // self._snapshot_every > (first - 1) // self._snapshot_every:
            state = msgspec.json.encode(aggregate.state)
            topic = _snapshot_topic(type(aggregate))
            self._snapshots.replace(session, StoredEvent(aggregate.id, aggregate.version, topic, state))
        aggregate.pending.clear()

    def forget_oldest(self, session: Session, aggregate_id: str, kept: int) -> None:
        """Remove all but the newest `kept` denials, a tenth of that at a time; the log says up to where, and the hash
        that the oldest one left follows."""
        table = self._events.table
        mine = table.c.originator_id == aggregate_id
        oldest, newest = session.execute(
            sqlalchemy.select(
                sqlalchemy.func.min(table.c.originator_version), sqlalchemy.func.max(table.c.originator_version)
            ).where(mine)
        ).one()
        if newest is None or newest - oldest < kept + kept // 10:
            return
        through = newest - kept
        last = sqlalchemy.select(table.c.hash).where(mine, table.c.originator_version == through)
        history = self.load(session, ForgottenHistory, FORGOTTEN)
        history.forget(through, bytes(session.execute(last).scalar_one()))
        session.execute(sqlalchemy.delete(table).where(mine, table.c.originator_version <= through))
        self.save(session, history, by=_system, namespace=None)

    def head(self) -> Head:
        """The newest event's hash: keep it elsewhere, and `verify` tells whether it is still in the chain."""
        with self.database.read() as session:
            return newest(session, self._events.table)

    def verify(self, expect: str | None = None) -> Verdict:
        """Check both hash chains from the first event on; `expect`: a hash that was the head once.

        Raises `Invalid` where that is none.
        """
        wanted = None if expect is None else parse_hash(expect)
        with self.database.read() as session:
            return verify(session, self._events.table, wanted)

    def entries(
        self,
        *,
        namespace: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        newest_first: bool = True,
    ) -> Page[Entry]:
        """The audit log. `namespace` None: all of them, and the platform's own. Raises `Invalid` on a bad cursor."""
        table = self._events.table
        query = sqlalchemy.select(table).limit(clamp_limit(limit) + 1)
        query = query.order_by(table.c.id.desc() if newest_first else table.c.id)
        if namespace is not None:
            query = query.where(table.c.namespace == namespace)
        if cursor is not None:
            (last,) = decode_cursor(cursor, tuple[int])
            query = query.where(table.c.id < last if newest_first else table.c.id > last)
        with self.database.read() as session:
            rows = session.execute(query).all()
        entries = [_entry(row) for row in rows[:limit]]
        return Page(entries, encode_cursor(entries[-1].id) if len(rows) > limit else None)

    def on_desired_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each commit that noted a change of desired state, on the thread of that command; it
        must not block. Returns what takes it off again."""
        return self._listeners.add(callback)


def _snapshot_topic(kind: type[Aggregate[Any]]) -> str:
    return "snapshot" if kind.state_version == 1 else f"snapshot/{kind.state_version}"


def _entry(row: Any) -> Entry:
    data = msgspec.json.decode(row.state, type=dict[str, Any])
    for name in ("type", "class_version"):
        data.pop(name, None)
    return Entry(
        id=row.id,
        at_ms=row.at_ms,
        kind=row.topic,
        principal_id=row.principal_id,
        namespace=row.namespace,
        subject=row.originator_id,
        version=row.originator_version,
        data=data,
    )
