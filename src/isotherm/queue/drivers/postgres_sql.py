"""What the driver of Postgres says. No statement waits for another host's: rows that one has locked are skipped (`SKIP
LOCKED`), so hosts cannot lock each other out. All names are of the schema `storage.queue_tables.POSTGRES_SCHEMA`."""

import itertools
from collections.abc import Iterator, Mapping
from functools import cache

from isotherm.queue.drivers.rows import LISTED
from isotherm.queue.model import CallState

__all__ = [
    "ADOPT",
    "CLAIM",
    "COUNTS",
    "COUNT_ANEW",
    "END_LATE",
    "FENCE",
    "FIRST_MOVE",
    "FORGET",
    "FORGET_TRIGGERS",
    "GONE",
    "KEY",
    "LATEST",
    "MOVE",
    "NEXT",
    "PAUSED",
    "PURGE",
    "PURGE_HELD",
    "REDRIVE",
    "SWEEP",
    "USED",
    "WAITING",
    "change_of",
    "follow_of",
    "insert_of",
]

TYPED = {
    "id": "text", "namespace": "text", "name": "text", "qualifier": "text", "source": "text", "principal_id": "text",
    "accepted_at_ms": "bigint", "due_at_ms": "bigint", "attempts": "integer", "hops": "integer", "origin": "text",
    "event": "bytea", "state": "smallint", "host": "text", "claim": "bigint", "size": "integer",
}  # fmt: skip
COLUMNS = ", ".join(TYPED)
CHANGED = {
    "id": "text", "claim": "bigint", "state": "smallint", "due_at_ms": "bigint", "finished_at_ms": "bigint",
    "attempts": "integer", "outcome": "bytea", "added": "integer",
}  # fmt: skip


# Many rows a statement, with numbered parameters: psycopg would look for %s in each of these long texts each time.


@cache
def insert_of(count: int) -> str:
    """Inserts so many calls: `COLUMNS` of each. One that is there already is left as it is."""
    numbers = itertools.count(1)
    rows = ", ".join(row(numbers, TYPED) for _ in range(count))
    return f"INSERT INTO calls ({COLUMNS}) VALUES {rows} ON CONFLICT (id) DO NOTHING"


@cache
def change_of(count: int) -> str:
    """Says of so many calls what became of them, as far as the host holds them: the host, then `CHANGED` of each."""
    return changing(count, itertools.count(1))


@cache
def follow_of(count: int) -> str:
    """As `change_of`, and inserts a call for each that the host held: then the call's id and `COLUMNS`, of each."""
    numbers = itertools.count(1)
    return f"""
WITH ended AS ({changing(count, numbers)} RETURNING calls.id)
INSERT INTO calls ({COLUMNS}) SELECT {", ".join(f"f.{name}" for name in TYPED)}
FROM {table(count, "f", {"after": "text"} | TYPED, numbers)} JOIN ended ON ended.id = f.after
ON CONFLICT (id) DO NOTHING
"""


def changing(count: int, numbers: Iterator[int]) -> str:
    """By the calls' ids: IS TRUE keeps the planner from looking through all calls that the host has claimed."""
    host = f"${next(numbers)}"
    return f"""
UPDATE calls SET state = v.state, claim = 0, due_at_ms = v.due_at_ms, finished_at_ms = v.finished_at_ms,
    attempts = v.attempts, outcome = v.outcome, size = calls.size + v.added
FROM {table(count, "v", CHANGED, numbers)}
WHERE calls.id = v.id AND (calls.claim = v.claim AND calls.host = {host} AND calls.state = 1) IS TRUE
"""


def table(count: int, name: str, columns: Mapping[str, str], numbers: Iterator[int]) -> str:
    """So many rows of parameters as a table."""
    rows = ", ".join(row(numbers, columns) for _ in range(count))
    return f"(VALUES {rows}) AS {name} ({', '.join(columns)})"


def row(numbers: Iterator[int], columns: Mapping[str, str]) -> str:
    return f"({', '.join(f'${next(numbers)}::{kind}' for kind in columns.values())})"


CLAIM = f"""
WITH due AS (
    SELECT number FROM calls
    WHERE host = %(host)s AND state = 0 AND namespace = %(namespace)s AND name = %(name)s AND due_at_ms <= %(now_ms)s
    ORDER BY due_at_ms, number LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE calls SET state = 1, claim = %(claim)s FROM due WHERE calls.number = due.number
RETURNING {", ".join("calls." + each for each in LISTED.split(", "))}
"""
# In the order of the index of open calls, which is so taken rather than that of the function's calls of all states.
NEXT = """
SELECT due_at_ms FROM calls WHERE host = %s AND state = 0 AND namespace = %s AND name = %s
ORDER BY due_at_ms, number LIMIT 1
"""
WAITING = "SELECT namespace, name, min(due_at_ms) FROM calls WHERE host = %s AND state = 0 GROUP BY namespace, name"

