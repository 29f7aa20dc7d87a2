"""Namespaces, quotas, keys and secrets as their histories say.

A key's name, digest and sealed secrets, and a secret's sealed value, are in no event.
"""

from collections.abc import Iterator

import msgspec
import sqlalchemy
from sqlalchemy.orm import Session

from isotherm.events.aggregate import Happened
from isotherm.events.rebuilding import Lost, ProjectedRoom, Row
from isotherm.events.service import EventLog
from isotherm.tenancy.history import (
    KeyCreated,
    KeyHistory,
    NamespaceCreated,
    NamespaceHistory,
    QuotaSet,
    SecretHistory,
    SecretSet,
)
from isotherm.tenancy.store import keys, namespaces, quotas, secrets

__all__ = ["projected"]


def _rows(session: Session, log: EventLog) -> Iterator[Row | Lost]:
    for space, happened in log.histories(session, NamespaceHistory, "ns_"):
        if space.state.exists:
            made_at_ms = max(at_ms for fact, at_ms, _ in happened if isinstance(fact, NamespaceCreated))
            yield namespaces, {"name": space.id.removeprefix("ns_"), "created_at_ms": made_at_ms}
        if space.state.quota is not None:
            yield _quota(space, happened)
    for key, happened in log.histories(session, KeyHistory, "key_"):
        if key.state.valid:
            yield next(_key(session, key.id, fact, at) for fact, at, _ in happened if isinstance(fact, KeyCreated))
    for secret, happened in log.histories(session, SecretHistory, "sec_"):
        if secret.state.exists:
            yield _secret(session, _since_removed(happened))


def _quota(space: NamespaceHistory, happened: list[Happened]) -> Row:
    version = max(version for version, (fact, *_) in enumerate(happened, 1) if isinstance(fact, QuotaSet))
    body = msgspec.json.encode(space.state.quota)
    return quotas, {"namespace": space.id.removeprefix("ns_"), "version": version, "body": body}


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


def _secret(session: Session, made: list[tuple[SecretSet, int]]) -> Row | Lost:
    """`made` are those of its facts since it was last removed."""
    newest, updated_at_ms = made[-1]
    mine = (secrets.c.namespace == newest.namespace, secrets.c.name == newest.name)
    carried = session.execute(sqlalchemy.select(secrets.c.value).where(*mine)).one_or_none()
    if carried is None:
        return Lost(secrets, (newest.namespace, newest.name))
    return secrets, {
        "namespace": newest.namespace,
        "name": newest.name,
        "version": newest.version,
        "created_at_ms": made[0][1],
        "updated_at_ms": updated_at_ms,
        **carried._mapping,
    }


def _since_removed(happened: list[Happened]) -> list[tuple[SecretSet, int]]:
    found: list[tuple[SecretSet, int]] = []
    for fact, at_ms, _ in happened:
        if isinstance(fact, SecretSet):
            found.append((fact, at_ms))
        else:
            found.clear()
    return found


projected = ProjectedRoom((namespaces, quotas, keys, secrets), _rows)
