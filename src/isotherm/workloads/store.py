"""Workloads in SQL: projections of their histories, and the sealed values of environment variables."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, UniqueConstraint
from sqlalchemy.orm import Session

from isotherm.db.tables import BigInt, control_tables
from isotherm.wire.desired import RevisionSpec, RouteSpec
from isotherm.workloads.model import AliasRow, RevisionRow, RevisionState, Weight, WorkloadRow

__all__ = [
    "SealedRevision",
    "SecretUse",
    "ages",
    "aliased_numbers",
    "aliases",
    "callable_ids",
    "count_workloads",
    "delete_alias",
    "delete_revision",
    "delete_workload",
    "find_alias",
    "find_revision",
    "find_workload",
    "find_workload_by_id",
    "insert_revision",
    "insert_secret_uses",
    "insert_workload",
    "list_aliases",
    "list_building",
    "list_callable",
    "list_development",
    "list_revisions",
    "list_routes",
    "list_secret_uses",
    "list_taking",
    "list_workloads",
    "overgrown",
    "put_alias",
    "put_route",
    "revisions",
    "secret_uses",
    "set_callable",
    "update_revision",
    "update_workload",
    "workload_of_revision",
    "workloads",
]

workloads = Table(
    "workloads",
    control_tables,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("namespace", Text, ForeignKey("namespaces.name"), nullable=False),
    Column("name", Text, nullable=False),
    Column("version", BigInt, nullable=False),
    Column("created_at_ms", BigInt, nullable=False),
    Column("updated_at_ms", BigInt, nullable=False),
    Column("latest", Integer, nullable=False),  # number of the newest revision
    Column("live", LargeBinary, nullable=False),  # JSON: list[Weight]
    Column("public", Boolean, nullable=False),
    Column("route", LargeBinary),  # JSON: RouteSpec, as hosts are told; null before a revision is ready
    UniqueConstraint("namespace", "name"),
)

revisions = Table(
    "revisions",
    control_tables,
    Column("id", Text, primary_key=True),
    Column("workload_id", Text, ForeignKey("workloads.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("callable", Boolean, nullable=False),  # hosts are told of it
    Column("package", Text, nullable=False),
    Column("env", LargeBinary),  # sealed JSON; null where there are no variables
    Column("body", LargeBinary, nullable=False),  # JSON: RevisionRow
    UniqueConstraint("workload_id", "number"),
    Index("revisions_state_idx", "state"),
    Index("revisions_package_idx", "package"),
)

aliases = Table(
    "aliases",
    control_tables,
    Column("workload_id", Text, ForeignKey("workloads.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("weights", LargeBinary, nullable=False),  # JSON: list[Weight]
)

secret_uses = Table(
    "secret_uses",
    control_tables,
    Column("revision_id", Text, ForeignKey("revisions.id", ondelete="CASCADE"), primary_key=True),
    Column("secret", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Index("secret_uses_secret_idx", "namespace", "secret"),
)


class _Made(msgspec.Struct, frozen=True):
    """What of a `RevisionRow` says how old it is."""

    created_at_ms: int


_weights: msgspec.json.Decoder[list[Weight]] = msgspec.json.Decoder(list[Weight])
_revision: msgspec.json.Decoder[RevisionRow] = msgspec.json.Decoder(RevisionRow)
_made: msgspec.json.Decoder[_Made] = msgspec.json.Decoder(_Made)
_route: msgspec.json.Decoder[RouteSpec] = msgspec.json.Decoder(RouteSpec)


class SealedRevision(msgspec.Struct, frozen=True):
    """A revision with its environment, sealed; None where it has no variables."""

    row: RevisionRow
    env: bytes | None


class SecretUse(msgspec.Struct, frozen=True, kw_only=True):
    """A revision that refers to a secret. `name` is its workload's."""

    secret: str
    workload_id: str
    name: str
    number: int
    state: RevisionState


def insert_workload(session: Session, row: WorkloadRow) -> None:
    session.execute(
        sqlalchemy.insert(workloads).values(
            id=row.id,
            kind=row.kind,
            namespace=row.namespace,
            name=row.name,
            version=row.version,
            created_at_ms=row.created_at_ms,
            updated_at_ms=row.updated_at_ms,
            latest=0,
            live=msgspec.json.encode(row.live),
            public=row.public,
        )
    )


def update_workload(session: Session, workload_id: str, *, version: int, updated_at_ms: int, latest: int) -> None:
    session.execute(
        sqlalchemy.update(workloads)
        .where(workloads.c.id == workload_id)
        .values(version=version, updated_at_ms=updated_at_ms, latest=latest)
    )


def put_route(session: Session, workload_id: str, live: list[Weight], route: RouteSpec | None) -> bool:
    """Whether the route became another one."""
    encoded = None if route is None else msgspec.json.encode(route)
    before = session.execute(sqlalchemy.select(workloads.c.route).where(workloads.c.id == workload_id)).scalar_one()
    session.execute(
        sqlalchemy.update(workloads)
        .where(workloads.c.id == workload_id)
        .values(live=msgspec.json.encode(live), public=route is not None and route.public, route=encoded)
    )
    return bool(before != encoded)


