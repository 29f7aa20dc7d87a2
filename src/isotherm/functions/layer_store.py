"""Layers in SQL. A version that was deleted stays: functions that have it keep it, and its number is not used again."""

from collections.abc import Sequence

import msgspec
import sqlalchemy
from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, Table, Text
from sqlalchemy.orm import Session

from isotherm.base.errors import Invalid
from isotherm.db.tables import control_tables
from isotherm.functions.layer_model import LayerVersion

__all__ = [
    "delete_version",
    "digests",
    "find_version",
    "insert_version",
    "last_version",
    "layers",
    "list_layers",
    "list_versions",
    "replace_version",
]

layers = Table(
    "layers",
    control_tables,
    Column("namespace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("package", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON: LayerVersion
    Index("layers_package_idx", "package"),
)

_version: msgspec.json.Decoder[LayerVersion] = msgspec.json.Decoder(LayerVersion)


def insert_version(session: Session, layer: LayerVersion) -> None:
    session.execute(
        sqlalchemy.insert(layers).values(
            namespace=layer.namespace,
            name=layer.name,
            version=layer.version,
            package=layer.package,
            deleted=False,
            body=msgspec.json.encode(layer),
        )
    )


def replace_version(session: Session, layer: LayerVersion) -> None:
    mine = _mine(layer.namespace, layer.name, layer.version)
    session.execute(sqlalchemy.update(layers).where(*mine).values(body=msgspec.json.encode(layer)))


def last_version(session: Session, namespace: str, name: str) -> int:
    """The highest number ever, deleted versions included; 0: none."""
    query = sqlalchemy.select(sqlalchemy.func.max(layers.c.version))
    return session.execute(query.where(layers.c.namespace == namespace, layers.c.name == name)).scalar_one() or 0


def find_version(session: Session, namespace: str, name: str, version: int) -> LayerVersion | None:
    """None also where it was deleted."""
    query = sqlalchemy.select(layers.c.body).where(*_mine(namespace, name, version), ~layers.c.deleted)
    body = session.execute(query).scalar_one_or_none()
    return None if body is None else _version.decode(body)


def delete_version(session: Session, namespace: str, name: str, version: int) -> None:
    session.execute(sqlalchemy.update(layers).where(*_mine(namespace, name, version)).values(deleted=True))


def list_versions(
    session: Session, namespace: str, name: str, *, below: int | None = None, limit: int
) -> list[LayerVersion]:
    """The newest first."""
    query = sqlalchemy.select(layers.c.body).where(
        layers.c.namespace == namespace, layers.c.name == name, ~layers.c.deleted
    )
    if below is not None:
        query = query.where(layers.c.version < below)
    found = session.execute(query.order_by(layers.c.version.desc()).limit(limit))
    return [_version.decode(row.body) for row in found]


def list_layers(session: Session, namespace: str, *, after: str, limit: int) -> list[LayerVersion]:
    """The newest version of each, by name, those after `after`."""
    newest = (
        sqlalchemy.select(layers.c.name, sqlalchemy.func.max(layers.c.version).label("version"))
        .where(layers.c.namespace == namespace, ~layers.c.deleted, layers.c.name > after)
        .group_by(layers.c.name)
        .order_by(layers.c.name)
        .limit(limit)
        .subquery()
    )
    same = sqlalchemy.and_(layers.c.name == newest.c.name, layers.c.version == newest.c.version)
    query = sqlalchemy.select(layers.c.body).join_from(layers, newest, same).where(layers.c.namespace == namespace)
    return [_version.decode(row.body) for row in session.execute(query.order_by(layers.c.name))]


def digests(session: Session, namespace: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """The zips of layers by NAME:VERSION, in this order. Raises `Invalid`: one is not there.

    A version that was deleted still counts: who has it may change other things.
    """
    found = []
    for each in names:
        name, _, version = each.rpartition(":")
        query = sqlalchemy.select(layers.c.package).where(*_mine(namespace, name, int(version)))
        package = session.execute(query).scalar_one_or_none()
        if package is None:
            raise Invalid(f"layers: the namespace {namespace!r} has no layer {each}", key="layers", layer=each)
        found.append((each, package))
    return found


def _mine(namespace: str, name: str, version: int) -> tuple[sqlalchemy.ColumnElement[bool], ...]:
    return layers.c.namespace == namespace, layers.c.name == name, layers.c.version == version
