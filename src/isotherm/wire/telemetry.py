"""Telemetry: what a host tells control about calls, logs and its own state."""

from typing import Any, Literal

import msgspec

__all__ = [
    "LATENCY_BUCKETS_MS",
    "MAX_EVENT_BYTES",
    "Batch",
    "ColdCause",
    "InvocationRecord",
    "LogLine",
    "MinuteAggregate",
    "NamespaceUse",
    "Outcome",
    "RecordedEvent",
    "Source",
    "WorkloadState",
]

# Upper bounds of the latency histogram, milliseconds; one more bucket holds what is slower.
LATENCY_BUCKETS_MS = (
    0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000,
)  # fmt: skip

MAX_EVENT_BYTES = 256 * 1024  # a larger event is not kept

Outcome = Literal["ok", "handler_error", "timeout", "out_of_memory", "crash", "rejected", "import_error", "invalid"]

# Who asked for a call. `async` is an Invoke of the type Event; `cron`, `destination` and `redrive` are queued, too.
Source = Literal["url", "invoke", "async", "cron", "destination", "redrive", "warm", "prepare", "shadow"]

# Why a call found no idle instance:
#   first        the revision had neither template nor instance
#   template     a template, no instance and no parked spare
#   spare        a parked spare took it
#   scale_out    all instances were busy
#   evicted      the last instance was evicted for memory
#   expired      the last instance outlived its keep-alive
#   let_go       control's policy did not keep the last instance
#   replaced     the last instance crashed, ran out of memory or hung
ColdCause = Literal["first", "template", "spare", "scale_out", "evicted", "expired", "let_go", "replaced"]


class InvocationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One call in full. Kept for cold, failed, slow, asynchronous and sampled calls."""

    id: str
    namespace: str
    name: str
    revision_id: str
    alias: str
    source: Source
    started_at_ms: int
    queue_ms: float
    start_ms: float  # 0 where an idle instance took it
    run_ms: float
    total_ms: float
    outcome: Outcome
    status: int
    cold_cause: ColdCause | None = None
    instance_id: str | None = None
    principal_id: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    why_kept: Literal["cold", "failed", "slow", "sampled", "asked"] = "sampled"  # asked: with its event
    start_steps_ms: dict[str, float] = msgspec.field(default_factory=dict)  # what a start was made of


class RecordedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What the handler was called with. It is user data: sealed wherever it is stored."""

    id: str  # of the call
    namespace: str
    name: str
    at_ms: int
    event: bytes  # JSON


class MinuteAggregate(msgspec.Struct, frozen=True, kw_only=True):
    """Exact counts of one revision in one minute (or the part of it since the last batch); they add up."""

    namespace: str
    name: str
    revision_id: str
    minute: int  # minutes since the epoch
    count: int
    outcomes: dict[str, int]
    cold: dict[str, int]
    latency: list[int]  # counts per bucket of LATENCY_BUCKETS_MS, and one more
    total_ms: float
    run_ms: float
    queue_ms: float
    request_bytes: int = 0
    response_bytes: int = 0


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    namespace: str
    name: str
    revision_id: str
    instance_id: str
    at_ms: int
    message: str
    invocation_id: str | None = None
    level: str | None = None
    stream: Literal["stdout", "stderr", "log", "platform"] = "log"


class WorkloadState(msgspec.Struct, frozen=True, kw_only=True):
    """What a host holds of one revision now."""

    namespace: str
    name: str
    revision_id: str
    temperatures: dict[str, int]  # instances by temperature: hot, warm, spare; template 0 or 1
    memory_bytes: int
    cpu_s: float  # used since the host's boot
    queued: int
    unfit: list[str] = msgspec.field(default_factory=list)  # why no template forks, where none does
    template_bytes: int = 0  # of `memory_bytes`, what the template holds
    outdated: str | None = None  # why it goes on with former values of its secrets, where it does


class NamespaceUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a namespace uses of a host now, in the terms of its quota."""

    namespace: str
    instances: int = 0
    memory_mb: int = 0  # the memory limits of its instances together
    disk_bytes: int = 0  # code and dependencies of its revisions
    refused: dict[str, int] = msgspec.field(default_factory=dict)  # calls since the host's boot, by quota


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Shipped at least once; control drops a (host, boot, sequence) that it has."""

    host_id: str
    boot_id: str
    sequence: int
    sent_at_ms: int
    invocations: list[InvocationRecord] = msgspec.field(default_factory=list)
    minutes: list[MinuteAggregate] = msgspec.field(default_factory=list)
    logs: list[LogLine] = msgspec.field(default_factory=list)
    events: list[RecordedEvent] = msgspec.field(default_factory=list)
    dropped: dict[str, int] = msgspec.field(default_factory=dict)  # what a bound made us drop, by kind
    states: list[WorkloadState] | None = None  # None: unchanged
    uses: list[NamespaceUse] | None = None  # the same
    host: dict[str, Any] = msgspec.field(default_factory=dict)  # memory, cpu, versions
    keys_used: dict[str, int] = msgspec.field(default_factory=dict)  # key id → when it last was, ms, to the minute