def delete_workload(session: Session, workload_id: str) -> None:
    """With its revisions and aliases."""
    session.execute(sqlalchemy.delete(workloads).where(workloads.c.id == workload_id))


def find_workload(session: Session, kind: str, namespace: str, name: str) -> WorkloadRow | None:
    query = _with_latest().where(workloads.c.namespace == namespace, workloads.c.name == name, workloads.c.kind == kind)
    row = session.execute(query).one_or_none()
    return None if row is None else _workload_row(row)


def list_workloads(session: Session, kind: str, namespace: str, *, after: str | None, limit: int) -> list[WorkloadRow]:
    """By name, those after `after`."""
    query = _with_latest().where(workloads.c.namespace == namespace, workloads.c.kind == kind)
    if after is not None:
        query = query.where(workloads.c.name > after)
    return [_workload_row(row) for row in session.execute(query.order_by(workloads.c.name).limit(limit))]


def find_workload_by_id(session: Session, workload_id: str) -> WorkloadRow | None:
    row = session.execute(_with_latest().where(workloads.c.id == workload_id)).one_or_none()
    return None if row is None else _workload_row(row)


def list_development(session: Session) -> list[str]:
    """Ids of all whose newest revision is of development. Reads every workload: not for each call."""
    rows = session.execute(_with_latest()).all()
    found = [_workload_row(row) for row in rows]
    return [row.id for row in found if row.latest is not None and row.latest.spec.development]


def count_workloads(session: Session, kind: str) -> int:
    query = sqlalchemy.select(sqlalchemy.func.count()).select_from(workloads).where(workloads.c.kind == kind)
    return session.execute(query).scalar_one()


def insert_revision(session: Session, row: RevisionRow, env: bytes | None) -> None:
    session.execute(
        sqlalchemy.insert(revisions).values(
            id=row.spec.id,
            workload_id=row.spec.workload_id,
            number=row.spec.number,
            state=row.state,
            callable=False,
            package=row.spec.package,
            env=env,
            body=msgspec.json.encode(row),
        )
    )


def update_revision(session: Session, row: RevisionRow) -> None:
    session.execute(
        sqlalchemy.update(revisions)
        .where(revisions.c.id == row.spec.id)
        .values(state=row.state, body=msgspec.json.encode(row))
    )


def delete_revision(session: Session, revision_id: str) -> None:
    session.execute(sqlalchemy.delete(revisions).where(revisions.c.id == revision_id))


def set_callable(session: Session, revision_ids: Collection[str], *, told: bool) -> None:
    session.execute(sqlalchemy.update(revisions).where(revisions.c.id.in_(revision_ids)).values(callable=told))


def callable_ids(session: Session, workload_id: str) -> set[str]:
    query = sqlalchemy.select(revisions.c.id).where(revisions.c.workload_id == workload_id, revisions.c.callable)
    return set(session.execute(query).scalars())


def find_revision(session: Session, workload_id: str, number: int) -> SealedRevision | None:
    query = sqlalchemy.select(revisions.c.body, revisions.c.env)
    query = query.where(revisions.c.workload_id == workload_id, revisions.c.number == number)
    row = session.execute(query).one_or_none()
    return None if row is None else _sealed(row)


def workload_of_revision(session: Session, revision_id: str) -> str | None:
    return session.execute(
        sqlalchemy.select(revisions.c.workload_id).where(revisions.c.id == revision_id)
    ).scalar_one_or_none()


def list_revisions(session: Session, workload_id: str, *, below: int | None, limit: int) -> list[RevisionRow]:
    """The newest first, those below `below`."""
    query = sqlalchemy.select(revisions.c.body).where(revisions.c.workload_id == workload_id)
    if below is not None:
        query = query.where(revisions.c.number < below)
    found = session.execute(query.order_by(revisions.c.number.desc()).limit(limit))
    return [_revision.decode(row.body) for row in found]


def ages(session: Session, workload_id: str) -> dict[int, int]:
    """When each revision was made, milliseconds, by number."""
    query = sqlalchemy.select(revisions.c.number, revisions.c.body).where(revisions.c.workload_id == workload_id)
    return {row.number: _made.decode(row.body).created_at_ms for row in session.execute(query)}


def overgrown(session: Session, *, more_than: int, after: str, limit: int) -> list[str]:
    """Ids of workloads with more revisions than that, by id, those after `after`."""
    query = sqlalchemy.select(revisions.c.workload_id).where(revisions.c.workload_id > after)
    query = query.group_by(revisions.c.workload_id).having(sqlalchemy.func.count() > more_than)
    return list(session.execute(query.order_by(revisions.c.workload_id).limit(limit)).scalars())


def list_building(session: Session) -> list[SealedRevision]:
    """The oldest first."""
    query = sqlalchemy.select(revisions.c.body, revisions.c.env).where(revisions.c.state == "building")
    return sorted((_sealed(row) for row in session.execute(query)), key=lambda found: found.row.created_at_ms)


