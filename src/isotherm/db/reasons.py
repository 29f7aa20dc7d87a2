"""Why a database failed, in words that a client may see and an operator can act on. Pure."""

from isotherm.storage.postgres import postgres_reason

__all__ = ["reason_of"]

_sqlite = (  # part of SQLite's message → what mends it
    ("disk is full", "the disk is full: free some space; it goes on by itself"),
    ("disk I/O error", "the disk fails or is full: look at the system's log; it goes on by itself once that is mended"),
    ("readonly database", "it cannot be written: make the data folder writable; it goes on by itself"),
    ("unable to open", "its file cannot be opened or made: look at the data folder's rights and free space"),
    ("locked", "database is locked: another program holds its write lock; try again once that lets go"),
    ("malformed", "its file is damaged: restore a backup"),
)


def reason_of(cause: BaseException) -> str:
    """One line. What is unknown is told in the driver's own first line; neither statement nor address is in it."""
    original = getattr(cause, "orig", None) or cause
    if type(original).__module__.startswith("psycopg"):
        return postgres_reason(original)
    first = str(cause.args[0] if cause.args else type(cause).__name__).split("\n", 1)[0]
    return next((words for part, words in _sqlite if part in first), first)
