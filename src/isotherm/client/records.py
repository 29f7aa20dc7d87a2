"""What the platform tells of itself and of what happened: calls, events, hosts. In the manner of `model`."""

from typing import Any

import msgspec

from isotherm.client.model import State
from isotherm.client.warmth import Receipt

__all__ = [
    "Broken", "Counts", "Decision", "Entry", "Explanation", "Head", "Host", "HostSummary", "Invocation", "Minute",
    "Phase", "Remedy", "Status", "Verdict",
]  # fmt: skip


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """One call that was kept in full: a cold, failed, slow, asynchronous or sampled one."""

    id: str
    name: str
    namespace: str = ""
    revision_id: str = ""
    alias: str = ""
    source: str = ""  # url, invoke, async, cron, destination, redrive, warm, prepare or shadow
    started_at_ms: int = 0
    queue_ms: float = 0.0
    start_ms: float = 0.0  # 0 where an idle instance took it
    run_ms: float = 0.0
    total_ms: float = 0.0
    outcome: str = ""  # ok, handler_error, timeout, out_of_memory, crash, rejected, import_error or invalid
    status: int = 0
    cold_cause: str | None = None
    instance_id: str | None = None
    principal_id: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    why_kept: str = ""
    start_steps_ms: dict[str, float] = msgspec.field(default_factory=dict)


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """All calls of one revision in one minute, counted whether they were kept in full or not."""

    name: str
    minute: int  # minutes since the epoch
    count: int
    revision_id: str = ""
    cold: int = 0  # of them, calls that found no idle instance
    errors: int = 0  # of them, calls whose outcome was not ok
    run_ms: float = 0.0  # of all of them together


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a call's time."""

    name: str  # queue, start, run or other
    ms: float
    share: float  # of the total, 0 to 1
    what: str = ""  # in words


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """What would have avoided a cold start, or made it shorter."""

    setting: str  # as in isotherm.toml: "warm.spare"
    now: Any = None
    proposed: Any = None  # None where only its owner can say
    why: str = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The last decision about the revision before a cold start, and what the other one would have cost."""

    summary: str
    receipt: Receipt | None = None  # None: none is kept; `summary` says why
    waited_ms: float = 0.0  # for the start
    kept_gb_s: float | None = None  # to keep one instance more warm from the decision until the call
    kept_usd: float | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a call took what it took, and what it cost."""

    summary: str
    invocation: Invocation | None = None
    cold: str | None = None  # why it was cold, in words; None: it was warm
    phases: list[Phase] = msgspec.field(default_factory=list)
    start_steps_ms: dict[str, float] = msgspec.field(default_factory=dict)  # the longest first
    remedies: list[Remedy] = msgspec.field(default_factory=list)
    gb_s: float | None = None  # memory of the instance, GB, times the seconds that the call held it
    cost_usd: float | None = None
    cold_cost_usd: float | None = None  # the part of it that the start took
    price: str = ""  # which price, of when
    decision: Decision | None = None  # why it did not wait warm; None where it did


class HostSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A host, as the status has it."""

    host_id: str
    connected: bool = False
    last_seen_ms: int = 0


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is on the platform."""

    functions: int = 0
    hosts: int = 0
    instances: dict[str, int] = msgspec.field(default_factory=dict)  # by temperature


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the platform is."""

    version: str
    region: str = ""
    time_ms: int = 0
    hosts: list[HostSummary] = msgspec.field(default_factory=list)
    counts: Counts | None = None  # to who may look at hosts, as `hosts`


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """One host: what works there, and what it holds."""

    host_id: str
    boot_id: str = ""
    connected: bool = False
    isotherm_version: str = ""
    probes: dict[str, Any] = msgspec.field(default_factory=dict)  # by driver: does it work here, and if not, why
    runtimes: list[str] = msgspec.field(default_factory=list)
    last_seen_ms: int = 0
    desired_version: int = 0
    report: dict[str, Any] = msgspec.field(default_factory=dict)  # memory, cpu, versions, as the host tells them
    dropped: dict[str, int] = msgspec.field(default_factory=dict)
    states: list[State] = msgspec.field(default_factory=list)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the audit log: who decided what, when."""

    id: int
    at_ms: int
    kind: str  # "workload.revision_deployed", "key.created", "access.denied", …
    principal_id: str = ""
    namespace: str | None = None
    subject: str = ""  # id of what it happened to
    version: int = 0  # of that subject's history
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The newest event of the audit log. Kept elsewhere, `hash` vouches for all up to here."""

    hash: str
    event_id: int = 0
    at_ms: int = 0


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """The first event that does not follow from the one before it."""

    event_id: int
    kind: str = ""
    subject: str = ""
    version: int = 0
    at_ms: int = 0
    reason: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the audit log is whole."""

    ok: bool
    events: int
    head: Head
    broken: Broken | None = None
    expected: str | None = None  # found or missing, where a hash was to be looked for
