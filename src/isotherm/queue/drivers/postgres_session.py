"""A host's transactions on a queue in Postgres: its lease, the connection made anew, a COMMIT whose answer was lost.

The host's row in `hosts` is locked by each of its transactions and changed by the end of each. So whoever finds that
the lease ran out takes it (`gone`) between two transactions, never within one; after that the host's next transaction
finds the row changed and begins a new lease, under which it holds nothing. And `batch`, the number of the host's last
transaction, tells whether one was made whose answer never came.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.numeric import Int8BinaryDumper

from isotherm.base.errors import IsothermError, Unavailable
from isotherm.queue.drivers.postgres_clock import SharedClock
from isotherm.queue.drivers.postgres_connection import LIMITS, PLANS, Connection, open_connection, translated
from isotherm.storage.queue_tables import prepare_postgres
from isotherm.telemetry.logging import get_logger

__all__ = ["LEASE_S", "WRITER_NAME", "Batch", "Session"]

LEASE_S = 10.0  # a host that was not heard of for so long has lost its calls to others
MARGIN = 0.1  # of the lease: before its end nothing more is begun
SETTLE_S = 5.0  # for the database to come back and say what became of a COMMIT
RETRY_S = 0.5  # between two tries to connect
POLL_S = 0.05

JOIN = """
INSERT INTO hosts (host, batch, expires_at) VALUES (
    %(host)s, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    clock_timestamp() + make_interval(secs => %(lease_s)s)
)
ON CONFLICT (host) DO UPDATE
SET batch = greatest(hosts.batch + 1, excluded.batch), expires_at = excluded.expires_at, gone = false
WHERE %(first)s OR hosts.gone OR hosts.expires_at < clock_timestamp() OR hosts.batch = %(batch)s
RETURNING batch
"""
LOOK = """
SELECT batch, gone, (extract(epoch FROM clock_timestamp()) * 1000)::float8 FROM hosts WHERE host = %s FOR UPDATE
"""
BEGIN = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {LOOK}"
MARK = """
UPDATE hosts SET batch = %(batch)s, expires_at = clock_timestamp() + make_interval(secs => %(lease_s)s),
    bytes = bytes + %(bytes)s WHERE host = %(host)s
"""
WRITER_NAME = "isotherm queue "  # and the host's id: what Postgres shows of the connection
# A connection that this host made before, and that the server does not know to be dead, would hold the host's row.
END_FORMER = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = %s AND usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()
"""
QUEUE_AGAIN = "UPDATE calls SET state = 0, claim = 0 WHERE host = %(host)s AND state = 1"


@dataclass(frozen=True, slots=True)
class Batch:
    """A statement with the values of many rows, that is to change so many. `ends`: these are calls that were held."""

    statement: str
    values: Sequence[Any]
    rows: int
    ends: bool


