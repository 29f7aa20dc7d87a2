"""Nouns of records: an explanation of one call, and what a sweep removed."""

from typing import Any

import msgspec

from isotherm.wire.telemetry import InvocationRecord, WorkloadState

__all__ = ["Explanation", "HostState", "Phase", "Remedy", "Retention", "Swept"]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much is kept; the sweep removes the oldest beyond either."""

    invocations_s: float = 7 * 86400.0
    max_invocations: int = 1_000_000
    minutes_s: float = 30 * 86400.0
    logs_s: float = 3 * 86400.0
    max_log_bytes: int = 512 * 1024 * 1024


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """Rows removed by one sweep."""

    invocations: int
    minutes: int
    logs: int


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a call's time."""

    name: str  # "queue", "start", "run"
    ms: float
    share: float  # of the total, 0 to 1
    what: str  # in words


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """What would have avoided it, or made it shorter."""

    setting: str  # as in isotherm.toml: "warm.spare"
    now: Any
    proposed: Any
    why: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a call took what it took."""

    invocation: InvocationRecord
    summary: str
    cold: str | None  # why it was cold, in words; None: it was warm
    phases: list[Phase]
    start_steps_ms: dict[str, float]
    remedies: list[Remedy]
    gb_s: float  # memory size of the instance times the time that the call held it
    cost_usd: float  # of `gb_s` at `price`
    price: str  # which price, of when


class HostState(msgspec.Struct, frozen=True, kw_only=True):
    """What a host last told."""

    host_id: str
    boot_id: str
    seen_at_ms: int
    host: dict[str, Any]
    dropped: dict[str, int]  # since the host's boot, by kind
    states: list[WorkloadState]
