"""The queue in a SQLite file of its own, which one host process writes: WAL, `synchronous=FULL`, events sealed."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from isotherm.base.clock import Clock
from isotherm.base.errors import Unavailable
from isotherm.queue.drivers.rows import LISTED, STORED, CallRows, counted, flat, parts
from isotherm.queue.model import AsyncCall, CallRow, CallState, Counts, News, Outcome, Waiting
from isotherm.storage.queue_tables import OPEN, OVER, prepare_sqlite
from isotherm.storage.vault import Vault

__all__ = ["SqliteQueue"]

BUSY_S = 5.0
INSERTED = LISTED.removeprefix("number, ") + ", state"


class SqliteQueue:
    """See `queue.port.QueueStore`. A second connection reads, so that looking at the queue holds up no call."""

    def __init__(self, path: Path, vault: Vault) -> None:
        self.fenced = self.lost = 0  # no other host can take a call
        self._path = path
        self._rows = CallRows(vault)
        self._inserts: list[tuple[object, ...]] = []  # of this transaction, until something has to see them
        self._changes: list[tuple[object, ...]] = []
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None

    def clock(self, host: Clock) -> Clock:
        return host

    def may_begin(self) -> bool:
        return True

    def stale(self, _call: AsyncCall) -> bool:
        return False

    def open(self) -> list[Waiting]:
        with translated(self._path):
            self._writer = self._connect()
            if prepare_sqlite(self._writer, str(self._path)):
                self._path.chmod(0o600)
            self._reader = self._connect()
            self._writer.execute(
                f"UPDATE calls SET state = ? WHERE state = ? AND {OPEN}", (CallState.QUEUED, CallState.CLAIMED)
            )
            rows = self._writer.execute(
                f"SELECT namespace, name, min(due_at_ms) FROM calls WHERE state = ? AND {OPEN}"
                " GROUP BY namespace, name",
                (CallState.QUEUED,),
            )
            return [Waiting(*row) for row in rows]

    def close(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    # -- writing -------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        with translated(self._path):
            self._write.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._flush()
        with translated(self._path):
            self._write.execute("COMMIT")

    def rollback(self) -> None:
        self._inserts.clear()
        self._changes.clear()
        with translated(self._path):
            if self._write.in_transaction:
                self._write.execute("ROLLBACK")

    def insert(self, call: AsyncCall, *, claimed: bool) -> None:
        event = self._rows.event(call)
        self._inserts.append(
            (
                call.id, call.namespace, call.name, call.qualifier, call.source, call.principal_id, call.accepted_at_ms,
                call.due_at_ms, call.attempts, call.hops, call.origin, event,
                CallState.CLAIMED if claimed else CallState.QUEUED,
            )
        )  # fmt: skip

    def finish(
        self, call: AsyncCall, state: CallState, finished_at_ms: int, outcome: Outcome, following: AsyncCall | None
    ) -> None:
        sealed = self._rows.outcome(call.id, outcome)
        self._changes.append((call.id, state, call.due_at_ms, finished_at_ms, call.attempts, sealed))
        if following is not None:
            self.insert(following, claimed=False)

    def postpone(self, call: AsyncCall, outcome: Outcome) -> None:
        sealed = self._rows.outcome(call.id, outcome)
        self._changes.append((call.id, CallState.QUEUED, call.due_at_ms, None, call.attempts, sealed))

    def news(self, _limit: int, *, adopt: bool) -> News:
        return News()

    def claim(self, namespace: str, name: str, now_ms: int, limit: int) -> tuple[list[AsyncCall], int | None]:
        self._flush()
        with translated(self._path):
            rows = self._write.execute(
                f"UPDATE calls SET state = ? WHERE number IN (SELECT number FROM calls WHERE state = ? AND {OPEN}"
                " AND namespace = ? AND name = ? AND due_at_ms <= ? ORDER BY due_at_ms, number LIMIT ?)"
                f" RETURNING {LISTED}",
                (CallState.CLAIMED, CallState.QUEUED, namespace, name, now_ms, limit),
            ).fetchall()
            following = self._write.execute(
                f"SELECT min(due_at_ms) FROM calls WHERE state = ? AND {OPEN} AND namespace = ? AND name = ?",
                (CallState.QUEUED, namespace, name),
            ).fetchone()[0]
        rows.sort(key=lambda row: (row[8], row[0]))
        return [self._rows.call(row) for row in rows], following

    def purge(self, namespace: str, name: str, state: CallState, held: Sequence[str], limit: int) -> int:
        self._flush()
        among = OPEN if state < CallState.SUCCEEDED else OVER
        with translated(self._path):
            gone = self._write.executemany(
                f"DELETE FROM calls WHERE id = ? AND {OPEN}", [(one,) for one in held]
            ).rowcount
            gone += self._write.execute(
                f"DELETE FROM calls WHERE number IN (SELECT number FROM calls WHERE state = ? AND {among}"
                " AND namespace = ? AND name = ? LIMIT ?)",
                (state, namespace, name, limit),
            ).rowcount
        return max(0, gone)

    def redrive(self, dead: CallRow, call: AsyncCall) -> bool:
        self._flush()
        with translated(self._path):
            changed = self._write.execute(
                "UPDATE calls SET state = ?, redriven_to = ? WHERE id = ? AND state = ?",
                (CallState.REDRIVEN, call.id, dead.call.id, CallState.DEAD),
            ).rowcount
        if changed:
            self.insert(call, claimed=False)
        return bool(changed)

    def pause(self, namespace: str, name: str, *, paused: bool) -> None:
        statement = "INSERT OR IGNORE INTO paused VALUES (?, ?)" if paused else (
            "DELETE FROM paused WHERE namespace = ? AND name = ?"
        )  # fmt: skip
        with translated(self._path):
            self._write.execute(statement, (namespace, name))

    def position(self, trigger: str) -> int | None:
        with translated(self._path):
            row = self._write.execute("SELECT position FROM positions WHERE trigger_id = ?", (trigger,)).fetchone()
        return None if row is None else int(row[0])

    def move(self, trigger: str, position: int, before: int | None) -> bool:
        statement = "INSERT OR IGNORE INTO positions VALUES (?, ?)" if before is None else (
            "UPDATE positions SET position = ?2 WHERE trigger_id = ?1 AND position = ?3"
        )  # fmt: skip
        values = (trigger, position) if before is None else (trigger, position, before)
        with translated(self._path):
            return self._write.execute(statement, values).rowcount == 1

    def forget_triggers(self, kept: Sequence[str]) -> None:
        with translated(self._path):
            known = {row[0] for row in self._write.execute("SELECT trigger_id FROM positions")}
            self._write.executemany("DELETE FROM positions WHERE trigger_id = ?", [(one,) for one in known - set(kept)])

    def sweep(self, state: CallState, before_ms: int, limit: int) -> int:
        self._flush()
        with translated(self._path):
            return self._write.execute(
                f"DELETE FROM calls WHERE number IN (SELECT number FROM calls WHERE state = ? AND {OVER}"
                " AND finished_at_ms < ? ORDER BY finished_at_ms LIMIT ?)",
                (state, before_ms, limit),
            ).rowcount

    def paused(self) -> list[tuple[str, str]]:
        with translated(self._path):
            return [(row[0], row[1]) for row in self._write.execute("SELECT namespace, name FROM paused")]

    def used_bytes(self) -> int:
        with translated(self._path):
            size, pages, free = (
                int(self._write.execute(f"PRAGMA {what}").fetchone()[0])
                for what in ("page_size", "page_count", "freelist_count")
            )
        return size * (pages - free)

    def latest_ms(self) -> int:
        with translated(self._path):
            row = self._write.execute(
                "SELECT max(ifnull((SELECT max(accepted_at_ms) FROM (SELECT accepted_at_ms FROM calls ORDER BY number"
                " DESC LIMIT 1000)), 0),"
                f" ifnull((SELECT max(finished_at_ms) FROM calls WHERE state = 2 AND {OVER}), 0))"
            ).fetchone()
        return int(row[0])

    # -- reading -------------------------------------------------------------------------------------------------------

    def find(self, call_id: str) -> CallRow | None:
        with translated(self._path):
            row = self._read.execute(f"SELECT {STORED} FROM calls WHERE id = ?", (call_id,)).fetchone()
        return None if row is None else self._rows.stored(row)

    def page(
        self, namespace: str, name: str | None, state: CallState | None, below: int | None, limit: int
    ) -> list[tuple[int, CallRow]]:
        clauses, values = ["namespace = ?"], [namespace]
        given: list[tuple[str, str | int | None]] = [("name = ?", name), ("state = ?", state), ("number < ?", below)]
        clauses += [clause for clause, value in given if value is not None]
        parameters = [*values, *(value for _, value in given if value is not None), limit]
        with translated(self._path):
            rows = self._read.execute(
                f"SELECT {STORED} FROM calls WHERE {' AND '.join(clauses)} ORDER BY number DESC LIMIT ?",
                parameters,
            ).fetchall()
        return [(row[0], self._rows.stored(row)) for row in rows]

    def counts(self, namespace: str | None) -> list[Counts]:
        where, values = ("", ()) if namespace is None else ("WHERE namespace = ?", (namespace,))
        with translated(self._path):
            rows = self._read.execute(
                "SELECT namespace, name, sum(state = 0), sum(state = 1), sum(state = 2), sum(state = 3),"
                f" min(CASE WHEN state < 2 THEN accepted_at_ms END) FROM calls {where} GROUP BY namespace, name",
                values,
            ).fetchall()
            paused = self._read.execute(f"SELECT namespace, name FROM paused {where}", values).fetchall()
        return counted(rows, paused)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Many rows a statement: the thread gives the interpreter away at each, and waits for it behind the loop."""
        inserts, changes = self._inserts, self._changes
        self._inserts, self._changes = [], []
        with translated(self._path):
            for part in parts(inserts):
                self._write.execute(insert_of(len(part)), flat(part))
            for part in parts(changes):
                self._write.execute(change_of(len(part)), flat(part))

    @property
    def _write(self) -> sqlite3.Connection:
        if self._writer is None:
            raise Unavailable("the queue is not open")
        return self._writer

    @property
    def _read(self) -> sqlite3.Connection:
        if self._reader is None:
            raise Unavailable("the queue is not open")
        return self._reader

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection


@cache
def insert_of(count: int) -> str:
    """A statement that inserts so many calls."""
    return f"INSERT INTO calls ({INSERTED}) VALUES {places(count, INSERTED.count(',') + 1)}"


@cache
def change_of(count: int) -> str:
    """A statement that says of so many open calls what became of them."""
    return (
        "UPDATE calls SET state = column2, due_at_ms = column3, finished_at_ms = column4, attempts = column5,"
        f" outcome = column6 FROM (VALUES {places(count, 6)}) WHERE id = column1 AND {OPEN}"
    )


def places(rows: int, columns: int) -> str:
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as ours; what the file says is for operators, who see this in the log."""
    try:
        yield
    except sqlite3.Error as exc:
        raise Unavailable(f"the queue {path.name} cannot be used: {exc}", retry_after_s=1.0) from exc
