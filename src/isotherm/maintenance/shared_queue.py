"""Calls from a queue in Postgres into a SQLite file with the same tables, and back. What is sealed stays sealed."""

import contextlib
import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from isotherm.base.errors import Invalid, Unavailable
from isotherm.storage.postgres import connect, postgres_reason
from isotherm.storage.queue_tables import CALL_COLUMNS, POSTGRES_SCHEMA, ROW_BYTES, prepare_postgres, prepare_sqlite

__all__ = ["copied_in", "copy_out", "has_rows"]

_at_once = 1000
_host = "archive"  # has the calls that were read from an archive, until the first living host takes them over
_columns = ", ".join(CALL_COLUMNS)
_exist = "SELECT to_regclass('calls') IS NOT NULL"
_any = "SELECT EXISTS (SELECT FROM calls) OR EXISTS (SELECT FROM paused) OR EXISTS (SELECT FROM positions)"
_insert = f"INSERT INTO calls ({_columns}, host, size) VALUES ({', '.join(['%s'] * len(CALL_COLUMNS))}, '{_host}', %s)"
_leave = f"""
INSERT INTO hosts (host, batch, expires_at, gone, bytes)
SELECT '{_host}', 0, clock_timestamp(), true, coalesce(sum(size), 0) FROM calls
ON CONFLICT (host) DO UPDATE SET expires_at = excluded.expires_at, gone = true, bytes = hosts.bytes + excluded.bytes
"""
_count_on = "SELECT setval(pg_get_serial_sequence('calls', 'number'), max(number)) FROM calls HAVING count(*) > 0"


def has_rows(url: str) -> bool:
    """Whether the queue has calls, paused functions or positions of triggers. Raises `Unavailable`."""
    with _connected(url) as connection:
        return bool(_one(connection, _exist) and _one(connection, _any))


def copy_out(url: str, path: str) -> bool:
    """Write a snapshot of the queue to the SQLite file `path`. False: there is none. Raises `Unavailable`."""
    with _connected(url) as connection, contextlib.closing(sqlite3.connect(path)) as target, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if not _one(connection, _exist):
            return False
        prepare_sqlite(target, "the archive")
        for table, columns in (("calls", CALL_COLUMNS), ("paused", ("namespace", "name")),
                               ("positions", ("trigger_id", "position"))):  # fmt: skip
            statement = f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"
            with connection.cursor(f"export_{table}", binary=True) as cursor:
                cursor.itersize = _at_once
                cursor.execute(f"SELECT {', '.join(columns)} FROM {table}")
                target.executemany(statement, cursor)
        target.commit()
    return True


@contextlib.contextmanager
def copied_in(path: Path, url: str) -> Iterator[None]:
    """What the SQLite file has is in the queue once the block has ended well. Raises `Invalid`, `Unavailable`."""
    with _connected(url) as connection, contextlib.closing(sqlite3.connect(path)) as source:
        prepare_postgres(connection)
        with connection.transaction():
            _fill(source, connection)
            yield


def _fill(source: sqlite3.Connection, connection: Any) -> None:
    state, event, outcome = (CALL_COLUMNS.index(name) for name in ("state", "event", "outcome"))
    try:
        with connection.cursor() as cursor:
            for rows in _batches(source.execute(f"SELECT {_columns} FROM calls")):
                calls = []
                for row in rows:
                    size = ROW_BYTES + len(row[event]) + len(row[outcome] or b"")
                    values = [*row, size]
                    values[state] = 0 if row[state] == 1 else row[state]  # nobody holds it now
                    calls.append(values)
                cursor.executemany(_insert, calls)
            for paused in _batches(source.execute("SELECT namespace, name FROM paused")):
                cursor.executemany("INSERT INTO paused VALUES (%s, %s)", paused)
            for positions in _batches(source.execute("SELECT trigger_id, position FROM positions")):
                cursor.executemany(f"INSERT INTO positions VALUES (%s, %s, '{_host}')", positions)
            cursor.execute(_leave)
            cursor.execute(_count_on)
    except sqlite3.Error as exc:
        raise Invalid(f"the queue in the archive cannot be read: {exc}") from exc


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Any]:
    import psycopg

    try:
        with connect(url, name="isotherm maintenance", options={"search_path": POSTGRES_SCHEMA}) as connection:
            yield connection
    except psycopg.Error as exc:
        raise Unavailable(f"the queue's database failed: {postgres_reason(exc)}") from exc


def _one(connection: Any, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def _batches(rows: sqlite3.Cursor) -> Iterator[list[Any]]:
    while batch := list(islice(rows, _at_once)):
        yield batch
