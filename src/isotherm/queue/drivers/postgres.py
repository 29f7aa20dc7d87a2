"""The queue in Postgres, which hosts share: each has calls of its own, and takes over those of hosts that are gone.

A call belongs to the host that accepted it, which alone claims it, as long as it keeps its lease (`postgres_session`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from isotherm.base.clock import Clock
from isotherm.base.errors import Unavailable
from isotherm.queue.drivers import postgres_sql as sql
from isotherm.queue.drivers.postgres_clock import SharedClock, boottime_s
from isotherm.queue.drivers.postgres_connection import LIMITS, Connection, open_connection, translated
from isotherm.queue.drivers.postgres_session import LEASE_S, WRITER_NAME, Batch, Session
from isotherm.queue.drivers.rows import STORED, CallRows, counted, flat, parts
from isotherm.queue.model import AsyncCall, CallRow, CallState, Counts, News, Outcome, Waiting
from isotherm.storage.queue_tables import ROW_BYTES
from isotherm.storage.vault import Vault

__all__ = ["PostgresQueue"]


class PostgresQueue:
    """See `queue.port.QueueStore`. `url` is one of `storage.postgres.libpq_url`, `host_id` stays over restarts.

    What is inserted, finished and postponed is sent with the COMMIT, in one go. A second connection reads.
    """

    def __init__(
        self,
        url: str,
        vault: Vault,
        host_id: str,
        *,
        lease_s: float = LEASE_S,
        now: Callable[[], float] = boottime_s,
    ) -> None:
        self.fenced = 0
        self._url = url
        self._host = host_id
        self._lease_s = lease_s
        self._now = now
        self._rows = CallRows(vault)
        self._key = vault.fingerprint("queue", b"isotherm")
        self._clock = SharedClock(now)
        self._session = Session(url, host_id, self._clock, lease_s, now)
        self._reader: Connection | None = None
        self._inserts: list[tuple[Any, ...]] = []  # of this transaction, until something has to see them
        self._changes: list[tuple[Any, ...]] = []
        self._followed: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = []
        self._added_bytes = 0
        self._told_regained = False
        self._count_anew = False

    # -- for the loop --------------------------------------------------------------------------------------------------

    @property
    def lost(self) -> int:
        return self._session.lost

    def clock(self, host: Clock) -> Clock:
        return self._clock.beside(host)

    def may_begin(self) -> bool:
        return self._now() < self._session.held_until_s

    def stale(self, call: AsyncCall) -> bool:
        return call.claim < self._session.joined

    # -- open and close ------------------------------------------------------------------------------------------------

    def open(self) -> list[Waiting]:
        self._session.open()
        self._forget_transaction()
        self._count_anew = True
        with translated():
            self._check_key(self._session.connection)
        self.begin()
        try:
            with translated():
                waiting = [Waiting(*row) for row in self._session.connection.execute(sql.WAITING, (self._host,))]
            self.commit()
        except BaseException:
            self.rollback()
            raise
        self._session.regained = False
        return waiting

    def close(self) -> None:
        self._session.close()
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    # -- writing -------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._forget_transaction()
        self._session.begin()

    def commit(self) -> None:
        batches = self._batches()
        self._account(batches, self._session.commit(batches, self._added_bytes))
        if self._told_regained:
            self._session.regained = False
        self._forget_transaction()

    def rollback(self) -> None:
        self._forget_transaction()
        self._session.rollback()

    def insert(self, call: AsyncCall, *, claimed: bool) -> None:
        self._inserts.append(self._values(call, claimed=claimed))

    def finish(
        self, call: AsyncCall, state: CallState, finished_at_ms: int, outcome: Outcome, following: AsyncCall | None
    ) -> None:
        sealed = self._rows.outcome(call.id, outcome)
        self._added_bytes += len(sealed)
        values = (
            call.id, call.claim, int(state), call.due_at_ms, finished_at_ms, call.attempts, sealed, len(sealed)
        )  # fmt: skip
        if following is None:
            self._changes.append(values)
        else:
            self._followed.append((values, (call.id, *self._values(following, claimed=False))))

    def postpone(self, call: AsyncCall, outcome: Outcome) -> None:
        sealed = self._rows.outcome(call.id, outcome)  # of a failure: it is within `ROW_BYTES`, or not much more
        self._changes.append((call.id, call.claim, 0, call.due_at_ms, None, call.attempts, sealed, 0))

    def claim(self, namespace: str, name: str, now_ms: int, limit: int) -> tuple[list[AsyncCall], int | None]:
        claim = self._session.next_batch
        values = {"host": self._host, "namespace": namespace, "name": name, "now_ms": now_ms, "limit": limit}
        with translated():
            connection = self._flushed()
            rows = connection.execute(sql.CLAIM, values | {"claim": claim}, binary=True).fetchall()
            left = connection.execute(sql.NEXT, (self._host, namespace, name)).fetchone()
        rows.sort(key=lambda row: (row[8], row[0]))
        return [self._rows.call(row, claim) for row in rows], None if left is None else left[0]

    def news(self, limit: int, *, adopt: bool) -> News:
        adopted, waiting = 0, []
        with translated():
            connection = self._flushed()
            if adopt and self._now() - self._session.steady_since_s > self._lease_s:
                taken = self._adopt(connection, limit)
                waiting = [Waiting(*row[:3]) for row in taken]
                adopted = sum(row[3] for row in taken)
            if self._session.regained:
                waiting = [Waiting(*row) for row in connection.execute(sql.WAITING, (self._host,))]
                self._told_regained = True
            paused = {(row[0], row[1]) for row in connection.execute(sql.PAUSED, {"namespace": None})}
        return News(waiting=waiting, adopted=adopted, paused=paused)

    def purge(self, namespace: str, name: str, state: CallState, held: Sequence[str], limit: int) -> int:
        gone = self._delete(sql.PURGE_HELD, (list(held), self._host)) if held else 0
        return gone + self._delete(sql.PURGE[state], (namespace, name, limit))

    def redrive(self, dead: CallRow, call: AsyncCall) -> bool:
        with translated():
            changed = self._flushed().execute(sql.REDRIVE, (call.id, dead.call.id)).rowcount
        if changed:
            self.insert(call, claimed=False)
        return bool(changed)

    def pause(self, namespace: str, name: str, *, paused: bool) -> None:
        statement = "INSERT INTO paused VALUES (%s, %s) ON CONFLICT DO NOTHING" if paused else (
            "DELETE FROM paused WHERE namespace = %s AND name = %s"
        )  # fmt: skip
        with translated():
            self._flushed().execute(statement, (namespace, name))

    def position(self, trigger: str) -> int | None:
        with translated():
            row = self._flushed().execute("SELECT position FROM positions WHERE trigger_id = %s", (trigger,)).fetchone()
        return None if row is None else int(row[0])

    def move(self, trigger: str, position: int, before: int | None) -> bool:
        values = {"trigger": trigger, "position": position, "before": before, "host": self._host}
        with translated():
            return self._flushed().execute(sql.FIRST_MOVE if before is None else sql.MOVE, values).rowcount == 1

    def forget_triggers(self, kept: Sequence[str]) -> None:
        with translated():
            self._flushed().execute(sql.FORGET_TRIGGERS, {"kept": list(kept), "host": self._host})

    def sweep(self, state: CallState, before_ms: int, limit: int) -> int:
        return self._delete(sql.SWEEP[state], (before_ms, limit))

    def paused(self) -> list[tuple[str, str]]:
        with translated():
            return [(row[0], row[1]) for row in self._flushed().execute(sql.PAUSED, {"namespace": None})]

    def used_bytes(self) -> int:
        with translated():
            connection = self._flushed()
            if self._count_anew:
                connection.execute(sql.COUNT_ANEW, {"host": self._host})
                self._count_anew, self._added_bytes = False, 0
            return self._one(sql.USED) + self._added_bytes

    def latest_ms(self) -> int:
        with translated():
            return self._one(sql.LATEST)

    # -- reading -------------------------------------------------------------------------------------------------------

    def find(self, call_id: str) -> CallRow | None:
        if "\0" in call_id:
            return None
        rows = self._read(f"SELECT {STORED} FROM calls WHERE id = %s", (call_id,))
        return self._rows.stored(rows[0]) if rows else None

    def page(
        self, namespace: str, name: str | None, state: CallState | None, below: int | None, limit: int
    ) -> list[tuple[int, CallRow]]:
        given: list[tuple[str, Any]] = [
            ("namespace = %s", namespace),
            ("name = %s", name),
            ("state = %s", None if state is None else int(state)),
            ("number < %s", below),
        ]
        clauses = " AND ".join(clause for clause, value in given if value is not None)
        values = [value for _, value in given if value is not None]
        rows = self._read(f"SELECT {STORED} FROM calls WHERE {clauses} ORDER BY number DESC LIMIT %s", (*values, limit))
        return [(row[0], self._rows.stored(row)) for row in rows]

    def counts(self, namespace: str | None) -> list[Counts]:
        values = {"namespace": namespace}
        return counted(self._read(sql.COUNTS, values), self._read(sql.PAUSED, values))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _values(self, call: AsyncCall, *, claimed: bool) -> tuple[Any, ...]:
        """The values of `sql.COLUMNS`."""
        event = self._rows.event(call)
        size = ROW_BYTES + len(event)
        call.claim = self._session.next_batch if claimed else 0
        self._added_bytes += size
        return (
            call.id, call.namespace, call.name, call.qualifier, call.source, call.principal_id, call.accepted_at_ms,
            call.due_at_ms, call.attempts, call.hops, call.origin, event, int(claimed), self._host, call.claim, size,
        )  # fmt: skip

    def _batches(self) -> list[Batch]:
        """What was said so far, many rows a statement: the thread gives the interpreter away at each."""
        inserts, changes, followed = self._inserts, self._changes, self._followed
        self._inserts, self._changes, self._followed = [], [], []
        batches = [
            Batch(sql.change_of(len(part)), [self._host, *flat(part)], len(part), ends=True) for part in parts(changes)
        ]
        for pairs in parts(followed):
            values = [self._host, *flat(ended for ended, _ in pairs), *flat(then for _, then in pairs)]
            batches.append(Batch(sql.follow_of(len(pairs)), values, len(pairs), ends=True))
        batches += [Batch(sql.insert_of(len(part)), flat(part), len(part), ends=False) for part in parts(inserts)]
        return batches

    def _flushed(self) -> Connection:
        """The connection, once what was said so far is sent. Within `translated`."""
        connection = self._session.connection
        batches = self._batches()
        if batches:
            self._account(batches, self._session.send(batches))
        return connection

    def _account(self, batches: list[Batch], changed: list[int]) -> None:
        for batch, count in zip(batches, changed, strict=True):
            if count != batch.rows:
                self._count_anew = True  # what was added to the size is not in the rows
                self.fenced += (batch.rows - count) if batch.ends else 0

    def _forget_transaction(self) -> None:
        self._inserts.clear()
        self._changes.clear()
        self._followed.clear()
        self._added_bytes = 0
        self._told_regained = False

    def _adopt(self, connection: Connection, limit: int) -> list[tuple[Any, ...]]:
        connection.execute(sql.FENCE, (self._host,))
        connection.execute(sql.END_LATE, {"name": WRITER_NAME, "host": self._host})
        gone = [row[0] for row in connection.execute(sql.GONE, (self._host,))]
        if not gone:
            self._added_bytes += self._one(sql.FORGET)
            return []
        return connection.execute(sql.ADOPT, {"gone": gone, "host": self._host, "limit": limit}).fetchall()

    def _delete(self, statement: str, values: tuple[Any, ...]) -> int:
        with translated():
            row = self._flushed().execute(statement, values).fetchone()
        if row is None:
            return 0
        self._added_bytes -= row[1]
        return int(row[0])

    def _one(self, statement: str) -> int:
        row = self._flushed().execute(statement).fetchone()
        return 0 if row is None else int(row[0])

    def _check_key(self, connection: Connection) -> None:
        row = connection.execute(sql.KEY, (self._key,)).fetchone()
        if row is None or row[0] != self._key:
            raise Unavailable(
                "the queue's events are sealed under another master key than this host's: start it with the key of the "
                "hosts that share this queue (ISOTHERM_MASTER_KEY, or keys/master.key)"
            )

    def _read(self, statement: str, values: Any) -> list[tuple[Any, ...]]:
        with translated():
            try:
                return self._reading().execute(statement, values).fetchall()
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if self._reader is not None and not self._reader.closed:
                    raise
                return self._reading().execute(statement, values).fetchall()  # it broke while nobody read

    def _reading(self) -> Connection:
        if self._reader is None or self._reader.closed:
            settings = LIMITS | {"default_transaction_read_only": "on"}
            self._reader = open_connection(self._url, f"isotherm queue reader {self._host}"[:63], settings)
        return self._reader