class Session:
    """Used by one thread; `held_until_s` and `joined` may be read by others."""

    def __init__(self, url: str, host: str, clock: SharedClock, lease_s: float, now: Callable[[], float]) -> None:
        self.batch = 0  # of the last transaction that was made
        self.joined = 0  # what was claimed in an earlier one is lost
        self.held_until_s = 0.0  # until then no other host can have taken what this one holds
        self.steady_since_s = 0.0  # since then no other host can have been kept from renewing its lease
        self.lost = 0
        self.regained = False  # calls were queued again that nobody was told of
        self._url = url
        self._host = host
        self._clock = clock
        self._lease_s = lease_s
        self._now = now
        self._connection: Connection | None = None
        self._unsure: int | None = None  # a transaction of which nobody knows whether it was made
        self._failed: tuple[float, IsothermError] | None = None  # when connecting failed last, and why
        self._log = get_logger("queue")

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            raise Unavailable("the queue is not open")
        return self._connection

    @property
    def next_batch(self) -> int:
        """The number of the transaction that is being made."""
        return self.batch + 1

    def open(self) -> None:
        """Connect and begin a lease. Raises `Unavailable`, `Invalid`."""
        self.close()
        self._failed = self._unsure = None
        with translated():
            self._connection = self._connect()
            prepare_postgres(self._connection)
            self._check_fsync(self._connection)
            self._end_former(self._connection)
            self._join(self._connection, first=True)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def begin(self) -> None:
        """Raises `Unavailable`."""
        with translated():
            try:
                self._begin(self._connected())
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if not self._broken():
                    raise
                self._begin(self._connected())  # it broke while nobody looked; nothing was done in it yet

    def send(self, batches: Sequence[Batch]) -> list[int]:
        """Execute statements in one go. Returns the rows that each changed. Raises `psycopg.Error`."""
        with self.connection.pipeline():
            cursors = self._execute(batches)
        return [cursor.rowcount for cursor in cursors]

    def commit(self, batches: Sequence[Batch], added_bytes: int) -> list[int]:
        """As `send`, and then make all that was done since `begin` durable.

        Raises `Unavailable`: then nothing was made of it, or, where the database does not come back soon, nobody knows.
        """
        connection, began_s = self.connection, self._now()
        mark = {"batch": self.next_batch, "lease_s": self._lease_s, "bytes": added_bytes, "host": self._host}
        with translated():
            try:
                with connection.pipeline():
                    cursors = self._execute(batches)
                    connection.execute(MARK, mark)
                    connection.execute("COMMIT")
                changed = [cursor.rowcount for cursor in cursors]
            except psycopg.Error:
                if not self._broken():
                    raise
                changed = self._settled([batch.rows for batch in batches])
        self.batch += 1
        self.held_until_s = began_s + self._lease_s * (1 - MARGIN)
        return changed

    def rollback(self) -> None:
        if self._connection is None or self._broken():
            return
        with translated():
            self._connection.execute("ROLLBACK")

    # -- inside --------------------------------------------------------------------------------------------------------

    def _execute(self, batches: Sequence[Batch]) -> list[psycopg.RawCursor[Any]]:
        return [psycopg.RawCursor(self.connection).execute(batch.statement, batch.values) for batch in batches]

    def _broken(self) -> bool:
        return self._connection is None or self._connection.closed

    def _connected(self) -> Connection:
        if self._broken():
            if self._failed is not None and self._now() - self._failed[0] < RETRY_S:
                raise self._failed[1]
            try:
                with translated():
                    self._connection = self._connect()
            except IsothermError as error:
                self._failed = (self._now(), error)
                raise
        connection = self.connection
        if self._unsure is not None:
            self._release(connection, self._unsure)
            self._unsure = None
        return connection

    def _connect(self) -> Connection:
        self.close()
        connection = open_connection(self._url, self._name, LIMITS | PLANS)
        try:
            connection.adapters.register_dumper(int, Int8BinaryDumper)  # one type, so one prepared statement
            wait = connection.execute("SHOW synchronous_commit").fetchone()
            if wait is None or wait[0] != "remote_apply":  # which waits for more than `on` does
                connection.execute("SET synchronous_commit = on")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_fsync(self, connection: Connection) -> None:
        fsync = connection.execute("SHOW fsync").fetchone()
        if fsync is not None and fsync[0] == "off":
            self._log.warning("Postgres runs with fsync = off: calls that were accepted do not outlive its power cut")

    @property
    def _name(self) -> str:
        return WRITER_NAME + self._host

    def _begin(self, connection: Connection) -> None:
        for _ in range(2):
            sent_s = self._now()
            # One message, and no pipeline: behind one the server does not count how long a transaction stands still.
            cursor = psycopg.ClientCursor(connection)
            cursor.execute(BEGIN, (self._host,))
            cursor.nextset()
            row = cursor.fetchone()
            got_s = self._now()
            if row is not None:
                smooth = self._clock.tell(row[2], (sent_s + got_s) / 2)
                if not smooth or got_s > self.held_until_s:
                    self.steady_since_s = got_s
                if row[0] == self.batch and not row[1]:
                    return
            connection.execute("ROLLBACK")
            self._lose(connection)
        raise Unavailable("this host cannot keep its lease on the queue; try again", retry_after_s=1.0)

    def _lose(self, connection: Connection) -> None:
        self.held_until_s = 0.0
        self._join(connection, first=False)
        self.lost += 1
        self._log.warning("this host was not heard of for too long: what it held of the queue, others may have made")

    def _join(self, connection: Connection, *, first: bool) -> None:
        """Begin a lease. What the host held before it is queued again, as far as no other host took it over."""
        began_s = self._now()
        values = {"host": self._host, "lease_s": self._lease_s, "first": first, "batch": self.batch}
        with connection.transaction():
            row = connection.execute(JOIN, values).fetchone()
            if row is None:
                raise Unavailable(
                    f"another host with the id {self._host} uses this queue: where a data folder was copied, remove "
                    "host/id from the copy",
                    retry_after_s=1.0,
                )
            connection.execute(QUEUE_AGAIN, values)
        self.batch = self.joined = int(row[0])
        self.regained = True
        self.steady_since_s = self._now()
        self.held_until_s = began_s + self._lease_s * (1 - MARGIN)

    def _end_former(self, connection: Connection) -> None:
        connection.execute(END_FORMER, (self._name,))

    def _settled(self, changed: list[int]) -> list[int]:
        """What a COMMIT did whose answer was lost: `changed`. Raises `psycopg.Error` where it was not made."""
        deadline_s = self._now() + SETTLE_S
        while True:
            try:
                self._connection = self._connect()
                made = self._made(self._connection, self.next_batch)
                break
            except psycopg.Error:
                if self._now() > deadline_s:
                    self._unsure = self.next_batch
                    raise
                time.sleep(POLL_S)
        if not made:
            raise Unavailable("the connection to Postgres broke, and nothing was written; try again", retry_after_s=1.0)
        return changed

    def _made(self, connection: Connection, batch: int) -> bool:
        """Whether that transaction was made. Waits for its end: it has the host's row locked until then."""
        self._end_former(connection)
        row = connection.execute(LOOK, (self._host,)).fetchone()
        return row is not None and row[0] == batch

    def _release(self, connection: Connection, batch: int) -> None:
        """Queue again what was claimed in a transaction that was made after all, though it was said to have failed."""
        if not self._made(connection, batch):
            return
        connection.execute(QUEUE_AGAIN + " AND claim = %(claim)s", {"host": self._host, "claim": batch})
        self.batch = batch
        self.regained = True
