"""Namespaces, keys and secrets in SQL: projections of their histories."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import Column, ForeignKey, Index, LargeBinary, Table, Text
from sqlalchemy.orm import Session

from isotherm.db.tables import BigInt, control_tables
from isotherm.tenancy.model import Key, Namespace
from isotherm.wire.quota import Quota

__all__ = [
    "KeyRow",
    "QuotaRow",
    "SecretRow",
    "count_secrets",
    "delete_key",
    "delete_namespace",
    "delete_secret",
    "expire_key",
    "find_key",
    "find_key_by_digest",
    "find_namespace",
    "find_quotas",
    "find_secret",
    "insert_key",
    "insert_namespace",
    "json_of",
    "key_scopes",
    "key_uses",
    "keys",
    "list_keys",
    "list_namespaces",
    "list_secrets",
    "namespaces",
    "note_key_uses",
    "put_quota",
    "put_secret",
    "quotas",
    "secrets",
]

namespaces = Table(
    "namespaces",
    control_tables,
    Column("name", Text, primary_key=True),
    Column("created_at_ms", BigInt, nullable=False),
)

keys = Table(
    "keys",
    control_tables,
    Column("id", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("principal_id", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("access_key_id", Text, nullable=False, unique=True),
    Column("secrets", LargeBinary, nullable=False),  # sealed
    Column("created_at_ms", BigInt, nullable=False),
    Column("expires_at_ms", BigInt),
    Index("keys_namespace_idx", "namespace", "id"),
)

key_scopes = Table(
    "key_scopes",
    control_tables,
    Column("key_id", Text, primary_key=True),  # of keys that have scopes or a description
    Column("scopes", Text),  # JSON
    Column("description", Text, nullable=False),
)

key_uses = Table(
    "key_uses",
    control_tables,
    Column("key_id", Text, primary_key=True),
    Column("at_ms", BigInt, nullable=False),
)

quotas = Table(
    "quotas",
    control_tables,
    Column("namespace", Text, ForeignKey("namespaces.name", ondelete="CASCADE"), primary_key=True),
    Column("version", BigInt, nullable=False),  # that of the namespace's history
    Column("body", LargeBinary, nullable=False),  # JSON: Quota
)

_quota: msgspec.json.Decoder[Quota] = msgspec.json.Decoder(Quota)
_texts: msgspec.json.Decoder[list[str]] = msgspec.json.Decoder(list[str])
_keys = (
    sqlalchemy.select(keys, key_scopes.c.scopes, key_scopes.c.description, key_uses.c.at_ms)
    .outerjoin(key_scopes, key_scopes.c.key_id == keys.c.id)
    .outerjoin(key_uses, key_uses.c.key_id == keys.c.id)
)


class QuotaRow(msgspec.Struct, frozen=True, kw_only=True):
    quota: Quota
    version: int


secrets = Table(
    "secrets",
    control_tables,
    Column("namespace", Text, ForeignKey("namespaces.name"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", BigInt, nullable=False),
    Column("value", LargeBinary, nullable=False),  # sealed
    Column("created_at_ms", BigInt, nullable=False),
    Column("updated_at_ms", BigInt, nullable=False),
)


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key with what must not be shown: its digest, and its sealed secrets."""

    key: Key
    digest: str
    secrets: bytes


class SecretRow(msgspec.Struct, frozen=True, kw_only=True):
    """A secret with its sealed value."""

    namespace: str
    name: str
    version: int
    value: bytes
    created_at_ms: int
    updated_at_ms: int

    @property
    def etag(self) -> str:
        """Opaque, without quotes; no version comes twice."""
        return f"{self.name}-{self.version}"


def json_of(texts: list[str]) -> str:
    return msgspec.json.encode(texts).decode()


def insert_namespace(session: Session, name: str, created_at_ms: int) -> None:
    session.execute(sqlalchemy.insert(namespaces).values(name=name, created_at_ms=created_at_ms))


def delete_namespace(session: Session, name: str) -> None:
    """Raises SQLAlchemy's `IntegrityError` where workloads or secrets are in it."""
    session.execute(sqlalchemy.delete(namespaces).where(namespaces.c.name == name))


def find_namespace(session: Session, name: str) -> Namespace | None:
    row = session.execute(sqlalchemy.select(namespaces).where(namespaces.c.name == name)).one_or_none()
    return None if row is None else Namespace(name=row.name, created_at_ms=row.created_at_ms)


def list_namespaces(session: Session, *, only: Sequence[str] | None, after: str | None, limit: int) -> list[Namespace]:
    """By name, those after `after`; `only` None: all."""
    query = sqlalchemy.select(namespaces).order_by(namespaces.c.name).limit(limit)
    if only is not None:
        query = query.where(namespaces.c.name.in_(only))
    if after is not None:
        query = query.where(namespaces.c.name > after)
    return [Namespace(name=row.name, created_at_ms=row.created_at_ms) for row in session.execute(query)]


def put_quota(session: Session, namespace: str, row: QuotaRow) -> None:
    """In place of the one that is there."""
    session.execute(sqlalchemy.delete(quotas).where(quotas.c.namespace == namespace))
    values = {"namespace": namespace, "version": row.version, "body": msgspec.json.encode(row.quota)}
    session.execute(sqlalchemy.insert(quotas).values(values))


