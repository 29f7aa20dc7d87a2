"""The queue in a SQLite file of its own, which one host process writes: WAL, `synchronous=FULL`, events sealed."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.errors import Unavailable
from isotherm.queue.model import AsyncCall, CallRow, CallState, Counts, Outcome, Waiting
from isotherm.storage.vault import Vault

__all__ = ["SqliteQueue"]

PURPOSE = "queued call"
BUSY_S = 5.0
SCHEMA = 1
LISTED = (
    "number, id, namespace, name, qualifier, source, principal_id, accepted_at_ms, due_at_ms, attempts, hops, origin"
)
STORED = LISTED + ", event, state, finished_at_ms, outcome, redriven_to"
INSERTED = LISTED.removeprefix("number, ") + ", event, state"
ROWS_AT_ONCE = (64, 16, 4, 1)  # of one statement: few different ones, so that each stays prepared

# A partial index is taken only where its condition stands in the statement as it stands in the index.
OPEN, OVER = "state < 2", "state >= 2"

TABLES = f"""
CREATE TABLE calls (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    qualifier TEXT,
    source TEXT NOT NULL,
    principal_id TEXT,
    accepted_at_ms INTEGER NOT NULL,
    due_at_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    hops INTEGER NOT NULL,
    origin TEXT,
    event BLOB NOT NULL,
    state INTEGER NOT NULL,
    finished_at_ms INTEGER,
    outcome BLOB,
    redriven_to TEXT
) STRICT;
CREATE INDEX calls_open ON calls (state, namespace, name, due_at_ms, number) WHERE {OPEN};
CREATE INDEX calls_over ON calls (state, finished_at_ms) WHERE {OVER};
CREATE INDEX calls_of_function ON calls (namespace, name, number);
CREATE TABLE paused (namespace TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (namespace, name)) STRICT, WITHOUT ROWID;
CREATE TABLE positions (trigger_id TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""

encode = msgspec.msgpack.Encoder().encode
event_decoder = msgspec.msgpack.Decoder(tuple[str, bytes])
outcome_decoder = msgspec.msgpack.Decoder(Outcome)


class SqliteQueue:
    """See `queue.port.QueueStore`. A second connection reads, so that looking at the queue holds up no call."""

    def __init__(self, path: Path, vault: Vault) -> None:
        self._path = path
        self._vault = vault
        self._inserts: list[tuple[object, ...]] = []  # of this transaction, until something has to see them
        self._changes: list[tuple[object, ...]] = []
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None

    def open(self) -> list[Waiting]:
        with translated(self._path):
            self._writer = self._connect()
            self._prepare(self._writer)
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
        event = self._vault.seal(PURPOSE, encode((call.client_context, call.event)), call.id)
        self._inserts.append(
            (
                call.id, call.namespace, call.name, call.qualifier, call.source, call.principal_id, call.accepted_at_ms,
                call.due_at_ms, call.attempts, call.hops, call.origin, event,
                CallState.CLAIMED if claimed else CallState.QUEUED,
            )
        )  # fmt: skip

    def finish(self, call: AsyncCall, state: CallState, finished_at_ms: int, outcome: Outcome) -> None:
        self._changes.append(
            (call.id, state, call.due_at_ms, finished_at_ms, call.attempts, self._sealed(call.id, outcome))
        )

    def postpone(self, call: AsyncCall, outcome: Outcome) -> None:
        self._changes.append(
            (call.id, CallState.QUEUED, call.due_at_ms, None, call.attempts, self._sealed(call.id, outcome))
        )

    def claim(self, namespace: str, name: str, now_ms: int, limit: int) -> tuple[list[AsyncCall], int | None]:
        self._flush()
        with translated(self._path):
            rows = self._write.execute(
                f"UPDATE calls SET state = ? WHERE number IN (SELECT number FROM calls WHERE state = ? AND {OPEN}"
                " AND namespace = ? AND name = ? AND due_at_ms <= ? ORDER BY due_at_ms, number LIMIT ?)"
                f" RETURNING {LISTED}, event",
                (CallState.CLAIMED, CallState.QUEUED, namespace, name, now_ms, limit),
            ).fetchall()
            following = self._write.execute(
                f"SELECT min(due_at_ms) FROM calls WHERE state = ? AND {OPEN} AND namespace = ? AND name = ?",
                (CallState.QUEUED, namespace, name),
            ).fetchone()[0]
        rows.sort(key=lambda row: (row[8], row[0]))
        return [self._call(row) for row in rows], following

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

    def move(self, trigger: str, position: int) -> None:
        with translated(self._path):
            self._write.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (trigger, position))

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
        return None if row is None else self._row(row)

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
        return [(row[0], self._row(row)) for row in rows]

    def counts(self, namespace: str | None) -> list[Counts]:
        where, values = ("", ()) if namespace is None else ("WHERE namespace = ?", (namespace,))
        with translated(self._path):
            rows = self._read.execute(
                "SELECT namespace, name, sum(state = 0), sum(state = 1), sum(state = 2), sum(state = 3),"
                f" min(CASE WHEN state < 2 THEN accepted_at_ms END) FROM calls {where} GROUP BY namespace, name",
                values,
            ).fetchall()
            paused = set(self._read.execute(f"SELECT namespace, name FROM paused {where}", values))
        found = {
            (row[0], row[1]): Counts(
                namespace=row[0], name=row[1], queued=row[2], claimed=row[3], succeeded=row[4], dead=row[5],
                oldest_ms=row[6], paused=(row[0], row[1]) in paused,
            )
            for row in rows
        }  # fmt: skip
        for one in paused - set(found):
            found[one] = Counts(
                namespace=one[0], name=one[1], queued=0, claimed=0, succeeded=0, dead=0, oldest_ms=None, paused=True
            )
        return [found[key] for key in sorted(found)]

    # -- inside --------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Many rows a statement: the thread gives the interpreter away at each, and waits for it behind the loop."""
        inserts, changes = self._inserts, self._changes
        self._inserts, self._changes = [], []
        with translated(self._path):
            for count, values in portions(inserts):
                self._write.execute(insert_of(count), values)
            for count, values in portions(changes):
                self._write.execute(change_of(count), values)

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

    def _prepare(self, connection: sqlite3.Connection) -> None:
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if found > SCHEMA:
            raise Unavailable(
                f"{self._path} has the schema {found}, this version of Isotherm knows {SCHEMA}: a newer version made it"
            )
        if found < SCHEMA:
            connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
            self._path.chmod(0o600)

    def _sealed(self, call_id: str, outcome: Outcome) -> bytes:
        return self._vault.seal(PURPOSE, encode(outcome), call_id)

    def _call(self, row: tuple[Any, ...]) -> AsyncCall:
        """From the columns of `LISTED` and the event."""
        client_context, event = event_decoder.decode(self._vault.open(PURPOSE, row[12], row[1]))
        return AsyncCall(
            id=row[1],
            namespace=row[2],
            name=row[3],
            qualifier=row[4],
            source=row[5],
            principal_id=row[6],
            client_context=client_context,
            event=event,
            accepted_at_ms=row[7],
            due_at_ms=row[8],
            attempts=row[9],
            hops=row[10],
            origin=row[11],
        )

    def _row(self, row: tuple[Any, ...]) -> CallRow:
        """From the columns of `STORED`."""
        call = self._call(row)
        state, finished_at_ms, sealed, redriven_to = row[13:]
        outcome = None if sealed is None else outcome_decoder.decode(self._vault.open(PURPOSE, sealed, call.id))
        return CallRow(
            call=call, state=CallState(state), finished_at_ms=finished_at_ms, outcome=outcome, redriven_to=redriven_to
        )


def portions(rows: list[tuple[object, ...]]) -> Iterator[tuple[int, list[object]]]:
    """Numbers of rows of `ROWS_AT_ONCE`, and their values one after the other."""
    at = 0
    while at < len(rows):
        count = next(size for size in ROWS_AT_ONCE if size <= len(rows) - at)
        yield count, [value for row in rows[at : at + count] for value in row]
        at += count


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
