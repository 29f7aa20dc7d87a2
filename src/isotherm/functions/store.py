"""Packages in SQL: which namespace has uploaded which zip."""

from collections.abc import Collection
from typing import Any

import sqlalchemy
from sqlalchemy import Column, ForeignKey, Integer, Table, Text
from sqlalchemy.orm import Session

from isotherm.db.tables import BigInt, control_tables
from isotherm.functions.layer_store import layers
from isotherm.functions.model import Package
from isotherm.workloads.store import revisions

__all__ = [
    "delete_packages",
    "find_package",
    "insert_package",
    "known_digests",
    "package_bytes",
    "package_size",
    "packages",
    "unused_packages",
]

packages = Table(
    "packages",
    control_tables,
    Column("namespace", Text, ForeignKey("namespaces.name", ondelete="CASCADE"), primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("size_bytes", BigInt, nullable=False),
    Column("files", Integer, nullable=False),
    Column("requirements", Text),
    Column("uploaded_at_ms", BigInt, nullable=False),
)


def insert_package(session: Session, namespace: str, package: Package, uploaded_at_ms: int) -> None:
    """In place of an earlier upload of the same."""
    mine = (packages.c.namespace == namespace, packages.c.digest == package.digest)
    session.execute(sqlalchemy.delete(packages).where(*mine))
    session.execute(
        sqlalchemy.insert(packages).values(
            namespace=namespace,
            digest=package.digest,
            size_bytes=package.size_bytes,
            files=package.files,
            requirements=package.requirements,
            uploaded_at_ms=uploaded_at_ms,
        )
    )


def find_package(session: Session, namespace: str, digest: str) -> Package | None:
    query = sqlalchemy.select(packages).where(packages.c.namespace == namespace, packages.c.digest == digest)
    row: Any = session.execute(query).one_or_none()
    if row is None:
        return None
    return Package(digest=row.digest, size_bytes=row.size_bytes, files=row.files, requirements=row.requirements)


def package_bytes(session: Session, namespace: str, *, but: str | None) -> int:
    """Of all packages of a namespace, without the one with the digest `but`."""
    query = sqlalchemy.select(sqlalchemy.func.coalesce(sqlalchemy.func.sum(packages.c.size_bytes), 0))
    query = query.where(packages.c.namespace == namespace)
    if but is not None:
        query = query.where(packages.c.digest != but)
    return int(session.execute(query).scalar_one())


def package_size(session: Session, namespace: str, digest: str) -> int:
    """0 where it is not there."""
    query = sqlalchemy.select(packages.c.size_bytes)
    query = query.where(packages.c.namespace == namespace, packages.c.digest == digest)
    return session.execute(query).scalar_one_or_none() or 0


def unused_packages(session: Session, uploaded_before_ms: int, limit: int) -> list[str]:
    """Digests of packages that were uploaded before and that no revision or layer of any namespace is made of."""
    used = sqlalchemy.or_(
        sqlalchemy.exists().where(revisions.c.package == packages.c.digest),
        sqlalchemy.exists().where(layers.c.package == packages.c.digest),
    )
    query = sqlalchemy.select(packages.c.digest).distinct().where(packages.c.uploaded_at_ms < uploaded_before_ms, ~used)
    return list(session.execute(query.limit(limit)).scalars())


def delete_packages(session: Session, digests: Collection[str], uploaded_before_ms: int) -> None:
    session.execute(
        sqlalchemy.delete(packages).where(
            packages.c.digest.in_(digests), packages.c.uploaded_at_ms < uploaded_before_ms
        )
    )


def known_digests(session: Session, digests: Collection[str]) -> set[str]:
    """Those of `digests` that some namespace still has."""
    query = sqlalchemy.select(packages.c.digest).distinct().where(packages.c.digest.in_(digests))
    return set(session.execute(query).scalars())
