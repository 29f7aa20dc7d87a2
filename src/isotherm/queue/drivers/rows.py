"""Calls as rows: their columns, and what is sealed in them. The same in every driver, so that rows can be copied."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from isotherm.queue.model import AsyncCall, CallRow, CallState, Counts, Outcome
from isotherm.storage.vault import Vault

__all__ = ["LISTED", "STORED", "CallRows", "counted", "flat", "parts"]

PURPOSE = "queued call"
LISTED = (
    "number, id, namespace, name, qualifier, source, principal_id, accepted_at_ms, due_at_ms, attempts, hops, origin,"
    " event"
)
STORED = LISTED + ", state, finished_at_ms, outcome, redriven_to"
ROWS_AT_ONCE = (64, 16, 4, 1)  # of one statement: few different ones, so that each stays prepared

encode = msgspec.msgpack.Encoder().encode
event_decoder = msgspec.msgpack.Decoder(tuple[str, bytes])
outcome_decoder = msgspec.msgpack.Decoder(Outcome)

Row = TypeVar("Row")


class CallRows:
    """Seals and opens: each value is bound to its call's id."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def event(self, call: AsyncCall) -> bytes:
        """The event and the client's context, sealed."""
        return self._vault.seal(PURPOSE, encode((call.client_context, call.event)), call.id)

    def outcome(self, call_id: str, outcome: Outcome) -> bytes:
        return self._vault.seal(PURPOSE, encode(outcome), call_id)

    def call(self, row: tuple[Any, ...], claim: int = 0) -> AsyncCall:
        """From the columns of `LISTED`. Raises `Unavailable` under another master key."""
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
            claim=claim,
        )

    def stored(self, row: tuple[Any, ...]) -> CallRow:
        """From the columns of `STORED`. Raises `Unavailable` under another master key."""
        call = self.call(row)
        state, finished_at_ms, sealed, redriven_to = row[13:]
        outcome = None if sealed is None else outcome_decoder.decode(self._vault.open(PURPOSE, sealed, call.id))
        return CallRow(
            call=call, state=CallState(state), finished_at_ms=finished_at_ms, outcome=outcome, redriven_to=redriven_to
        )


def counted(rows: Iterable[tuple[Any, ...]], paused: Iterable[tuple[Any, ...]]) -> list[Counts]:
    """By function. `rows`: namespace, name, queued, claimed, succeeded, dead, the oldest open call's acceptance."""
    held = {(row[0], row[1]) for row in paused}
    found = {(row[0], row[1]): row for row in rows}
    for one in held - set(found):
        found[one] = (*one, 0, 0, 0, 0, None)
    return [
        Counts(
            namespace=row[0], name=row[1], queued=row[2], claimed=row[3], succeeded=row[4], dead=row[5],
            oldest_ms=row[6], paused=key in held,
        )
        for key, row in sorted(found.items())
    ]  # fmt: skip


def parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows, so many at a time as one statement takes."""
    at = 0
    while at < len(rows):
        count = next(size for size in ROWS_AT_ONCE if size <= len(rows) - at)
        yield rows[at : at + count]
        at += count


def flat(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Their values one after the other."""
    return [value for row in rows for value in row]
