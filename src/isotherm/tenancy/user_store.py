"""Users, their roles and sessions, signing keys and counts of wrong passwords in SQL.

`users` and `grants` are projections of histories; the others are kept here alone.
"""

import hmac
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import Boolean, Column, ForeignKey, Index, LargeBinary, Table, Text
from sqlalchemy.orm import Session

from isotherm.db.tables import BigInt, control_tables
from isotherm.tenancy.model import Grant, UserState

__all__ = [
    "AttemptRow",
    "SessionRow",
    "TokenKeyRow",
    "UserRow",
    "count_without_role",
    "delete_attempts",
    "delete_old_attempts",
    "delete_token_keys",
    "delete_user",
    "end_sessions",
    "find_attempts",
    "find_session",
    "find_user",
    "grants",
    "insert_session",
    "insert_token_key",
    "insert_user",
    "list_members",
    "list_sessions",
    "list_token_keys",
    "list_users",
    "locked_users",
    "put_attempt",
    "put_grants",
    "same",
    "sweep_sessions",
    "update_session",
    "update_user",
    "users",
]

users = Table(
    "users",
    control_tables,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("version", BigInt, nullable=False),
    Column("password", LargeBinary),  # an argon2 hash, sealed
    Column("invitation", Text),  # digest
    Column("invitation_until_ms", BigInt),
    Column("created_at_ms", BigInt, nullable=False),
    Column("password_at_ms", BigInt),
    Column("last_login_at_ms", BigInt),
)
Index("users_invitation_idx", users.c.invitation, unique=True)

