"""Why a database failed, in words that a client may see and an operator can act on. Pure."""

__all__ = ["reason_of"]

_sqlite = (  # part of SQLite's message → what mends it
    ("disk is full", "the disk is full: free some space; it goes on by itself"),
    ("disk I/O error", "the disk fails or is full: look at the system's log; it goes on by itself once that is mended"),
    ("readonly database", "it cannot be written: make the data folder writable; it goes on by itself"),
    ("unable to open", "its file cannot be opened or made: look at the data folder's rights and free space"),
    ("locked", "database is locked: another program holds its write lock; try again once that lets go"),
    ("malformed", "its file is damaged: restore a backup"),
)
_postgres = (  # head of the SQLSTATE → what mends it
    ("08", "Postgres does not answer: start it, or mend the way to it; it goes on by itself"),
    ("28", "Postgres refuses the user or the password of the database URL"),
    ("3D", "Postgres has no database of this name: create it"),
    ("25006", "Postgres is read-only now, as a standby is; it goes on by itself once that ends"),
    ("53100", "the disk of Postgres is full: free some space; it goes on by itself"),
    ("53300", "Postgres takes no more connections: raise its max_connections"),
    ("55P03", "another transaction held a lock for too long; try again"),
    ("57P", "Postgres is stopping or starting; it goes on by itself"),
)
_no_answer = _postgres[0][1]


def reason_of(cause: BaseException) -> str:
    """One line. What is unknown is told in the driver's own first line; neither statement nor address is in it."""
    original = getattr(cause, "orig", None) or cause
    first = str(cause.args[0] if cause.args else type(cause).__name__).split("\n", 1)[0]
    if type(original).__module__.startswith("psycopg"):
        return _of_postgres(original, first)
    return next((words for part, words in _sqlite if part in first), first)


def _of_postgres(original: BaseException, first: str) -> str:
    state = getattr(original, "sqlstate", None)
    if state is None:  # the server said nothing: libpq's own words name its address
        lowered = str(original).lower()
        if "password" in lowered or "authentication" in lowered:
            return _postgres[1][1]
        return _postgres[2][1] if "does not exist" in lowered else _no_answer
    return next((words for head, words in _postgres if state.startswith(head)), first)
