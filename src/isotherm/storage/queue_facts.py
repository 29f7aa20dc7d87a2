"""What an operator wants to know of a Postgres that is to hold the queue."""

import time
from typing import Any

import msgspec

from isotherm.base.errors import Unavailable
from isotherm.storage.postgres import connect, postgres_reason
from isotherm.storage.queue_tables import POSTGRES_SCHEMA, VERSION

__all__ = ["QueueFacts", "queue_facts"]

_timeout_s = 5


class QueueFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Seen with the rights of whoever asks."""

    server: str  # its version
    answer_ms: float
    read_only: bool  # a standby, or set so
    fsync: bool
    may_work: bool  # the tables can be made, or are there
    version: int | None  # of the tables; None: they are not there
    hosts: int = 0  # that have a lease

    @property
    def problem(self) -> str | None:
        """Why it cannot be used as it is."""
        if self.read_only:
            return "Postgres is read-only, as a standby is"
        if self.version is not None and self.version > VERSION:
            return f"a newer Isotherm made the queue's tables: version {self.version}, this one knows {VERSION}"
        if not self.may_work:
            return f"the user may not make the schema {POSTGRES_SCHEMA}, nor work in it: make it the database's owner"
        return None


def queue_facts(url: str) -> QueueFacts:
    """`url` is one of `libpq_url`. Raises `Unavailable` where it does not answer, without telling a password."""
    import psycopg

    began_s = time.monotonic()
    options = {"statement_timeout": f"{_timeout_s}s", "default_transaction_read_only": "on"}
    try:
        with connect(url, name="isotherm doctor", options=options, parameters={"connect_timeout": str(_timeout_s)}) as (
            connection
        ):
            return _ask(connection, (time.monotonic() - began_s) * 1000)
    except psycopg.Error as exc:
        raise Unavailable(postgres_reason(exc)) from exc


def _ask(connection: Any, answer_ms: float) -> QueueFacts:
    row = connection.execute(
        "SELECT current_setting('server_version'), pg_is_in_recovery(), current_setting('fsync') = 'on',"
        " to_regclass(%(schema)s || '.meta') IS NOT NULL, CASE WHEN to_regnamespace(%(schema)s) IS NULL"
        " THEN has_database_privilege(current_database(), 'CREATE') ELSE has_schema_privilege(%(schema)s, 'USAGE') END",
        {"schema": POSTGRES_SCHEMA},
    ).fetchone()
    version, hosts = None, 0
    if row[3] and row[4]:
        connection.execute(f"SET search_path = {POSTGRES_SCHEMA}")
        version = int(connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()[0])
        hosts = connection.execute(
            "SELECT count(*) FROM hosts WHERE NOT gone AND expires_at > clock_timestamp()"
        ).fetchone()[0]
    return QueueFacts(
        server=row[0].split(" ")[0],
        answer_ms=answer_ms,
        read_only=row[1],
        fsync=row[2],
        may_work=row[4],
        version=version,
        hosts=hosts,
    )
