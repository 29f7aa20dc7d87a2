"""Namespaces, quotas, keys, secrets and users as their histories say.

A key's name, digest, description and sealed secrets, a secret's sealed value, and a user's name, password and
invitation are in no event.
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
    KeyNarrowed,
    NamespaceCreated,
    NamespaceHistory,
    QuotaSet,
    SecretHistory,
    SecretSet,
)
from isotherm.tenancy.store import json_of, key_scopes, keys, namespaces, quotas, secrets
from isotherm.tenancy.user_history import LoggedIn, PasswordSet, UserHistory
from isotherm.tenancy.user_store import grants, users

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
            yield from _key(session, key, happened)
    for secret, happened in log.histories(session, SecretHistory, "sec_"):
        if secret.state.exists:
            yield _secret(session, _since_removed(happened))
    for user, happened in log.histories(session, UserHistory, "pr_"):
        if user.state.exists:
            yield from _user(session, user, happened)


def _quota(space: NamespaceHistory, happened: list[Happened]) -> Row:
    version = max(version for version, (fact, *_) in enumerate(happened, 1) if isinstance(fact, QuotaSet))
    body = msgspec.json.encode(space.state.quota)
    return quotas, {"namespace": space.id.removeprefix("ns_"), "version": version, "body": body}


def _key(session: Session, key: KeyHistory, happened: list[Happened]) -> Iterator[Row | Lost]:
    key_id = key.id
    made, at_ms = next((fact, at_ms) for fact, at_ms, _ in happened if isinstance(fact, KeyCreated))
    carried = session.execute(
        sqlalchemy.select(keys.c.name, keys.c.digest, keys.c.access_key_id, keys.c.secrets).where(keys.c.id == key_id)
    ).one_or_none()
    if carried is None:
        yield Lost(keys, (key_id,))
        return
    yield (
        keys,
        {
            "id": key_id,
            "namespace": made.namespace,
            "role": made.role,
            "principal_id": made.principal_id,
            "created_at_ms": at_ms,
            "expires_at_ms": key.state.expires_at_ms,
            **carried._mapping,
        },
    )
    scopes = next((json_of(fact.scopes) for fact, *_ in happened if isinstance(fact, KeyNarrowed)), None)
    said = sqlalchemy.select(key_scopes.c.description).where(key_scopes.c.key_id == key_id)
    description = session.execute(said).scalar_one_or_none()
    if scopes is not None or description:
        yield key_scopes, {"key_id": key_id, "scopes": scopes, "description": description or ""}


def _user(session: Session, user: UserHistory, happened: list[Happened]) -> Iterator[Row | Lost]:
    columns = (users.c.name, users.c.password, users.c.invitation, users.c.invitation_until_ms)
    carried = session.execute(sqlalchemy.select(*columns).where(users.c.id == user.id)).one_or_none()
    if carried is None:
        yield Lost(users, (user.id,))
        return
    set_at_ms = max((at_ms for fact, at_ms, _ in happened if isinstance(fact, PasswordSet)), default=None)
    logged_in = [at_ms for fact, at_ms, _ in happened if isinstance(fact, LoggedIn)]
    yield (
        users,
        {
            "id": user.id,
            "state": user.user_state,
            "version": user.state.version,
            "created_at_ms": happened[0].at_ms,
            "password_at_ms": set_at_ms if user.state.has_password else None,
            "last_login_at_ms": max(logged_in, default=None),
            **carried._mapping,
        },
    )
    for namespace, role in user.state.grants.items():
        yield grants, {"user_id": user.id, "namespace": namespace, "role": role}


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


projected = ProjectedRoom((namespaces, quotas, keys, key_scopes, secrets, users, grants), _rows)
