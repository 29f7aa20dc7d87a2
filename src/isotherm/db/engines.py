"""SQLAlchemy's engines as we need them: SQLite, and Postgres by psycopg, with or without the lock of a sole writer."""

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any
from zlib import crc32

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from isotherm.base.errors import Conflict, Invalid, Unavailable
from isotherm.storage.postgres import CONNECT_DEFAULTS, startup_options

__all__ = ["WRITE", "parse_url", "postgres_engine", "sqlite_engine"]

WRITE = "isotherm_write"  # execution option of connections whose transactions write

_pool: dict[str, Any] = {"pool_size": 8, "max_overflow": 32, "pool_timeout": 30, "hide_parameters": True}
_sole: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 30, "hide_parameters": True}
_lock_family = 0x49534F54  # "ISOT": the first half of the advisory lock's key
_former_holder_s = 10.0  # a killed process's connection is closed by the server, but not at once
_poll_s = 0.1


def parse_url(url: str | Path) -> URL:
    """The URL with its driver named. Raises `Invalid`, never telling a password."""
    text = f"sqlite:///{url}" if isinstance(url, Path) or "://" not in url else url
    try:
        parsed = make_url(text)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise ArgumentError(f"{parsed.get_backend_name()} is not supported: SQLite and Postgres are")
        parsed.get_dialect().import_dbapi()
    except ModuleNotFoundError as exc:
        missing = "pip install 'isotherm[postgres]'" if exc.name == "psycopg" else f"the module {exc.name} is missing"
        raise Invalid(f"the database URL (…{_shown(text)}) needs a driver: {missing}") from exc
    except (ArgumentError, NoSuchModuleError, ValueError) as exc:
        raise Invalid(
            f"the database URL (…{_shown(text)}) cannot be used: {exc}; for example sqlite:////var/lib/x.db, "
            "postgresql://user@host/database"
        ) from exc
    return parsed


def sqlite_engine(url: URL, busy_timeout_s: float) -> Engine:
    engine = sqlalchemy.create_engine(url, **_pool, connect_args={"timeout": busy_timeout_s})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def postgres_engine(url: URL, schema: str | None, *, lock_timeout_s: float, sole: bool = False) -> Engine:
    """`sole`: one connection, which holds the advisory lock of this database and schema as long as it lives."""
    engine = sqlalchemy.create_engine(
        url, **(_sole if sole else _pool), pool_pre_ping=True, connect_args=_connect_args(url, schema, lock_timeout_s)
    )
    if sole:
        event.listen(engine, "connect", _SoleWriter(str(url.database), schema))
    return engine


class _SoleWriter:
    """Takes the lock on each new connection: the first time, and again after the server restarted."""

    def __init__(self, database: str, schema: str | None) -> None:
        self._database = database
        self._key = crc32((schema or "").encode()) & 0x7FFFFFFF
        self._held = False

    def __call__(self, connection: Any, _: ConnectionPoolEntry) -> None:
        try:
            self._take(connection)
        except BaseException:
            connection.close()
            raise

    def _take(self, connection: Any) -> None:
        deadline = time.monotonic() + _former_holder_s
        while not self._ask(connection, "SELECT pg_try_advisory_lock(%s, %s)")[0]:
            if time.monotonic() > deadline:
                raise self._refused(connection)
            time.sleep(_poll_s)
        self._held = True

    def _refused(self, connection: Any) -> Conflict | Unavailable:
        query = (
            "SELECT a.pid, coalesce(host(a.client_addr), 'this machine'), "
            "to_char(a.backend_start, 'YYYY-MM-DD HH24:MI') "
            "FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database "
            "WHERE l.locktype = 'advisory' AND d.datname = current_database() AND l.classid = %s AND l.objid = %s"
        )
        holder = self._ask(connection, query)
        who = "" if holder is None else f" (from {holder[1]}, since {holder[2]}, backend {holder[0]})"
        kind = Unavailable if self._held else Conflict
        return kind(
            f"another isotherm writes to the Postgres database {self._database}{who}, and one database takes one: "
            "stop it, or name another database"
        )

    def _ask(self, connection: Any, query: str) -> Any:
        with contextlib.closing(connection.cursor()) as cursor:
            found = cursor.execute(query, (_lock_family, self._key)).fetchone()
        connection.commit()  # the lock is the session's and stays
        return found


def _connect_args(url: URL, schema: str | None, lock_timeout_s: float) -> dict[str, Any]:
    """libpq's parameters: what the URL says goes before our defaults. `options` sets the schema from the first on."""
    given = {name: value for name, value in url.query.items() if isinstance(value, str)}
    settings = {"lock_timeout": str(round(lock_timeout_s * 1000))} | ({} if schema is None else {"search_path": schema})
    return {**CONNECT_DEFAULTS, **given, "options": startup_options(given.get("options"), settings)}


def _shown(url: str) -> str:
    return url.rpartition("@")[2][:200]


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: the driver would not for reads
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the write lock at once: a transaction that began as a read could fail to become a writer."""
    writes = connection.get_execution_options().get(WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
