"""Nouns of the queue: a call that is to be made, what became of it, and the bounds of one host's queue."""

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from isotherm.base.settings import Settings
from isotherm.wire.telemetry import Source

__all__ = ["AsyncCall", "CallRow", "CallState", "Counts", "News", "Outcome", "QueueLimits", "Waiting", "queue_limits"]

MIB = 1024 * 1024


class CallState(enum.IntEnum):
    """As it is stored. Up to `CLAIMED` a call is open; from `SUCCEEDED` on it is over and never runs again."""

    QUEUED = 0
    CLAIMED = 1  # in the memory of a host process that lives, perhaps running
    SUCCEEDED = 2
    DEAD = 3  # a dead letter
    REDRIVEN = 4  # a dead letter that was made a new call of


@dataclass(slots=True, kw_only=True)
class AsyncCall:
    """One call to make. `attempts` counts what failed so far by the function's fault."""

    id: str
    namespace: str
    name: str
    qualifier: str | None = None
    source: Source = "async"
    principal_id: str | None = None
    client_context: str = "null"  # JSON text
    event: bytes = b"{}"  # JSON
    accepted_at_ms: int = 0
    due_at_ms: int = 0
    attempts: int = 0
    hops: int = 0  # how many destinations lie between it and a call from outside
    origin: str | None = None  # the call that it comes of: by a destination, or redriven
    claim: int = 0  # the store's: by what it knows again whether this host still holds the call


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a call ended, or how its last attempt failed. It is user data: sealed where it is stored."""

    status: int = 200
    version: str = ""  # number of the revision that ran it
    result: bytes | None = None  # JSON; None where it failed, or is too large to be kept
    condition: str = "Success"  # as in Lambda's destination records: Success, RetriesExhausted, EventAgeExceeded, …
    error_code: str | None = None
    error_type: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """A call as it is stored."""

    call: AsyncCall
    state: CallState
    finished_at_ms: int | None
    outcome: Outcome | None
    redriven_to: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A function that has calls on disk which no host process holds."""

    namespace: str
    name: str
    next_due_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a host did not do itself: of a queue that it shares with others."""

    waiting: Sequence[Waiting] = ()  # functions with calls that came to this host
    adopted: int = 0  # calls of hosts that are gone
    paused: Collection[tuple[str, str]] | None = None  # all that are held back; None: nobody else changes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What is stored of one function's calls."""

    namespace: str
    name: str
    queued: int
    claimed: int
    succeeded: int
    dead: int
    oldest_ms: int | None  # when the oldest open call was accepted
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """Bounds of one host's queue."""

    max_bytes: int  # of the store on disk
    keep_results_ms: int
    keep_dead_ms: int
    max_in_flight: int = 1000  # deliveries at once, of all functions
    max_held: int = 256  # calls of one function in memory beside those in flight
    max_unwritten: int = 20_000  # writes that wait for the disk
    max_result_bytes: int = 256 * 1024
    max_hops: int = 16  # as Lambda's recursive loop detection


def queue_limits(settings: Settings) -> QueueLimits:
    """The queue's share of the settings."""
    return QueueLimits(
        max_bytes=settings.queue_mb * MIB,
        keep_results_ms=round(settings.result_hours * 3_600_000),
        keep_dead_ms=round(settings.dead_letter_days * 86_400_000),
    )
