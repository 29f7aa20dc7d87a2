"""The verbs of decisions on warmth: keep their receipts and the policy's state, and read the counts it starts from."""

from collections.abc import Iterator, Sequence

from isotherm.db.engine import Database
from isotherm.db.pages import Page, clamp_limit, decode_cursor, encode_cursor
from isotherm.records import decision_store
from isotherm.records.model import MinuteCount
from isotherm.warming.receipt import Receipt

__all__ = ["Decisions"]

_minutes_at_once = 20_000  # rows of one page of counts


class Decisions:
    """What `Records` has of them. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_receipts(self, receipts: Sequence[Receipt]) -> None:
        """In the order in which they were decided; durable when it returns. Raises `Unavailable`."""
        if receipts:
            with self._database.write() as session:
                decision_store.insert_receipts(session, receipts)

    def receipts(self, namespace: str, function: str, *, limit: int = 100, cursor: str | None = None) -> Page[Receipt]:
        """Decisions about a function, all its revisions, the newest first."""
        clamp_limit(limit)
        below = None if cursor is None else decode_cursor(cursor, tuple[int])[0]
        with self._database.read() as session:
            rows = decision_store.list_receipts(session, namespace, function, below=below, limit=limit + 1)
        found = rows[:limit]
        return Page([receipt for _, receipt in found], encode_cursor(found[-1][0]) if len(rows) > limit else None)

    def receipt_before(self, revision_id: str, at_ms: int) -> Receipt | None:
        """The last decision about a revision at or before that time."""
        with self._database.read() as session:
            return decision_store.find_receipt_before(session, revision_id, at_ms)

    def keep_state(self, name: str, body: bytes, at_ms: int) -> None:
        """What a policy has to know after a restart, in place of what was kept under that name."""
        with self._database.write() as session:
            decision_store.put_state(session, name, body, at_ms)

    def kept_state(self, name: str) -> tuple[int, bytes] | None:
        """`(at_ms, body)` as it was kept last."""
        with self._database.read() as session:
            return decision_store.find_state(session, name)

    def minute_counts(self, since_minute: int) -> Iterator[MinuteCount]:
        """Of every function and minute that has calls, from a minute on (since the epoch), the oldest minute first.

        Read by pages of some 20,000 rows, each a snapshot of its own: what comes in meanwhile may be missing or there.
        A million rows take some six seconds of a core. Raises `Unavailable`.
        """
        with self._database.read() as session:
            spans = decision_store.minute_spans(session, since_minute, _minutes_at_once)
        for first, last in spans:
            with self._database.read() as session:
                page = list(decision_store.minutes_between(session, first, last))
            yield from page
