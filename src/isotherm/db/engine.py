"""A database: one engine, snapshot reads, and one write transaction at a time.

SQLite runs in WAL mode with `synchronous=FULL`, so what was committed survives a power cut; each file has one writing
process. Postgres takes the same code.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
import structlog
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from isotherm.base.errors import Invalid, IsothermError, Unavailable

__all__ = ["Database"]

_log = structlog.get_logger(__name__)
_pool: dict[str, Any] = {"pool_size": 8, "max_overflow": 32, "pool_timeout": 30, "hide_parameters": True}
_write = "isotherm_write"  # execution option of connections whose transactions write


class Database:
    """Thread-safe. `url` is a SQLAlchemy URL (`sqlite:///…`, `postgresql+psycopg://…`) or the path of a SQLite file.

    Raises `Invalid` where the URL or its driver is unknown.
    """

    def __init__(self, url: str | Path, *, busy_timeout_s: float = 10.0, write_timeout_s: float = 30.0) -> None:
        self.url = f"sqlite:///{url}" if isinstance(url, Path) or "://" not in url else url
        self._write_timeout_s = write_timeout_s
        self._write_lock = threading.RLock()
        self.engine = _create_engine(self.url, busy_timeout_s)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.write_sessions = sessionmaker(self.engine.execution_options(**{_write: True}), expire_on_commit=False)
        snapshots = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._read_sessions = sessionmaker(self.engine.execution_options(**snapshots), expire_on_commit=False)

    @property
    def name(self) -> str:
        """For messages, which clients may see: the database without its place and password."""
        return Path(make_url(self.url).database or "").name

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one consistent snapshot and changes nothing. Raises `Unavailable`."""
        with self._translated(), self._read_sessions() as session:
            yield session
            session.rollback()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction, committed at the end and rolled back where the block raises. Raises `Unavailable`."""
        with self.writing(), self.write_sessions.begin() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The turn to write: writers of this process queue here, in order, rather than in SQLite's busy loop.

        Raises `Unavailable` where the turn does not come in time, or the database cannot be written.
        """
        if not self._write_lock.acquire(timeout=self._write_timeout_s):
            raise Unavailable(f"the database {self.name} was busy for {self._write_timeout_s:g} s", retry_after_s=1.0)
        try:
            with self._translated():
                yield
        finally:
            self._write_lock.release()

    def close(self) -> None:
        """Close all connections; SQLite then folds its write-ahead log into the file."""
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IsothermError:
            raise
        except (DBAPIError, PoolTimeoutError) as exc:
            raise self.failed(exc) from exc

    def failed(self, cause: BaseException) -> Unavailable:
        """What a caller is told; the statement is for the log alone."""
        _log.error("the database failed", database=self.name, reason=str(cause))
        reason = str(cause.args[0] if cause.args else type(cause).__name__).split("\n", 1)[0]
        return Unavailable(f"the database {self.name} failed: {reason}", retry_after_s=1.0)


def _create_engine(url: str, busy_timeout_s: float) -> Engine:
    try:
        dialect = make_url(url).get_backend_name()
        if dialect != "sqlite":
            return sqlalchemy.create_engine(url, **_pool, pool_pre_ping=True)
        engine = sqlalchemy.create_engine(url, **_pool, connect_args={"timeout": busy_timeout_s})
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as exc:
        shown = url.split("@")[-1][:200]
        raise Invalid(
            f"the database URL (…{shown}) cannot be used: {exc}; for example sqlite:////var/lib/x.db"
        ) from exc
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: the driver would not for reads
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the write lock at once: a transaction that began as a read could fail to become a writer."""
    writes = connection.get_execution_options().get(_write, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