# Fencing: who sets `gone` has the host's row, so no transaction of that host is under way.
FENCE = """
UPDATE hosts SET gone = true WHERE host IN (
    SELECT host FROM hosts WHERE expires_at < clock_timestamp() AND NOT gone AND host <> %s FOR UPDATE SKIP LOCKED
)
RETURNING host
"""
# It stands still in the middle of a transaction, or its machine vanished and the server does not know it yet.
END_LATE = """
SELECT pg_terminate_backend(pid) FROM hosts JOIN pg_stat_activity ON application_name = %(name)s || host
WHERE expires_at < clock_timestamp() AND NOT gone AND host <> %(host)s
    AND usename = current_user AND datname = current_database()
"""
# They cannot come back while their calls are taken: the lock makes them wait for it.
GONE = """
SELECT host FROM hosts
WHERE gone AND host <> %s AND EXISTS (SELECT FROM calls WHERE calls.host = hosts.host AND calls.state < 2)
FOR SHARE SKIP LOCKED
"""
ADOPT = """
WITH left_over AS (
    SELECT number FROM calls WHERE host = ANY(%(gone)s) AND state < 2 LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE calls SET host = %(host)s, state = 0, claim = 0 FROM left_over WHERE calls.number = left_over.number
    RETURNING calls.namespace, calls.name, calls.due_at_ms
)
SELECT namespace, name, min(due_at_ms), count(*) FROM taken GROUP BY namespace, name
"""
# Kept for a day: a host that comes back may want to know whether its last transaction was made.
FORGET = """
WITH forgotten AS (
    DELETE FROM hosts WHERE host IN (
        SELECT host FROM hosts WHERE gone AND expires_at < clock_timestamp() - interval '1 day'
            AND NOT EXISTS (SELECT FROM calls WHERE calls.host = hosts.host AND calls.state < 2)
        FOR UPDATE SKIP LOCKED
    )
    RETURNING bytes
)
SELECT coalesce(sum(bytes), 0)::bigint FROM forgotten
"""
PURGE_HELD = """
WITH purged AS (DELETE FROM calls WHERE id = ANY(%s) AND (host = %s AND state < 2) IS TRUE RETURNING size)
SELECT count(*), coalesce(sum(size), 0)::bigint FROM purged
"""
# The states are written out: a plan for any state could not use the indexes, which are of some states alone.
PURGE = {
    state: f"""
WITH purged AS (
    DELETE FROM calls WHERE number IN (
        SELECT number FROM calls WHERE state = {int(state)} AND namespace = %s AND name = %s LIMIT %s
        FOR UPDATE SKIP LOCKED
    )
    RETURNING size
)
SELECT count(*), coalesce(sum(size), 0)::bigint FROM purged
"""
    for state in CallState
}
SWEEP = {
    state: f"""
WITH swept AS (
    DELETE FROM calls WHERE number IN (
        SELECT number FROM calls WHERE state = {int(state)} AND finished_at_ms < %s ORDER BY finished_at_ms LIMIT %s
        FOR UPDATE SKIP LOCKED
    )
    RETURNING size
)
SELECT count(*), coalesce(sum(size), 0)::bigint FROM swept
"""
    for state in CallState
}
REDRIVE = """
UPDATE calls SET state = 4, redriven_to = %s
WHERE number IN (SELECT number FROM calls WHERE id = %s AND (state = 3) IS TRUE FOR UPDATE SKIP LOCKED)
"""
# Not under way in another host's transaction: that one is not waited for.
FIRST_MOVE = """
INSERT INTO positions SELECT %(trigger)s::text, %(position)s::bigint, %(host)s::text
WHERE pg_try_advisory_xact_lock(hashtextextended(%(trigger)s::text, 0)) ON CONFLICT DO NOTHING
"""
MOVE = """
UPDATE positions SET position = %(position)s, host = %(host)s WHERE trigger_id IN (
    SELECT trigger_id FROM positions WHERE trigger_id = %(trigger)s AND position = %(before)s FOR UPDATE SKIP LOCKED
)
"""
FORGET_TRIGGERS = """
DELETE FROM positions WHERE trigger_id IN (
    SELECT trigger_id FROM positions
    WHERE trigger_id <> ALL(%(kept)s::text[])
        AND (host = %(host)s OR host NOT IN (SELECT host FROM hosts WHERE NOT gone))
    FOR UPDATE SKIP LOCKED
)
"""
USED = "SELECT coalesce(sum(bytes), 0)::bigint FROM hosts"
# One statement, and so one snapshot: what others are writing is in neither sum.
COUNT_ANEW = """
UPDATE hosts SET bytes = (SELECT coalesce(sum(size), 0) FROM calls)
    - (SELECT coalesce(sum(bytes), 0) FROM hosts WHERE host <> %(host)s) WHERE host = %(host)s
"""
LATEST = """
SELECT greatest(
    (SELECT max(accepted_at_ms) FROM (SELECT accepted_at_ms FROM calls ORDER BY number DESC LIMIT 1000) AS newest),
    (SELECT max(finished_at_ms) FROM calls WHERE state = 2), 0
)
"""
COUNTS = """
SELECT namespace, name, count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1),
    count(*) FILTER (WHERE state = 2), count(*) FILTER (WHERE state = 3), min(accepted_at_ms) FILTER (WHERE state < 2)
FROM calls WHERE namespace = %(namespace)s OR %(namespace)s::text IS NULL GROUP BY namespace, name
"""
PAUSED = "SELECT namespace, name FROM paused WHERE namespace = %(namespace)s OR %(namespace)s::text IS NULL"
KEY = "INSERT INTO meta VALUES ('key', %s) ON CONFLICT (name) DO UPDATE SET value = meta.value RETURNING value"