def list_callable(session: Session, ids: Sequence[str] | None = None) -> list[SealedRevision]:
    """What hosts are told of; of these, or all."""
    query = sqlalchemy.select(revisions.c.body, revisions.c.env).where(revisions.c.callable)
    if ids is not None:
        query = query.where(revisions.c.id.in_(ids))
    return [_sealed(row) for row in session.execute(query)]


def list_routes(session: Session, ids: Sequence[str] | None = None) -> list[RouteSpec]:
    """Of these workloads, or all."""
    query = sqlalchemy.select(workloads.c.route).where(workloads.c.route.is_not(None))
    if ids is not None:
        query = query.where(workloads.c.id.in_(ids))
    return [_route.decode(row.route) for row in session.execute(query)]


def put_alias(session: Session, workload_id: str, name: str, weights: list[Weight]) -> None:
    delete_alias(session, workload_id, name)
    session.execute(
        sqlalchemy.insert(aliases).values(workload_id=workload_id, name=name, weights=msgspec.json.encode(weights))
    )


def delete_alias(session: Session, workload_id: str, name: str) -> None:
    session.execute(sqlalchemy.delete(aliases).where(aliases.c.workload_id == workload_id, aliases.c.name == name))


def find_alias(session: Session, workload_id: str, name: str) -> AliasRow | None:
    query = sqlalchemy.select(aliases).where(aliases.c.workload_id == workload_id, aliases.c.name == name)
    row = session.execute(query).one_or_none()
    return None if row is None else AliasRow(name=row.name, weights=_weights.decode(row.weights))


def list_aliases(session: Session, workload_id: str, *, after: str, limit: int) -> list[AliasRow]:
    """By name, those after `after`."""
    query = sqlalchemy.select(aliases).where(aliases.c.workload_id == workload_id, aliases.c.name > after)
    return [
        AliasRow(name=row.name, weights=_weights.decode(row.weights))
        for row in session.execute(query.order_by(aliases.c.name).limit(limit))
    ]


def aliased_numbers(session: Session, workload_ids: Collection[str]) -> dict[str, set[int]]:
    """The revisions that aliases have, by workload."""
    query = sqlalchemy.select(aliases.c.workload_id, aliases.c.weights).where(aliases.c.workload_id.in_(workload_ids))
    found: dict[str, set[int]] = {}
    for row in session.execute(query):
        found.setdefault(row.workload_id, set()).update(weight.number for weight in _weights.decode(row.weights))
    return found


def insert_secret_uses(session: Session, spec: RevisionSpec) -> None:
    for secret in sorted(set(spec.secrets.values())):
        session.execute(
            sqlalchemy.insert(secret_uses).values(revision_id=spec.id, secret=secret, namespace=spec.namespace)
        )


def list_secret_uses(session: Session, namespace: str, secrets: Collection[str]) -> list[SecretUse]:
    """Every revision that refers to one of these."""
    columns = (secret_uses.c.secret, workloads.c.id, workloads.c.name, revisions.c.number, revisions.c.state)
    query = (
        sqlalchemy.select(*columns)
        .join_from(secret_uses, revisions, secret_uses.c.revision_id == revisions.c.id)
        .join(workloads, revisions.c.workload_id == workloads.c.id)
        .where(secret_uses.c.namespace == namespace, secret_uses.c.secret.in_(secrets))
    )
    return [
        SecretUse(secret=row.secret, workload_id=row.id, name=row.name, number=row.number, state=row.state)
        for row in session.execute(query)
    ]


def list_taking(session: Session, namespace: str, secret: str) -> list[SealedRevision]:
    """The revisions that refer to a secret and that hosts are told of, or are about to prepare."""
    query = (
        sqlalchemy.select(revisions.c.body, revisions.c.env)
        .join_from(secret_uses, revisions, secret_uses.c.revision_id == revisions.c.id)
        .where(secret_uses.c.namespace == namespace, secret_uses.c.secret == secret)
        .where(sqlalchemy.or_(revisions.c.callable, revisions.c.state == "building"))
        .order_by(revisions.c.id)
    )
    return [_sealed(row) for row in session.execute(query)]


def _with_latest() -> sqlalchemy.Select[Any]:
    latest = sqlalchemy.and_(revisions.c.workload_id == workloads.c.id, revisions.c.number == workloads.c.latest)
    return sqlalchemy.select(workloads, revisions.c.body).join_from(workloads, revisions, latest, isouter=True)


def _workload_row(row: Any) -> WorkloadRow:
    return WorkloadRow(
        id=row.id,
        kind=row.kind,
        namespace=row.namespace,
        name=row.name,
        version=row.version,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
        public=row.public,
        live=_weights.decode(row.live),
        latest=None if row.body is None else _revision.decode(row.body),
    )


def _sealed(row: Any) -> SealedRevision:
    return SealedRevision(_revision.decode(row.body), row.env)
