"""Decisions on warmth in SQL: receipts, what the policy keeps over a restart, and the counts that it then reads."""

from collections.abc import Iterator, Sequence

import msgspec
import sqlalchemy
from sqlalchemy import Column, Index, LargeBinary, Table, Text
from sqlalchemy.orm import Session

from isotherm.db.tables import BigInt, records_tables
from isotherm.records.model import MinuteCount
from isotherm.records.store import minutes, oldest_rows
from isotherm.warming.receipt import Receipt

__all__ = [
    "count_receipts",
    "delete_oldest_receipts",
    "find_receipt_before",
    "find_state",
    "insert_receipts",
    "list_receipts",
    "minute_spans",
    "minutes_between",
    "policy_state",
    "put_state",
    "receipts",
]

receipts = Table(
    "receipts",
    records_tables,
    Column("seq", BigInt, primary_key=True, autoincrement=True),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("revision_id", Text, nullable=False),
    Column("at_ms", BigInt, nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON: Receipt
    Index("receipts_name_idx", "namespace", "name", "seq"),
    Index("receipts_revision_idx", "revision_id", "at_ms"),
    sqlite_autoincrement=True,
)

policy_state = Table(
    "policy_state",
    records_tables,
    Column("name", Text, primary_key=True),
    Column("at_ms", BigInt, nullable=False),
    Column("body", LargeBinary, nullable=False),
)


class _Counted(msgspec.Struct, gc=False):
    """Of a `MinuteAggregate`, what is counted here."""

    count: int
    run_ms: float


_receipt: msgspec.json.Decoder[Receipt] = msgspec.json.Decoder(Receipt)
_counted: msgspec.json.Decoder[_Counted] = msgspec.json.Decoder(_Counted)
_encode = msgspec.json.Encoder().encode


def insert_receipts(session: Session, found: Sequence[Receipt]) -> None:
    rows = [
        {
            "namespace": receipt.namespace,
            "name": receipt.name,
            "revision_id": receipt.revision_id,
            "at_ms": receipt.at_ms,
            "body": _encode(receipt),
        }
        for receipt in found
    ]
    session.execute(sqlalchemy.insert(receipts), rows)


def list_receipts(
    session: Session, namespace: str, name: str, *, below: int | None, limit: int
) -> list[tuple[int, Receipt]]:
    """With their numbers, the newest first."""
    query = sqlalchemy.select(receipts.c.seq, receipts.c.body).where(
        receipts.c.namespace == namespace, receipts.c.name == name
    )
    if below is not None:
        query = query.where(receipts.c.seq < below)
    found = session.execute(query.order_by(receipts.c.seq.desc()).limit(limit))
    return [(row.seq, _receipt.decode(row.body)) for row in found]


def find_receipt_before(session: Session, revision_id: str, at_ms: int) -> Receipt | None:
    """The last one at or before that time."""
    query = sqlalchemy.select(receipts.c.body).where(receipts.c.revision_id == revision_id, receipts.c.at_ms <= at_ms)
    newest = query.order_by(receipts.c.at_ms.desc(), receipts.c.seq.desc()).limit(1)
    body = session.execute(newest).scalar_one_or_none()
    return None if body is None else _receipt.decode(body)


def count_receipts(session: Session) -> int:
    """By their numbers, since only the oldest ever go; a number that a failed insert took counts, too."""
    bounds = sqlalchemy.select(sqlalchemy.func.min(receipts.c.seq), sqlalchemy.func.max(receipts.c.seq))
    oldest, newest = session.execute(bounds).one()
    return 0 if oldest is None else newest - oldest + 1


def delete_oldest_receipts(session: Session, *, before_ms: int, too_many: int, at_once: int) -> int:
    """As for invocations."""
    query = sqlalchemy.select(receipts.c.seq, receipts.c.at_ms).order_by(receipts.c.seq).limit(at_once)
    last, count = oldest_rows(((row.seq, row.at_ms < before_ms, 1) for row in session.execute(query)), too_many)
    if count:
        session.execute(sqlalchemy.delete(receipts).where(receipts.c.seq <= last))
    return count


def put_state(session: Session, name: str, body: bytes, at_ms: int) -> None:
    session.execute(sqlalchemy.delete(policy_state).where(policy_state.c.name == name))
    session.execute(sqlalchemy.insert(policy_state).values(name=name, at_ms=at_ms, body=body))


def find_state(session: Session, name: str) -> tuple[int, bytes] | None:
    query = sqlalchemy.select(policy_state.c.at_ms, policy_state.c.body).where(policy_state.c.name == name)
    row = session.execute(query).first()
    return None if row is None else (row.at_ms, row.body)


def minute_spans(session: Session, since_minute: int, rows: int) -> list[tuple[int, int]]:
    """`(first, last)` of runs of minutes, in order, that have some `rows` rows each; counted in an index alone."""
    query = sqlalchemy.select(minutes.c.minute, sqlalchemy.func.count()).where(minutes.c.minute >= since_minute)
    spans: list[tuple[int, int]] = []
    first, held = None, 0
    for minute, count in session.execute(query.group_by(minutes.c.minute).order_by(minutes.c.minute)):
        first = minute if first is None else first
        held += count
        if held >= rows:
            spans.append((first, minute))
            first, held = None, 0
    if first is not None:
        spans.append((first, minute))
    return spans


def minutes_between(session: Session, first: int, last: int) -> Iterator[MinuteCount]:
    """Of each function and minute that has calls, both ends included, by minute; its revisions are added up."""
    query = sqlalchemy.select(minutes.c.minute, minutes.c.namespace, minutes.c.name, minutes.c.body)
    query = query.where(minutes.c.minute >= first, minutes.c.minute <= last)
    decode, added = _counted.decode, dict[tuple[int, str, str], _Counted]()
    for minute, namespace, name, body in session.execute(query.order_by(minutes.c.minute)):
        counted, key = decode(body), (minute, namespace, name)
        known = added.setdefault(key, counted)
        if known is not counted:
            known.count += counted.count
            known.run_ms += counted.run_ms
    for (minute, namespace, name), counted in added.items():
        yield MinuteCount(namespace, name, minute, counted.count, counted.run_ms)
