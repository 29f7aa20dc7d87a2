"""Events in SQL: the recorder of the library `eventsourcing`, with columns for who, when and where."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy
from eventsourcing.persistence import StoredEvent
from eventsourcing_sqlalchemy.datastore import SQLAlchemyDatastore
from eventsourcing_sqlalchemy.models import EventRecord  # type: ignore[attr-defined]  # the library's file is untyped
from eventsourcing_sqlalchemy.recorders import SQLAlchemyAggregateRecorder, SQLAlchemyApplicationRecorder
from sqlalchemy import Column, Index, LargeBinary, Table, Text
from sqlalchemy.orm import Session

from isotherm.db.engine import Database
from isotherm.db.tables import BigInt

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

    @property
    def table(self) -> Table:
        found: Table = self.events_record_cls.__table__
        return found

    def _insert_stored_events(self, session: Session, stored_events: Sequence[StoredEvent], **kwargs: Any) -> list[int]:
        """As the library's, without its unit of work (0.2 ms an event) and with who, when and where."""
        self._lock_table(session)
        rows = [
            {
                "originator_id": event.originator_id,
                "originator_version": event.originator_version,
                "topic": event.topic,
                "state": event.state,
                **kwargs,
            }
            for event in stored_events
        ]
        session.execute(sqlalchemy.insert(self.table), rows)
        self._notify_channel(session)
        return []


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
