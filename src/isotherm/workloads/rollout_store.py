"""Rollouts in SQL: a projection of what workloads' histories say of them."""

from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import Column, ForeignKey, Index, LargeBinary, Table, Text, UniqueConstraint
from sqlalchemy.orm import Session

from isotherm.db.tables import BigInt, control_tables
from isotherm.workloads.rollout_model import RolloutRow

__all__ = [
    "find_open",
    "find_rollout",
    "insert_rollout",
    "list_open",
    "list_rollouts",
    "rollouts",
    "update_rollout",
    "values_of",
]

rollouts = Table(
    "rollouts",
    control_tables,
    Column("id", Text, primary_key=True),
    Column("workload_id", Text, ForeignKey("workloads.id", ondelete="CASCADE"), nullable=False),
    Column("alias", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("version", BigInt, nullable=False),  # of the workload's history when it started: their order
    Column("body", LargeBinary, nullable=False),  # JSON: RolloutRow
    UniqueConstraint("workload_id", "version"),
    Index(
        "rollouts_open_idx",
        "workload_id",
        "alias",
        unique=True,
        sqlite_where=sqlalchemy.text("state = 'open'"),
        postgresql_where=sqlalchemy.text("state = 'open'"),
    ),
    Index("rollouts_state_idx", "state"),
)

_row: msgspec.json.Decoder[RolloutRow] = msgspec.json.Decoder(RolloutRow)


def insert_rollout(session: Session, row: RolloutRow, version: int) -> None:
    session.execute(sqlalchemy.insert(rollouts).values(values_of(row, version)))


def update_rollout(session: Session, row: RolloutRow) -> None:
    session.execute(
        sqlalchemy.update(rollouts)
        .where(rollouts.c.id == row.id)
        .values(state=row.state, body=msgspec.json.encode(row))
    )


def values_of(row: RolloutRow, version: int) -> dict[str, Any]:
    """The columns. `version` is that of the workload's history when it started."""
    return {
        "id": row.id,
        "workload_id": row.workload_id,
        "alias": row.alias,
        "state": row.state,
        "version": version,
        "body": msgspec.json.encode(row),
    }


def find_rollout(session: Session, rollout_id: str) -> RolloutRow | None:
    query = sqlalchemy.select(rollouts.c.body).where(rollouts.c.id == rollout_id)
    body = session.execute(query).scalar_one_or_none()
    return None if body is None else _row.decode(body)


def find_open(session: Session, workload_id: str, alias: str) -> RolloutRow | None:
    query = sqlalchemy.select(rollouts.c.body).where(
        rollouts.c.workload_id == workload_id, rollouts.c.alias == alias, rollouts.c.state == "open"
    )
    body = session.execute(query).scalar_one_or_none()
    return None if body is None else _row.decode(body)


def list_rollouts(session: Session, workload_id: str, *, below: int | None, limit: int) -> list[tuple[int, RolloutRow]]:
    """The newest first, those below `below`; with their versions."""
    query = sqlalchemy.select(rollouts.c.version, rollouts.c.body).where(rollouts.c.workload_id == workload_id)
    if below is not None:
        query = query.where(rollouts.c.version < below)
    found = session.execute(query.order_by(rollouts.c.version.desc()).limit(limit))
    return [(row.version, _row.decode(row.body)) for row in found]


def list_open(session: Session) -> list[RolloutRow]:
    """Of all workloads."""
    query = sqlalchemy.select(rollouts.c.body).where(rollouts.c.state == "open")
    return [_row.decode(body) for body in session.execute(query).scalars()]