def find_quotas(session: Session, namespaces: Sequence[str] | None = None) -> dict[str, QuotaRow]:
    """Those of these namespaces, or all, by namespace."""
    query = sqlalchemy.select(quotas)
    if namespaces is not None:
        query = query.where(quotas.c.namespace.in_(namespaces))
    return {
        row.namespace: QuotaRow(quota=_quota.decode(row.body), version=row.version) for row in session.execute(query)
    }


def insert_key(session: Session, row: KeyRow) -> None:
    values = msgspec.structs.asdict(row.key) | {"digest": row.digest, "secrets": row.secrets}
    more = {name: values.pop(name) for name in ("scopes", "description", "last_used_at_ms")}
    session.execute(sqlalchemy.insert(keys).values(values))
    if more["scopes"] is not None or more["description"]:
        scopes = None if more["scopes"] is None else json_of(more["scopes"])
        narrowed = {"key_id": row.key.id, "scopes": scopes, "description": more["description"]}
        session.execute(sqlalchemy.insert(key_scopes).values(narrowed))


def expire_key(session: Session, key_id: str, expires_at_ms: int) -> None:
    session.execute(sqlalchemy.update(keys).where(keys.c.id == key_id).values(expires_at_ms=expires_at_ms))


def delete_key(session: Session, key_id: str) -> None:
    session.execute(sqlalchemy.delete(keys).where(keys.c.id == key_id))
    session.execute(sqlalchemy.delete(key_scopes).where(key_scopes.c.key_id == key_id))
    session.execute(sqlalchemy.delete(key_uses).where(key_uses.c.key_id == key_id))


def note_key_uses(session: Session, uses: Mapping[str, int]) -> None:
    """When keys were last used, by id; of those that are there still. Times never run back."""
    present = sqlalchemy.select(keys.c.id, key_uses.c.at_ms).outerjoin(key_uses, key_uses.c.key_id == keys.c.id)
    former = {row.id: row.at_ms for row in session.execute(present.where(keys.c.id.in_(list(uses))))}
    newer = {key_id: at_ms for key_id, at_ms in uses.items() if key_id in former and at_ms > (former[key_id] or 0)}
    if newer:
        session.execute(sqlalchemy.delete(key_uses).where(key_uses.c.key_id.in_(list(newer))))
        session.execute(
            sqlalchemy.insert(key_uses), [{"key_id": key_id, "at_ms": at_ms} for key_id, at_ms in newer.items()]
        )


def find_key(session: Session, key_id: str) -> KeyRow | None:
    row = session.execute(_keys.where(keys.c.id == key_id)).one_or_none()
    return None if row is None else _key_row(row)


def find_key_by_digest(session: Session, digest: str) -> KeyRow | None:
    row = session.execute(_keys.where(keys.c.digest == digest)).one_or_none()
    return None if row is None else _key_row(row)


def list_keys(
    session: Session, *, namespace: str | None = None, ids: Sequence[str] | None = None, after: str = "", limit: int
) -> list[KeyRow]:
    """By id, those after `after`; of one namespace, or these `ids`, or all."""
    query = _keys.where(keys.c.id > after).order_by(keys.c.id).limit(limit)
    if namespace is not None:
        query = query.where(keys.c.namespace == namespace)
    if ids is not None:
        query = query.where(keys.c.id.in_(ids))
    return [_key_row(row) for row in session.execute(query)]


def put_secret(session: Session, row: SecretRow) -> None:
    """In place of what it was."""
    delete_secret(session, row.namespace, row.name)
    session.execute(sqlalchemy.insert(secrets).values(msgspec.structs.asdict(row)))


def delete_secret(session: Session, namespace: str, name: str) -> None:
    session.execute(sqlalchemy.delete(secrets).where(secrets.c.namespace == namespace, secrets.c.name == name))


def find_secret(session: Session, namespace: str, name: str) -> SecretRow | None:
    return next(iter(list_secrets(session, namespace, names=[name], limit=1)), None)


def list_secrets(
    session: Session, namespace: str, *, names: Collection[str] | None = None, after: str = "", limit: int
) -> list[SecretRow]:
    """By name, those after `after`; these, or all of the namespace."""
    query = sqlalchemy.select(secrets).where(secrets.c.namespace == namespace, secrets.c.name > after)
    if names is not None:
        query = query.where(secrets.c.name.in_(names))
    rows = session.execute(query.order_by(secrets.c.name).limit(limit)).mappings()
    return [SecretRow(**row) for row in rows]


def count_secrets(session: Session, namespace: str) -> int:
    query = sqlalchemy.select(sqlalchemy.func.count()).select_from(secrets).where(secrets.c.namespace == namespace)
    return session.execute(query).scalar_one()


def _key_row(row: Any) -> KeyRow:
    key = Key(
        id=row.id,
        namespace=row.namespace,
        name=row.name,
        role=row.role,
        principal_id=row.principal_id,
        access_key_id=row.access_key_id,
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
        scopes=None if row.scopes is None else _texts.decode(row.scopes),
        description=row.description or "",
        last_used_at_ms=row.at_ms,
    )
    return KeyRow(key=key, digest=row.digest, secrets=row.secrets)
