"""Makes projections anew from the log, compares them row by row with those that are there, and mends these.

A room says which of its tables are projections and gives their rows as its histories say (`ProjectedRoom`). What is in
no event (sealed secrets, configurations) it takes from the rows that are there; where such a row is gone, it is lost.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import msgspec
import sqlalchemy
from sqlalchemy import Column, MetaData, Table
from sqlalchemy.orm import Session

from isotherm.events.service import EventLog

__all__ = ["Difference", "Lost", "ProjectedRoom", "Rebuilt", "Row", "check", "mend"]

Row = tuple[Table, dict[str, Any]]
_at_once = 500
_shown = 1000


@dataclass(frozen=True, slots=True)
class Lost:
    """A row that the log demands and that no event can restore."""

    table: Table
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProjectedRoom:
    """`tables` in the order in which rows can be inserted; `rows` replays the room's histories."""

    tables: Sequence[Table]
    rows: Callable[[Session, EventLog], Iterator[Row | Lost]]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`missing`: only the log has it. `extra`: only the table. `changed`: in these columns. `lost`: see `Lost`."""

    table: str
    key: list[str]
    what: Literal["missing", "extra", "changed", "lost"]
    columns: list[str] = msgspec.field(default_factory=list)


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: rows by table as the log says, and what was unlike them (the first thousand)."""

    equal: bool
    rows: dict[str, int]
    differences: list[Difference]
    found: int  # differences in all
    mended: bool = False


def check(log: EventLog, rooms: Iterable[ProjectedRoom]) -> Rebuilt:
    """Compare, in one snapshot; changes nothing, and may run beside a platform at work."""
    with log.database.read() as session:
        return _Comparison(session, log, list(rooms)).outcome()


def mend(log: EventLog, rooms: Iterable[ProjectedRoom], forget: Callable[[Session], None]) -> Rebuilt:
    """Make the tables what the log says, in one transaction; `forget` drops in it what was derived from them.

    What is lost stays lost, and is told.
    """
    with log.transaction() as session:
        comparison = _Comparison(session, log, list(rooms))
        found = comparison.outcome()
        if not found.equal:
            comparison.apply()
            forget(session)
        comparison.drop()
    return msgspec.structs.replace(found, mended=not found.equal)


class _Comparison:
    """Fresh tables beside those that are there, in one transaction."""

    def __init__(self, session: Session, log: EventLog, rooms: list[ProjectedRoom]) -> None:
        self._session = session
        self._counts: Counter[str] = Counter()
        self._lost: list[Difference] = []
        self._fresh = {table: _fresh(table) for room in rooms for table in room.tables}
        for fresh in self._fresh.values():
            fresh.create(session.connection())
        for room in rooms:
            self._fill(room.rows(session, log))

    def outcome(self) -> Rebuilt:
        differences = [*self._lost, *(each for pair in self._fresh.items() for each in self._differences(*pair))]
        counts = {table.name: self._counts[table.name] for table in self._fresh}
        return Rebuilt(equal=not differences, rows=counts, differences=differences[:_shown], found=len(differences))

    def apply(self) -> None:
        """First what is too much, from the tables that refer to others on; then what is missing, the other way."""
        for table, fresh in reversed(self._fresh.items()):
            self._session.execute(sqlalchemy.delete(table).where(~sqlalchemy.exists().where(_same_key(table, fresh))))
        for table, fresh in self._fresh.items():
            for key, values in self._unlike(table, fresh):
                mine = sqlalchemy.and_(*(table.c[name] == value for name, value in key.items()))
                if self._session.execute(sqlalchemy.update(table).where(mine).values(values)).rowcount == 0:  # type: ignore[attr-defined]  # it is one of rows
                    self._session.execute(sqlalchemy.insert(table).values({**key, **values}))

    def drop(self) -> None:
        for fresh in self._fresh.values():
            fresh.drop(self._session.connection())

    def _fill(self, rows: Iterator[Row | Lost]) -> None:
        while batch := list(islice(rows, _at_once)):
            by_table: dict[Table, list[dict[str, Any]]] = {}
            for row in batch:
                if isinstance(row, Lost):
                    self._lost.append(Difference(table=row.table.name, key=list(row.key), what="lost"))
                else:
                    by_table.setdefault(row[0], []).append(row[1])
            for table, values in by_table.items():
                self._session.execute(sqlalchemy.insert(self._fresh[table]), values)
                self._counts[table.name] += len(values)

    def _differences(self, table: Table, fresh: Table) -> Iterator[Difference]:
        joined = fresh.outerjoin(table, _same_key(table, fresh))
        there = next(iter(table.primary_key.columns))
        columns = [*fresh.c, *(column.label(f"live_{column.name}") for column in table.c)]
        unlike = sqlalchemy.or_(there.is_(None), _any_unlike(table, fresh))
        for row in self._session.execute(sqlalchemy.select(*columns).select_from(joined).where(unlike)).mappings():
            key = [str(row[column.name]) for column in table.primary_key.columns]
            if row[f"live_{there.name}"] is None:
                yield Difference(table=table.name, key=key, what="missing")
                continue
            names = [column.name for column in table.c if row[column.name] != row[f"live_{column.name}"]]
            yield Difference(table=table.name, key=key, what="changed", columns=names)
        extra = sqlalchemy.select(*table.primary_key.columns).where(~sqlalchemy.exists().where(_same_key(table, fresh)))
        for each in self._session.execute(extra):
            yield Difference(table=table.name, key=[str(part) for part in each], what="extra")

    def _unlike(self, table: Table, fresh: Table) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Key and other columns of fresh rows that the table has not, or not so."""
        joined = fresh.outerjoin(table, _same_key(table, fresh))
        there = next(iter(table.primary_key.columns))
        query = sqlalchemy.select(*fresh.c).select_from(joined)
        rows = self._session.execute(query.where(sqlalchemy.or_(there.is_(None), _any_unlike(table, fresh)))).mappings()
        keys = set(table.primary_key.columns.keys())
        return [
            (
                {name: value for name, value in row.items() if name in keys},
                {name: value for name, value in row.items() if name not in keys},
            )
            for row in rows
        ]


def _fresh(table: Table) -> Table:
    """A temporary table of the same columns; nothing refers to it."""
    columns = [
        Column(column.name, column.type, primary_key=column.primary_key, nullable=column.nullable, autoincrement=False)
        for column in table.c
    ]
    return Table(f"fresh_{table.name}", MetaData(), *columns, prefixes=["TEMPORARY"])


def _same_key(table: Table, fresh: Table) -> sqlalchemy.ColumnElement[bool]:
    return sqlalchemy.and_(*(column == fresh.c[column.name] for column in table.primary_key.columns))


def _any_unlike(table: Table, fresh: Table) -> sqlalchemy.ColumnElement[bool]:
    others = [column for column in table.c if not column.primary_key]
    return sqlalchemy.or_(sqlalchemy.false(), *(column.is_distinct_from(fresh.c[column.name]) for column in others))
