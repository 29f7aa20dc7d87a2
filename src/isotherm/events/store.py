"""Events in SQL: the recorder of the library `eventsourcing`, with columns for who, when and where."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy
from eventsourcing.persistence import StoredEvent
from eventsourcing_sqlalchemy.datastore import SQLAlchemyDatastore
from eventsourcing_sqlalchemy.models import EventRecord  # type: ignore[attr-defined]  # the library's file is untyped
from eventsourcing_sqlalchemy.recorders import SQLAlchemyAggregateRecorder, SQLAlchemyApplicationRecorder
from sqlalchemy import Column, Index, LargeBinary, Table, Text
from sqlalchemy.orm import Session

from isotherm.db.engine import Database
from isotherm.db.tables import BigInt
from isotherm.events.chain import GENESIS, Sealed, chain_of, link

__all__ = ["EventRecorder", "SnapshotRecorder", "event_datastore"]


class _Event(EventRecord):  # type: ignore[misc]  # the library's models are untyped
    __abstract__ = True

    id = Column(BigInt, primary_key=True, autoincrement=True)
    originator_id = Column(Text, nullable=False)
    originator_version = Column(BigInt, nullable=False)
    topic = Column(Text, nullable=False)
    state = Column(LargeBinary, nullable=False)
    at_ms = Column(BigInt, nullable=False)
    principal_id = Column(Text, nullable=False)
    namespace = Column(Text, nullable=True, index=True)
    chain = Column(Text, nullable=False)
    hash = Column(LargeBinary, nullable=False)

    __table_args__ = (Index("by_aggregate", "originator_id", "originator_version", unique=True),)


class _Snapshot(EventRecord):  # type: ignore[misc]  # the library's models are untyped
    __abstract__ = True

    originator_id = Column(Text, primary_key=True)
    originator_version = Column(BigInt, primary_key=True)
    topic = Column(Text, nullable=False)
    state = Column(LargeBinary, nullable=False)


class _Datastore(SQLAlchemyDatastore):
    base_stored_event_record_cls = _Event
    base_snapshot_record_cls = _Snapshot


def event_datastore(database: Database) -> SQLAlchemyDatastore:
    """The library's datastore over our engine. `transaction()` of its recorders is the unit of work of a command."""
    return _Datastore(session_maker=database.write_sessions)


class EventRecorder(SQLAlchemyApplicationRecorder):
    """Appends events; a version that is taken is an `IntegrityError` of the library."""

    def __init__(self, datastore: SQLAlchemyDatastore) -> None:
        super().__init__(datastore, events_table_name="events")
        # Not among the model's arguments: the library would give each of its indexes the same name.
        if "events_chain_idx" not in {index.name for index in self.table.indexes}:
            Index("events_chain_idx", self.table.c.chain, self.table.c.id)
        mine = self.table.c.chain == sqlalchemy.bindparam("of_chain")
        self._newest_hash = sqlalchemy.select(self.table.c.hash).where(mine).order_by(self.table.c.id.desc()).limit(1)

    @property
    def table(self) -> Table:
        found: Table = self.events_record_cls.__table__
        return found

    def _insert_stored_events(self, session: Session, stored_events: Sequence[StoredEvent], **kwargs: Any) -> list[int]:
        """As the library's, without its unit of work (0.2 ms an event), with who, when and where, and chained.

        Whoever appends holds the table's lock until its commit, so the newest event is the predecessor of this one.
        """
        self._lock_table(session)
        heads: dict[str, bytes] = {}
        rows = []
        for event in stored_events:
            sealed = Sealed(str(event.originator_id), event.originator_version, event.topic, event.state, **kwargs)
            chain = chain_of(sealed.originator_id)
            previous = heads.get(chain) or self.newest_hash(session, chain)
            heads[chain] = link(previous, sealed)
            rows.append({**msgspec.structs.asdict(sealed), "chain": chain, "hash": heads[chain]})
        session.execute(sqlalchemy.insert(self.table), rows)
        self._notify_channel(session)
        return []

    def newest_hash(self, session: Session, chain: str) -> bytes:
        """That of the newest event of a chain."""
        found = session.execute(self._newest_hash, {"of_chain": chain}).scalar_one_or_none()
        return GENESIS if found is None else bytes(found)


class SnapshotRecorder(SQLAlchemyAggregateRecorder):
    """Keeps the newest snapshot of an aggregate, so that loading it reads a bounded number of events."""

    def __init__(self, datastore: SQLAlchemyDatastore) -> None:
        super().__init__(datastore, events_table_name="snapshots", for_snapshots=True)

    @property
    def table(self) -> Table:
        found: Table = self.events_record_cls.__table__
        return found

    def replace(self, session: Session, snapshot: StoredEvent) -> None:
        """In the transaction of `session`: this snapshot, and no older one."""
        session.execute(sqlalchemy.delete(self.table).where(self.table.c.originator_id == snapshot.originator_id))
        self._insert_stored_events(session, [snapshot])
