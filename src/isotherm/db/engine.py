"""A database: one engine, snapshot reads, and one write transaction at a time.

SQLite runs in WAL mode with `synchronous=FULL`, so what was committed survives a power cut; each file has one writing
process. Postgres takes the same code; there a lock that lives as long as the writer's connection holds others off.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from isotherm.base.errors import Invalid, IsothermError, Unavailable
from isotherm.db.engines import WRITE, parse_url, postgres_engine, sqlite_engine
from isotherm.db.reasons import reason_of

__all__ = ["Database"]

_log = structlog.get_logger(__name__)


class Database:
    """Thread-safe. `url` is a SQLAlchemy URL (`sqlite:///…`, `postgresql://…`) or the path of a SQLite file.

    `schema`: on Postgres, tables are in this schema of the database, not in `public`. `sole_writer`: on Postgres, all
    that is written goes over one connection that holds a lock; who comes second is refused when it first writes
    (`Conflict`). Raises `Invalid` where the URL or its driver is unknown.
    """

    def __init__(
        self,
        url: str | Path,
        *,
        schema: str | None = None,
        sole_writer: bool = False,
        busy_timeout_s: float = 10.0,
        write_timeout_s: float = 30.0,
    ) -> None:
        parsed = parse_url(url)
        self.url = parsed.render_as_string(hide_password=False)
        self._write_timeout_s = write_timeout_s
        self._write_lock = threading.RLock()
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.schema = None if self.is_sqlite else schema
        self.engine: Engine
        if self.is_sqlite:
            self.engine = self.write_engine = sqlite_engine(parsed, busy_timeout_s)
        else:
            self.engine = postgres_engine(parsed, schema, lock_timeout_s=write_timeout_s)
            self.write_engine = (
                postgres_engine(parsed, schema, lock_timeout_s=write_timeout_s, sole=True)
                if sole_writer
                else self.engine
            )
        # On Postgres a writer must see what was committed before it got its turn, whatever the server's default is.
        committed = {} if self.is_sqlite else {"isolation_level": "READ COMMITTED"}
        self.write_sessions = sessionmaker(
            self.write_engine.execution_options(**{WRITE: True, **committed}), expire_on_commit=False
        )
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
        """The turn to write: writers of this process queue here, in order, rather than in the database's own locks.

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
        self.write_engine.dispose()
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IsothermError:
            raise
        except (DBAPIError, PoolTimeoutError) as exc:
            raise self.failed(exc) from exc

    def failed(self, cause: BaseException) -> IsothermError:
        """What a caller is told; the statement, the server's address and the like are for the log alone."""
        if isinstance(cause, DataError):
            return Invalid(f"the database {self.name} cannot hold this: {reason_of(cause)}")
        _log.error("the database failed", database=self.name, reason=str(cause))
        return Unavailable(f"the database {self.name} failed: {reason_of(cause)}", retry_after_s=1.0)
