"""Records in SQL, in a database of their own. Rows are numbered in the order in which they came in."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy
from sqlalchemy import Column, Index, Integer, LargeBinary, Table, Text
from sqlalchemy.orm import Session

from isotherm.db.tables import BigInt, records_tables
from isotherm.wire.telemetry import Batch, InvocationRecord, LogLine, MinuteAggregate, RecordedEvent

__all__ = [
    "add_to_total",
    "batches",
    "called_since",
    "delete_oldest_batches",
    "delete_oldest_events",
    "delete_oldest_invocations",
    "delete_oldest_logs",
    "delete_oldest_minutes",
    "event_bytes",
    "events",
    "find_event",
    "find_invocation",
    "find_minutes",
    "first_log_since",
    "insert_batch",
    "insert_events",
    "insert_invocations",
    "insert_logs",
    "invocations",
    "list_invocations",
    "list_logs",
    "list_minutes",
    "list_namespace_minutes",
    "list_revision_minutes",
    "log_bytes",
    "logs",
    "minutes",
    "oldest_rows",
    "put_minutes",
    "total",
    "totals",
]

batches = Table(
    "batches",
    records_tables,
    Column("host_id", Text, primary_key=True),
    Column("boot_id", Text, primary_key=True),
    Column("sequence", BigInt, primary_key=True),
    Column("received_at_ms", BigInt, nullable=False, index=True),
)

invocations = Table(
    "invocations",
    records_tables,
    Column("seq", BigInt, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, index=True),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("started_at_ms", BigInt, nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON: InvocationRecord
    Index("invocations_namespace_idx", "namespace", "seq"),
    Index("invocations_name_idx", "namespace", "name", "seq"),
    Index("invocations_outcome_idx", "namespace", "outcome", "seq"),
    sqlite_autoincrement=True,
)

minutes = Table(
    "minutes",
    records_tables,
    Column("revision_id", Text, primary_key=True),
    Column("minute", Integer, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON: MinuteAggregate
    Index("minutes_name_idx", "namespace", "name", "minute"),
    Index("minutes_minute_idx", "minute"),
)

logs = Table(
    "logs",
    records_tables,
    Column("seq", BigInt, primary_key=True, autoincrement=True),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("at_ms", BigInt, nullable=False),
    Column("invocation_id", Text, index=True),
    Column("size_bytes", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON: LogLine
    Index("logs_name_idx", "namespace", "name", "seq"),
    Index("logs_namespace_idx", "namespace", "seq"),
    Index("logs_time_idx", "namespace", "name", "at_ms"),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    records_tables,
    Column("seq", BigInt, primary_key=True, autoincrement=True),
    Column("invocation_id", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("at_ms", BigInt, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("end_bytes", BigInt, nullable=False),  # of this and all rows before it: how much is kept needs no counting
    Column("body", LargeBinary, nullable=False),  # JSON, sealed
    Index("events_invocation_idx", "namespace", "invocation_id"),
    sqlite_autoincrement=True,
)

# What a sweep would otherwise have to count: `invocations` in rows, `logs` and `logs:NAMESPACE` in bytes.
totals = Table(
    "totals",
    records_tables,
    Column("name", Text, primary_key=True),
    Column("value", BigInt, nullable=False),
)

_invocation: msgspec.json.Decoder[InvocationRecord] = msgspec.json.Decoder(InvocationRecord)
_minute: msgspec.json.Decoder[MinuteAggregate] = msgspec.json.Decoder(MinuteAggregate)
_log: msgspec.json.Decoder[LogLine] = msgspec.json.Decoder(LogLine)
_encode = msgspec.json.Encoder().encode
_logs_of = "logs:"


def insert_batch(session: Session, batch: Batch, received_at_ms: int) -> bool:
    """Whether it is new."""
    mine = (
        batches.c.host_id == batch.host_id,
        batches.c.boot_id == batch.boot_id,
        batches.c.sequence == batch.sequence,
    )
    if session.execute(sqlalchemy.select(batches.c.sequence).where(*mine)).first() is not None:
        return False
    session.execute(
        sqlalchemy.insert(batches).values(
            host_id=batch.host_id, boot_id=batch.boot_id, sequence=batch.sequence, received_at_ms=received_at_ms
        )
    )
    return True


def insert_invocations(session: Session, records: Sequence[InvocationRecord]) -> None:
    rows = [
        {
            "id": record.id,
            "namespace": record.namespace,
            "name": record.name,
            "outcome": record.outcome,
            "started_at_ms": record.started_at_ms,
            "body": _encode(record),
        }
        for record in records
    ]
    session.execute(sqlalchemy.insert(invocations), rows)
    add_to_total(session, "invocations", len(rows))


def insert_logs(session: Session, lines: Sequence[LogLine]) -> None:
    bodies = [_encode(line) for line in lines]
    rows = [
        {
            "namespace": line.namespace,
            "name": line.name,
            "at_ms": line.at_ms,
            "invocation_id": line.invocation_id,
            "size_bytes": len(body),
            "body": body,
        }
        for line, body in zip(lines, bodies, strict=True)
    ]
    session.execute(sqlalchemy.insert(logs), rows)
    _count_logs(session, zip((line.namespace for line in lines), map(len, bodies), strict=True), 1)


def insert_events(session: Session, found: Sequence[tuple[RecordedEvent, bytes]]) -> None:
    """Each with its sealed body."""
    newest = sqlalchemy.select(events.c.end_bytes).order_by(events.c.seq.desc()).limit(1)
    end = session.execute(newest).scalar_one_or_none() or 0
    rows = []
    for event, body in found:
        end += len(body)
        rows.append(
            {
                "invocation_id": event.id,
                "namespace": event.namespace,
                "name": event.name,
                "at_ms": event.at_ms,
                "size_bytes": len(body),
                "end_bytes": end,
                "body": body,
            }
        )
    session.execute(sqlalchemy.insert(events), rows)


def event_bytes(session: Session) -> int:
    """What is kept of events in all."""
    ends = sqlalchemy.select(events.c.end_bytes, events.c.size_bytes).order_by(events.c.seq)
    oldest = session.execute(ends.limit(1)).first()
    newest = session.execute(ends.order_by(None).order_by(events.c.seq.desc()).limit(1)).first()
    return 0 if oldest is None or newest is None else newest.end_bytes - oldest.end_bytes + oldest.size_bytes


def find_event(session: Session, namespace: str, invocation_id: str) -> bytes | None:
    """The sealed body of the last that was kept of this call."""
    query = sqlalchemy.select(events.c.body).where(
        events.c.namespace == namespace, events.c.invocation_id == invocation_id
    )
    return session.execute(query.order_by(events.c.seq.desc()).limit(1)).scalar_one_or_none()


def find_minutes(session: Session, keys: Iterable[tuple[str, int]]) -> list[MinuteAggregate]:
    """Those of these (revision id, minute)."""
    wanted = sqlalchemy.tuple_(minutes.c.revision_id, minutes.c.minute).in_(list(keys))
    return [_minute.decode(row.body) for row in session.execute(sqlalchemy.select(minutes.c.body).where(wanted))]


def list_revision_minutes(session: Session, revision_id: str, since_minute: int, limit: int) -> list[MinuteAggregate]:
    """Of one revision, from a minute on; the newest `limit` of them."""
    query = sqlalchemy.select(minutes.c.body).where(
        minutes.c.revision_id == revision_id, minutes.c.minute >= since_minute
    )
    found = session.execute(query.order_by(minutes.c.minute.desc()).limit(limit))
    return [_minute.decode(row.body) for row in found]


def put_minutes(session: Session, aggregates: Sequence[MinuteAggregate]) -> None:
    """In place of what is there of the same revisions and minutes."""
    keys = [(one.revision_id, one.minute) for one in aggregates]
    session.execute(
        sqlalchemy.delete(minutes).where(sqlalchemy.tuple_(minutes.c.revision_id, minutes.c.minute).in_(keys))
    )
    rows = [
        {
            "revision_id": one.revision_id,
            "minute": one.minute,
            "namespace": one.namespace,
            "name": one.name,
            "body": _encode(one),
        }
        for one in aggregates
    ]
    session.execute(sqlalchemy.insert(minutes), rows)


def called_since(session: Session, revision_ids: Collection[str], since_minute: int) -> set[str]:
    """Those of these revisions that were called in that minute or later."""
    query = sqlalchemy.select(minutes.c.revision_id).distinct()
    query = query.where(minutes.c.revision_id.in_(revision_ids), minutes.c.minute >= since_minute)
    return set(session.execute(query).scalars())


def list_minutes(
    session: Session, namespace: str, name: str, *, since_minute: int, until_minute: int, limit: int
) -> list[MinuteAggregate]:
    """In [since, until), oldest first."""
    query = (
        sqlalchemy.select(minutes.c.body)
        .where(
            minutes.c.namespace == namespace,
            minutes.c.name == name,
            minutes.c.minute >= since_minute,
            minutes.c.minute < until_minute,
        )
        .order_by(minutes.c.minute, minutes.c.revision_id)
        .limit(limit)
    )
    return [_minute.decode(row.body) for row in session.execute(query)]


def list_namespace_minutes(
    session: Session,
    namespace: str,
    *,
    name: str | None,
    since_minute: int,
    until_minute: int,
    above: tuple[int, str, str] | None,
    limit: int,
) -> list[MinuteAggregate]:
    """In [since, until), by minute, name and revision; `above`: after the one with these."""
    first = since_minute if above is None else max(since_minute, above[0])  # where reading the index begins
    query = sqlalchemy.select(minutes.c.body).where(
        minutes.c.namespace == namespace, minutes.c.minute >= first, minutes.c.minute < until_minute
    )
    if name is not None:
        query = query.where(minutes.c.name == name)
    place = (minutes.c.minute, minutes.c.name, minutes.c.revision_id)
    if above is not None:
        query = query.where(sqlalchemy.tuple_(*place) > sqlalchemy.tuple_(*map(sqlalchemy.literal, above)))
    return [_minute.decode(row.body) for row in session.execute(query.order_by(*place).limit(limit))]


def list_invocations(
    session: Session, namespace: str, *, name: str | None, outcome: str | None, below: int | None, limit: int
) -> list[tuple[int, InvocationRecord]]:
    """With their numbers, the newest first."""
    query = sqlalchemy.select(invocations.c.seq, invocations.c.body).where(invocations.c.namespace == namespace)
    if name is not None:
        query = query.where(invocations.c.name == name)
    if outcome is not None:
        query = query.where(invocations.c.outcome == outcome)
    if below is not None:
        query = query.where(invocations.c.seq < below)
    found = session.execute(query.order_by(invocations.c.seq.desc()).limit(limit))
    return [(row.seq, _invocation.decode(row.body)) for row in found]


def find_invocation(session: Session, namespace: str, invocation_id: str) -> InvocationRecord | None:
    query = sqlalchemy.select(invocations.c.body).where(
        invocations.c.id == invocation_id, invocations.c.namespace == namespace
    )
    row = session.execute(query.order_by(invocations.c.seq.desc()).limit(1)).first()
    return None if row is None else _invocation.decode(row.body)


def list_logs(
    session: Session,
    namespace: str,
    name: str,
    *,
    invocation_id: str | None,
    since_ms: int | None,
    above: int | None,
    newest: bool,
    limit: int,
) -> list[tuple[int, LogLine]]:
    """With their numbers: the first `limit` above `above`, or (`newest`) the last; oldest first either way."""
    query = sqlalchemy.select(logs.c.seq, logs.c.body).where(logs.c.namespace == namespace, logs.c.name == name)
    if invocation_id is not None:
        query = query.where(logs.c.invocation_id == invocation_id)
    if since_ms is not None:
        query = query.where(logs.c.at_ms >= since_ms)
    if above is not None:
        query = query.where(logs.c.seq > above)
    found = session.execute(query.order_by(logs.c.seq.desc() if newest else logs.c.seq).limit(limit))
    lines = [(row.seq, _log.decode(row.body)) for row in found]
    return lines[::-1] if newest else lines


def first_log_since(session: Session, namespace: str, name: str, since_ms: int) -> int | None:
    """Number of the first line that is not older; found in an index, so that older lines are not read."""
    query = sqlalchemy.select(sqlalchemy.func.min(logs.c.seq)).where(
        logs.c.namespace == namespace, logs.c.name == name, logs.c.at_ms >= since_ms
    )
    found: int | None = session.execute(query).scalar_one()
    return found


def total(session: Session, name: str) -> int:
    return session.execute(sqlalchemy.select(totals.c.value).where(totals.c.name == name)).scalar_one_or_none() or 0


def add_to_total(session: Session, name: str, amount: int) -> None:
    before = session.execute(sqlalchemy.select(totals.c.value).where(totals.c.name == name)).scalar_one_or_none()
    if before is None:
        session.execute(sqlalchemy.insert(totals).values(name=name, value=amount))
    else:
        session.execute(sqlalchemy.update(totals).where(totals.c.name == name).values(value=totals.c.value + amount))


def delete_oldest_invocations(session: Session, *, before_ms: int, too_many: int, at_once: int) -> int:
    """The oldest, as long as they began before `before_ms`, and `too_many` of them in any case; at most `at_once`."""
    query = sqlalchemy.select(invocations.c.seq, invocations.c.started_at_ms).order_by(invocations.c.seq)
    last, count = oldest_rows(
        ((row.seq, row.started_at_ms < before_ms, 1) for row in session.execute(query.limit(at_once))), too_many
    )
    if count:
        session.execute(sqlalchemy.delete(invocations).where(invocations.c.seq <= last))
        add_to_total(session, "invocations", -count)
    return count


def log_bytes(session: Session, namespace: str | None = None) -> dict[str, int]:
    """What is kept of each namespace that has any, or of one."""
    query = sqlalchemy.select(totals).where(totals.c.value > 0)
    if namespace is not None:
        query = query.where(totals.c.name == _logs_of + namespace)
    else:
        query = query.where(totals.c.name.startswith(_logs_of, autoescape=True))
    return {row.name.removeprefix(_logs_of): row.value for row in session.execute(query)}


def delete_oldest_logs(
    session: Session, *, before_ms: int, too_many_bytes: int, at_once: int, namespace: str | None = None
) -> int:
    """As for invocations; too many are counted in bytes. `namespace`: of that one alone."""
    columns = (logs.c.seq, logs.c.namespace, logs.c.at_ms, logs.c.size_bytes)
    mine = () if namespace is None else (logs.c.namespace == namespace,)
    query = sqlalchemy.select(*columns).where(*mine).order_by(logs.c.seq).limit(at_once)
    rows = session.execute(query).all()
    last, count = oldest_rows(((row.seq, row.at_ms < before_ms, row.size_bytes) for row in rows), too_many_bytes)
    if count:
        session.execute(sqlalchemy.delete(logs).where(logs.c.seq <= last, *mine))
        _count_logs(session, ((row.namespace, row.size_bytes) for row in rows[:count]), -1)
    return count


def delete_oldest_events(session: Session, *, before_ms: int, too_many_bytes: int, at_once: int) -> int:
    """As for log lines."""
    query = sqlalchemy.select(events.c.seq, events.c.at_ms, events.c.size_bytes).order_by(events.c.seq).limit(at_once)
    rows = session.execute(query).all()
    last, count = oldest_rows(((row.seq, row.at_ms < before_ms, row.size_bytes) for row in rows), too_many_bytes)
    if count:
        session.execute(sqlalchemy.delete(events).where(events.c.seq <= last))
    return count


def _count_logs(session: Session, sizes: Iterable[tuple[str, int]], sign: Literal[1, -1]) -> None:
    """Lines by namespace and bytes that came (1) or went (-1)."""
    by_namespace: dict[str, int] = {}
    for namespace, size in sizes:
        by_namespace[namespace] = by_namespace.get(namespace, 0) + size
    for namespace, size in by_namespace.items():
        add_to_total(session, _logs_of + namespace, sign * size)
    add_to_total(session, "logs", sign * sum(by_namespace.values()))


def delete_oldest_minutes(session: Session, *, before_minute: int, at_once: int) -> int:
    query = sqlalchemy.select(minutes.c.minute).where(minutes.c.minute < before_minute).order_by(minutes.c.minute)
    old = session.execute(query.limit(at_once)).scalars().all()
    if old:  # whole minutes
        session.execute(sqlalchemy.delete(minutes).where(minutes.c.minute <= old[-1]))
    return len(old)


def delete_oldest_batches(session: Session, *, before_ms: int) -> None:
    session.execute(sqlalchemy.delete(batches).where(batches.c.received_at_ms < before_ms))


def oldest_rows(rows: Iterable[tuple[Any, bool, int]], too_many: int) -> tuple[int, int]:
    """Number of the last row to go, and how many go: each that is old, or before which not enough has gone."""
    last, count = 0, 0
    for seq, is_old, size in rows:
        if not is_old and too_many <= 0:
            break
        last, count, too_many = seq, count + 1, too_many - size
    return last, count