grants = Table(
    "grants",
    control_tables,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("namespace", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Index("grants_namespace_idx", "namespace", "user_id"),
)

sessions = Table(
    "sessions",
    control_tables,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("version", BigInt, nullable=False),  # the user's, of when it began
    Column("generation", BigInt, nullable=False),  # of the refresh token that is good
    Column("salt", Text, nullable=False),
    Column("created_at_ms", BigInt, nullable=False),
    Column("used_at_ms", BigInt, nullable=False),
    Column("ended_at_ms", BigInt),
    Index("sessions_user_idx", "user_id", "used_at_ms"),
    Index("sessions_used_idx", "used_at_ms"),
)

token_keys = Table(
    "token_keys",
    control_tables,
    Column("id", Text, primary_key=True),
    Column("private", LargeBinary, nullable=False),  # sealed
    Column("public", LargeBinary, nullable=False),
    Column("created_at_ms", BigInt, nullable=False),
)

attempts = Table(
    "login_attempts",
    control_tables,
    Column("digest", Text, primary_key=True),
    Column("failures", BigInt, nullable=False),
    Column("at_ms", BigInt, nullable=False),
    Column("until_ms", BigInt, nullable=False),
    Column("user_id", Text),
    Column("told", Boolean, nullable=False),  # whether the audit log has this lock-out
    Index("login_attempts_at_idx", "at_ms"),
)


class UserRow(msgspec.Struct, frozen=True, kw_only=True):
    """A user with what must not be shown."""

    id: str
    name: str
    state: UserState
    version: int
    password: bytes | None = None
    invitation: str | None = None
    invitation_until_ms: int | None = None
    created_at_ms: int
    password_at_ms: int | None = None
    last_login_at_ms: int | None = None
    grants: tuple[Grant, ...] = ()  # by namespace


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    user_id: str
    version: int
    generation: int
    salt: str
    created_at_ms: int
    used_at_ms: int
    ended_at_ms: int | None = None


class TokenKeyRow(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    private: bytes
    public: bytes
    created_at_ms: int


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    failures: int
    at_ms: int
    until_ms: int
    user_id: str | None
    told: bool


def same(one: str, other: str) -> bool:
    """In constant time."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def insert_user(session: Session, row: UserRow) -> None:
    """Raises SQLAlchemy's `IntegrityError` where the name is taken."""
    values = msgspec.structs.asdict(row)
    del values["grants"]
    session.execute(sqlalchemy.insert(users).values(values))
    put_grants(session, row.id, row.grants)


def update_user(session: Session, user_id: str, **values: Any) -> None:
    session.execute(sqlalchemy.update(users).where(users.c.id == user_id).values(values))


def delete_user(session: Session, user_id: str) -> None:
    """With roles and sessions."""
    session.execute(sqlalchemy.delete(users).where(users.c.id == user_id))


def put_grants(session: Session, user_id: str, held: Iterable[Grant]) -> None:
    """All roles of a user, in place of those that are there."""
    session.execute(sqlalchemy.delete(grants).where(grants.c.user_id == user_id))
    rows = [{"user_id": user_id, "namespace": grant.namespace, "role": grant.role} for grant in held]
    if rows:
        session.execute(sqlalchemy.insert(grants), rows)


def find_user(
    session: Session, user_id: str | None = None, *, name: str | None = None, invitation: str | None = None
) -> UserRow | None:
    """By id, by name, or by the digest of an invitation."""
    query = sqlalchemy.select(users)
    for column, value in ((users.c.id, user_id), (users.c.name, name), (users.c.invitation, invitation)):
        if value is not None:
            query = query.where(column == value)
    return next(iter(_with_grants(session, session.execute(query.limit(1)).all())), None)


def list_users(
    session: Session,
    *,
    ids: Sequence[str] | None = None,
    states: Sequence[UserState] | None = None,
    after: str = "",
    limit: int,
) -> list[UserRow]:
    """By name, those after the name `after`."""
    query = sqlalchemy.select(users).where(users.c.name > after).order_by(users.c.name).limit(limit)
    if ids is not None:
        query = query.where(users.c.id.in_(ids))
    if states is not None:
        query = query.where(users.c.state.in_(states))
    return _with_grants(session, session.execute(query).all())


def count_without_role(session: Session, most: int) -> int:
    """Users whom nobody has given a role yet, counted up to `most`."""
    query = sqlalchemy.select(users.c.id).outerjoin(grants, grants.c.user_id == users.c.id)
    found = query.where(grants.c.user_id.is_(None)).limit(most).subquery()
    return int(session.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(found)).scalar_one())


def list_members(session: Session, namespace: str, *, after: str = "", limit: int) -> list[UserRow]:
    """Who has a role in a namespace (not by one for everywhere), by id."""
    query = sqlalchemy.select(users).join(grants, grants.c.user_id == users.c.id)
    query = query.where(grants.c.namespace == namespace, users.c.id > after).order_by(users.c.id).limit(limit)
    return _with_grants(session, session.execute(query).all())


def insert_session(session: Session, row: SessionRow) -> None:
    session.execute(sqlalchemy.insert(sessions).values(msgspec.structs.asdict(row)))


def update_session(session: Session, session_id: str, **values: Any) -> None:
    session.execute(sqlalchemy.update(sessions).where(sessions.c.id == session_id).values(values))


def find_session(session: Session, session_id: str) -> SessionRow | None:
    row = session.execute(sqlalchemy.select(sessions).where(sessions.c.id == session_id)).mappings().one_or_none()
    return None if row is None else SessionRow(**row)


def list_sessions(session: Session, user_ids: Sequence[str] | None, *, ended_since_ms: int) -> list[SessionRow]:
    """Those that go on, and those that ended since; the least recently used first."""
    query = sqlalchemy.select(sessions).order_by(sessions.c.used_at_ms, sessions.c.id)
    query = query.where(sqlalchemy.or_(sessions.c.ended_at_ms.is_(None), sessions.c.ended_at_ms >= ended_since_ms))
    if user_ids is not None:
        query = query.where(sessions.c.user_id.in_(user_ids))
    return [SessionRow(**row) for row in session.execute(query).mappings()]


def end_sessions(session: Session, user_id: str, now_ms: int) -> None:
    """All of a user's."""
    mine = sqlalchemy.and_(sessions.c.user_id == user_id, sessions.c.ended_at_ms.is_(None))
    session.execute(sqlalchemy.update(sessions).where(mine).values(ended_at_ms=now_ms))


def sweep_sessions(session: Session, *, ended_before_ms: int, used_before_ms: int, made_before_ms: int) -> int:
    """Remove those of which no token is good any more; how many."""
    over = sqlalchemy.or_(
        sessions.c.ended_at_ms < ended_before_ms,
        sessions.c.used_at_ms < used_before_ms,
        sessions.c.created_at_ms < made_before_ms,
    )
    return int(session.execute(sqlalchemy.delete(sessions).where(over)).rowcount)  # type: ignore[attr-defined]  # it is one of rows


def insert_token_key(session: Session, row: TokenKeyRow) -> None:
    session.execute(sqlalchemy.insert(token_keys).values(msgspec.structs.asdict(row)))


def list_token_keys(session: Session, ids: Sequence[str] | None = None) -> list[TokenKeyRow]:
    """The newest first."""
    query = sqlalchemy.select(token_keys).order_by(token_keys.c.created_at_ms.desc(), token_keys.c.id)
    if ids is not None:
        query = query.where(token_keys.c.id.in_(ids))
    return [TokenKeyRow(**row) for row in session.execute(query).mappings()]


def delete_token_keys(session: Session, ids: Sequence[str]) -> None:
    session.execute(sqlalchemy.delete(token_keys).where(token_keys.c.id.in_(ids)))


def find_attempts(session: Session, digests: Sequence[str]) -> list[AttemptRow]:
    query = sqlalchemy.select(attempts).where(attempts.c.digest.in_(digests))
    return [AttemptRow(**row) for row in session.execute(query).mappings()]


def put_attempt(session: Session, row: AttemptRow) -> None:
    """In place of the count that is there."""
    delete_attempts(session, [row.digest])
    session.execute(sqlalchemy.insert(attempts).values(msgspec.structs.asdict(row)))


def delete_attempts(session: Session, digests: Sequence[str]) -> None:
    session.execute(sqlalchemy.delete(attempts).where(attempts.c.digest.in_(digests)))


def delete_old_attempts(session: Session, *, before_ms: int, kept: int) -> int:
    """Remove those of before, and beyond `kept` those that lock least and are oldest; how many."""
    result = session.execute(sqlalchemy.delete(attempts).where(attempts.c.at_ms < before_ms))
    order = (attempts.c.until_ms.desc(), attempts.c.at_ms.desc(), attempts.c.digest)
    beyond = list(
        session.execute(sqlalchemy.select(attempts.c.digest).order_by(*order).offset(kept).limit(10_000)).scalars()
    )
    delete_attempts(session, beyond)
    return int(result.rowcount) + len(beyond)  # type: ignore[attr-defined]  # it is one of rows


def locked_users(session: Session, limit: int) -> list[AttemptRow]:
    """Lock-outs of users that the audit log does not have yet."""
    query = sqlalchemy.select(attempts).where(
        attempts.c.until_ms > 0, attempts.c.told.is_(False), attempts.c.user_id.is_not(None)
    )
    return [AttemptRow(**row) for row in session.execute(query.order_by(attempts.c.at_ms).limit(limit)).mappings()]


def _with_grants(session: Session, rows: Sequence[Any]) -> list[UserRow]:
    if not rows:
        return []
    held: dict[str, list[Grant]] = {}
    query = sqlalchemy.select(grants).where(grants.c.user_id.in_([row.id for row in rows]))
    for grant in session.execute(query.order_by(grants.c.namespace)):
        held.setdefault(grant.user_id, []).append(Grant(grant.namespace, grant.role))
    return [UserRow(**row._mapping, grants=tuple(held.get(row.id, ()))) for row in rows]
