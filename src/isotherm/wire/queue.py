"""Looking at a host's queue of asynchronous calls and steering it, over the link."""

from typing import Any, Literal

import msgspec

__all__ = [
    "CallDetail",
    "CallPage",
    "CallState",
    "QueueChanged",
    "QueueOrder",
    "QueueOverview",
    "QueueState",
    "QueuedCall",
]

CallState = Literal["queued", "running", "succeeded", "dead", "redriven"]


class QueueOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a host.

    overview  the queues of a namespace (None: of all); result: QueueOverview
    calls     of a function, or of all; result: CallPage
    call      one by its id; result: CallDetail, or nothing where the host does not have it
    pause, resume, purge, redrive    of one function; result: QueueChanged. `ids`: which dead letters are redriven,
                                     None: all. `state` of what is purged: `dead`, otherwise what waits
    """

    action: Literal["overview", "calls", "call", "pause", "resume", "purge", "redrive"]
    namespace: str | None = None
    name: str | None = None
    ids: list[str] | None = None
    state: CallState | None = None
    below: int | None = None
    limit: int = 100
    principal_id: str | None = None


class QueueState(msgspec.Struct, frozen=True, kw_only=True):
    """The queue of one function."""

    namespace: str
    name: str
    queued: int  # waiting, those that are due later among them
    running: int
    succeeded: int  # whose results are still kept
    dead: int
    paused: bool
    oldest_ms: int | None = None  # when the oldest call that is not over was accepted


class QueueOverview(msgspec.Struct, frozen=True, kw_only=True):
    queues: list[QueueState]
    used_bytes: int
    limit_bytes: int


class QueuedCall(msgspec.Struct, frozen=True, kw_only=True):
    """One asynchronous call, as it is listed."""

    id: str
    namespace: str
    name: str
    qualifier: str | None
    source: str
    state: CallState
    accepted_at_ms: int
    due_at_ms: int  # when it is tried next, or was tried last
    attempts: int  # that failed by the function's fault
    finished_at_ms: int | None = None
    condition: str | None = None  # Success, RetriesExhausted, EventAgeExceeded, Undeliverable
    status: int | None = None
    error_code: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    origin: str | None = None  # the call that it comes of
    redriven_to: str | None = None


class CallDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One call with what went in and what came out: JSON values."""

    call: QueuedCall
    event: Any
    result: Any = None


class CallPage(msgspec.Struct, frozen=True, kw_only=True):
    calls: list[QueuedCall]
    next_below: int | None = None


class QueueChanged(msgspec.Struct, frozen=True, kw_only=True):
    count: int  # calls that were purged or redriven
    ids: list[str] = msgspec.field(default_factory=list)  # of the new calls, up to a hundred
