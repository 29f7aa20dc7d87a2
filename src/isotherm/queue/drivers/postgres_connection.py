"""How the queue's connections to Postgres are made, and what their errors mean."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from isotherm.base.errors import Invalid, Unavailable
from isotherm.storage.postgres import connect, postgres_reason
from isotherm.storage.queue_tables import POSTGRES_SCHEMA

__all__ = ["LIMITS", "PLANS", "Connection", "open_connection", "translated"]

LIMITS = {  # nobody waits long for a host that stands still in the middle of a transaction
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "search_path": POSTGRES_SCHEMA,
}
PLANS = {  # of the writer: each statement finds its rows by an index, however little is known of the tables yet
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
PARAMETERS = {"connect_timeout": "5", "keepalives_idle": "10", "keepalives_interval": "5", "tcp_user_timeout": "15000"}
Connection = psycopg.Connection[Any]
logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of what it raises as well


def open_connection(url: str, name: str, settings: dict[str, str]) -> Connection:
    return connect(url, name=name, options=settings, parameters=PARAMETERS)


@contextmanager
def translated() -> Iterator[None]:
    """Postgres' errors as ours, without statement, address and values."""
    try:
        yield
    except psycopg.DataError as exc:
        raise Invalid(f"the queue cannot hold this: {postgres_reason(exc)}") from exc
    except psycopg.Error as exc:
        raise Unavailable(f"the queue cannot be used: {postgres_reason(exc)}", retry_after_s=1.0) from exc
