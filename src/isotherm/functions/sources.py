"""The verbs of event source mappings. Every one checks its permission; all are thread-safe."""

import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import Column, Index, LargeBinary, Table, Text
from sqlalchemy.orm import Session

from isotherm.base.clock import Clock
from isotherm.base.errors import NotFound
from isotherm.db.tables import BigInt, control_tables
from isotherm.events.service import EventLog
from isotherm.functions.source_model import EventSource
from isotherm.tenancy.model import Permission, Principal
from isotherm.tenancy.service import Tenancy

__all__ = ["EventSources", "event_sources"]

event_sources = Table(
    "event_sources",
    control_tables,
    Column("id", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("function", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at_ms", BigInt, nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON: EventSource
    Index("event_sources_namespace_idx", "namespace", "function"),
)

_source: msgspec.json.Decoder[EventSource] = msgspec.json.Decoder(EventSource)


class EventSources:
    """Kept as they were asked for."""

    def __init__(self, *, log: EventLog, tenancy: Tenancy, clock: Clock) -> None:
        self._log = log
        self._tenancy = tenancy
        self._clock = clock

    def create(
        self,
        principal: Principal,
        namespace: str,
        function: str,
        qualifier: str | None,
        *,
        source: str,
        enabled: bool,
        values: dict[str, Any],
        check: Callable[[list[EventSource]], None],
    ) -> EventSource:
        """`check` sees those of the same function and source, and may raise. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.deploy", namespace, function)
        now_ms = self._clock.time_ms()
        made = EventSource(
            id=str(uuid.uuid4()),
            namespace=namespace,
            function=function,
            qualifier=qualifier,
            source=source,
            enabled=enabled,
            values=values,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        with self._log.transaction() as session:
            check(_listed(session, namespace, function, source, after="", limit=1000))
            session.execute(
                sqlalchemy.insert(event_sources).values(
                    id=made.id,
                    namespace=namespace,
                    function=function,
                    source=source,
                    created_at_ms=now_ms,
                    body=msgspec.json.encode(made),
                )
            )
        return made

    def get(self, principal: Principal, mapping_id: str) -> EventSource:
        """Raises `NotFound`, `Forbidden`."""
        with self._log.database.read() as session:
            return self._found(session, principal, mapping_id, "functions.read")

    def page(
        self,
        principal: Principal,
        namespace: str,
        *,
        function: str | None,
        source: str | None,
        after: str,
        limit: int,
    ) -> list[EventSource]:
        """By id. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace, function)
        with self._log.database.read() as session:
            return _listed(session, namespace, function, source, after=after, limit=limit)

    def change(
        self, principal: Principal, mapping_id: str, change: Callable[[EventSource], EventSource | None]
    ) -> EventSource:
        """Put what `change` makes of it in its place; None: delete it, and it is what is returned.

        Raises `NotFound`, `Forbidden`, and as `change`.
        """
        with self._log.transaction() as session:
            found = self._found(session, principal, mapping_id, "functions.deploy")
            after = change(found)
            if after is not None and after.function != found.function:
                self._tenancy.require(principal, "functions.deploy", found.namespace, after.function)
            mine = event_sources.c.id == mapping_id
            if after is None:
                session.execute(sqlalchemy.delete(event_sources).where(mine))
                return found
            after = msgspec.structs.replace(after, updated_at_ms=self._clock.time_ms())
            values = {"function": after.function, "body": msgspec.json.encode(after)}
            session.execute(sqlalchemy.update(event_sources).where(mine).values(values))
        return after

    def _found(self, session: Session, principal: Principal, mapping_id: str, permission: Permission) -> EventSource:
        query = sqlalchemy.select(event_sources.c.body).where(event_sources.c.id == mapping_id)
        body = session.execute(query).scalar_one_or_none()
        found = None if body is None else _source.decode(body)
        if found is None or not self._tenancy.allows(principal, "functions.read", found.namespace, found.function):
            raise NotFound("The resource you requested does not exist.")
        self._tenancy.require(principal, permission, found.namespace, found.function)
        return found


def _listed(
    session: Session, namespace: str, function: str | None, source: str | None, *, after: str, limit: int
) -> list[EventSource]:
    query = sqlalchemy.select(event_sources.c.body)
    query = query.where(event_sources.c.namespace == namespace, event_sources.c.id > after)
    if function is not None:
        query = query.where(event_sources.c.function == function)
    if source is not None:
        query = query.where(event_sources.c.source == source)
    return [_source.decode(row.body) for row in session.execute(query.order_by(event_sources.c.id).limit(limit))]
