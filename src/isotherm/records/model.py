"""Nouns of records: an explanation of one call, how long things are kept, and what a sweep removed."""

from typing import Any, Literal, NamedTuple

import msgspec

from isotherm.warming.receipt import Receipt
from isotherm.wire.telemetry import InvocationRecord

__all__ = ["Decision", "Explanation", "Minute", "MinuteCount", "Phase", "Remedy", "Retention", "Swept"]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much is kept; the sweep removes the oldest beyond either."""

    invocations_s: float = 7 * 86400.0
    max_invocations: int = 1_000_000
    minutes_s: float = 30 * 86400.0
    logs_s: float = 3 * 86400.0
    max_log_bytes: int = 512 * 1024 * 1024
    max_event_bytes: int = 256 * 1024 * 1024  # events of calls, kept as long as `invocations_s`
    receipts_s: float = 3 * 86400.0  # decisions on warmth
    max_receipts: int = 200_000
    batches_s: float = 3 * 86400.0  # a batch that comes again later than this is counted again


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """Rows removed by one sweep."""

    invocations: int = 0
    minutes: int = 0
    logs: int = 0
    events: int = 0
    receipts: int = 0

    def __add__(self, other: "Swept") -> "Swept":
        return Swept(
            invocations=self.invocations + other.invocations,
            minutes=self.minutes + other.minutes,
            logs=self.logs + other.logs,
            events=self.events + other.events,
            receipts=self.receipts + other.receipts,
        )

    @property
    def rows(self) -> int:
        return self.invocations + self.minutes + self.logs + self.events + self.receipts


class MinuteCount(NamedTuple):
    """Calls of a function in a minute, all its revisions."""

    namespace: str
    name: str
    minute: int  # since the epoch
    calls: int
    run_ms: float  # of all of them together


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """All calls of one revision in one minute, counted whether they were kept in full or not."""

    name: str
    revision_id: str
    minute: int  # minutes since the epoch
    count: int
    cold: int  # of them, calls that found no idle instance
    errors: int  # of them, calls whose outcome was not ok
    run_ms: float  # of all of them together


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a call's time."""

    name: Literal["queue", "start", "run", "other"]
    ms: float
    share: float  # of the total, 0 to 1
    what: str  # in words


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """What would have avoided it, or made it shorter."""

    setting: str  # as in isotherm.toml: "warm.spare"
    now: Any  # None where the revision is gone, or the setting unset
    proposed: Any  # a JSON value; None where only its owner can say
    why: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The last decision about the revision before a cold start, and what the other one would have cost."""

    summary: str  # what was forecast, what was chosen and why, at whose budget and what price; what else it would cost
    receipt: Receipt | None  # null: none is kept; `summary` says why
    waited_ms: float  # for the start
    kept_gb_s: float | None = None  # to keep one instance more warm from the decision until the call
    kept_usd: float | None = None  # of `kept_gb_s` at the explanation's price


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a call took what it took. Costs are None where the revision, and with it the memory size, is gone."""

    invocation: InvocationRecord
    summary: str
    cold: str | None  # why it was cold, in words; None: it was warm
    phases: list[Phase]
    start_steps_ms: dict[str, float]  # the longest first
    remedies: list[Remedy]
    gb_s: float | None  # memory of the instance, in GB, times the seconds that the call held it
    cost_usd: float | None  # of `gb_s` at `price`
    cold_cost_usd: float | None  # the part of it that the start took
    price: str  # which price, of when
    decision: Decision | None = None  # why it did not wait warm; null where it did
