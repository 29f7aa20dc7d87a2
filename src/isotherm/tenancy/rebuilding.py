"""Namespaces and keys as their histories say. A key's name, digest and sealed secrets are in no event."""

from collections.abc import Iterator

import sqlalchemy
from sqlalchemy.orm import Session

from isotherm.events.rebuilding import Lost, ProjectedRoom, Row
from isotherm.events.service import EventLog
from isotherm.tenancy.history import KeyCreated, KeyHistory, NamespaceCreated, NamespaceHistory
from isotherm.tenancy.store import keys, namespaces

__all__ = ["projected"]


def _rows(session: Session, log: EventLog) -> Iterator[Row | Lost]:
    for space, happened in log.histories(session, NamespaceHistory, "ns_"):
        if space.state.exists:
            made_at_ms = max(at_ms for fact, at_ms in happened if isinstance(fact, NamespaceCreated))
            yield namespaces, {"name": space.id.removeprefix("ns_"), "created_at_ms": made_at_ms}
    for key, happened in log.histories(session, KeyHistory, "key_"):
        if key.state.valid:
            yield next(_key(session, key.id, fact, at) for fact, at in happened if isinstance(fact, KeyCreated))


def _key(session: Session, key_id: str, made: KeyCreated, at_ms: int) -> Row | Lost:
    carried = session.execute(
        sqlalchemy.select(keys.c.name, keys.c.digest, keys.c.access_key_id, keys.c.secrets).where(keys.c.id == key_id)
    ).one_or_none()
    if carried is None:
        return Lost(keys, (key_id,))
    return keys, {
        "id": key_id,
        "namespace": made.namespace,
        "role": made.role,
        "principal_id": made.principal_id,
        "created_at_ms": at_ms,
        "expires_at_ms": made.expires_at_ms,
        **carried._mapping,
    }


projected = ProjectedRoom((namespaces, keys), _rows)
