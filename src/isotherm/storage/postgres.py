"""Postgres as both wings use it: its URL, how a connection to it is made, and why it failed."""

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from isotherm.base.errors import Invalid
from isotherm.base.settings import Settings

if TYPE_CHECKING:  # it is an extra, loaded where a connection is made
    import psycopg

__all__ = [
    "CONNECT_DEFAULTS",
    "SAME_DATABASE",
    "connect",
    "libpq_url",
    "postgres_reason",
    "queue_url",
    "shown_url",
    "startup_options",
]

CONNECT_DEFAULTS: Mapping[str, str] = {
    "application_name": "isotherm",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",  # ms: a server that vanished is noticed
}
SAME_DATABASE = "database"  # of the setting `queue_database`: the one that `database` names
_schemes = ("postgres", "postgresql", "postgresql+psycopg")
_reasons = (  # head of the SQLSTATE → what mends it
    ("08", "Postgres does not answer: start it, or mend the way to it; it goes on by itself"),
    ("28", "Postgres refuses the user or the password of the database URL"),
    ("3D", "Postgres has no database of this name: create it"),
    ("25006", "Postgres is read-only now, as a standby is; it goes on by itself once that ends"),
    ("42501", "the user of the database URL may not do this: make it the owner of the database"),
    ("53100", "the disk of Postgres is full: free some space; it goes on by itself"),
    ("53300", "Postgres takes no more connections: raise its max_connections"),
    ("55P03", "another transaction held a lock for too long; try again"),
    ("57P", "Postgres is stopping or starting; it goes on by itself"),
)
_no_answer = _reasons[0][1]


def queue_url(settings: Settings) -> str | None:
    """Where the queue is, as libpq takes it; None: a file of the host. Raises `Invalid`, never telling a password."""
    url = settings.queue_database
    if url is None:
        return None
    if url == SAME_DATABASE:
        if settings.database is None or settings.database.partition(":")[0] not in _schemes:
            raise Invalid(
                "--queue-database database: the queue would be where --database says, and that is no Postgres; give "
                "--database a Postgres URL, or --queue-database one of its own"
            )
        url = settings.database
    found = libpq_url(url)
    if importlib.util.find_spec("psycopg") is None:
        raise Invalid("--queue-database needs a driver: pip install 'isotherm[postgres]'")
    return found


def libpq_url(url: str) -> str:
    """A URL as SQLAlchemy takes it, for libpq. Raises `Invalid`, never telling a password."""
    scheme, _, rest = url.partition("://")
    if scheme not in _schemes or not rest:
        raise Invalid(
            f"the URL of the queue's database (…{shown_url(url)}) cannot be used: give postgresql://user@host/database,"
            f" or `{SAME_DATABASE}` for the one that --database names"
        )
    return f"postgresql://{rest}"


def connect(
    url: str, *, name: str, options: Mapping[str, str] | None = None, parameters: Mapping[str, str] | None = None
) -> "psycopg.Connection[Any]":
    """A connection in autocommit mode; `url` is one of `libpq_url`.

    `name` is what Postgres shows of it, `options` are server settings of the session, `parameters` are libpq's: what
    the URL says of these goes before. Raises `Invalid`, `psycopg.OperationalError`.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError as exc:  # its words may hold a part of a password
        raise Invalid(
            f"the URL of the queue's database (…{shown_url(url)}) cannot be read: characters like @ and % in a "
            "password are written %40 and %25"
        ) from exc
    merged = {**CONNECT_DEFAULTS, **(parameters or {}), **given}
    merged |= {"application_name": name, "options": startup_options(given.get("options"), options or {})}
    return psycopg.connect(**merged, autocommit=True)  # type: ignore[arg-type]


def startup_options(given: str | None, settings: Mapping[str, str]) -> str:
    """libpq's `options`: what the URL has of them, then ours."""
    return " ".join([*([given] if given else []), *(f"-c {name}={value}" for name, value in settings.items())])


def shown_url(url: str) -> str:
    """What may be told of a URL: what stands between user and password, and the parameters."""
    return url.partition("?")[0].rpartition("@")[2][:200] if "@" in url else ""


def postgres_reason(cause: BaseException) -> str:
    """Why Postgres failed, in one line that a client may see: neither statement nor address is in it."""
    state = getattr(cause, "sqlstate", None)
    first = str(cause.args[0] if cause.args else type(cause).__name__).split("\n", 1)[0]
    if state is None:  # the server said nothing: libpq's own words name its address
        lowered = str(cause).lower()
        if "password" in lowered or "authentication" in lowered:
            return _reasons[1][1]
        return _reasons[2][1] if "does not exist" in lowered else _no_answer
    return next((words for head, words in _reasons if state.startswith(head)), first)
