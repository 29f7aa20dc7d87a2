"""What the REST API answers, as far as the commands read it; unknown fields are left out."""

from typing import Any, Generic, TypeVar

import msgspec

__all__ = [
    "Alias",
    "CallDetail",
    "Function",
    "Invitation",
    "Key",
    "LogLine",
    "Member",
    "Namespace",
    "Package",
    "Page",
    "Progress",
    "Pruned",
    "QueueOverview",
    "QueuedCall",
    "Quota",
    "Reading",
    "Revision",
    "Rollout",
    "Sample",
    "Secret",
    "Tokens",
    "Trigger",
    "User",
    "Weight",
]

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    items: list[T]
    next_cursor: str | None = None


class Weight(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    weight: float


class Package(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    size_bytes: int
    files: int
    requirements: str | None = None


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    number: int
    state: str
    created_at_ms: int
    ready_after_ms: float | None = None
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    problem: dict[str, Any] | None = None
    template: bool | None = None
    unfit: list[str] = msgspec.field(default_factory=list)
    url: str = ""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the host holds of one revision now."""

    revision_id: str
    temperatures: dict[str, int] = msgspec.field(default_factory=dict)
    memory_bytes: int = 0
    cpu_s: float = 0.0
    queued: int = 0
    unfit: list[str] = msgspec.field(default_factory=list)
    outdated: str | None = None


class Function(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    namespace: str
    name: str
    url: str
    public: bool = False
    live: list[Weight] = msgspec.field(default_factory=list)
    latest: Revision | None = None
    states: list[State] = msgspec.field(default_factory=list)
    etag: str = ""


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    weights: list[Weight]


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    name: str
    target: str = ""
    url: str | None = None
    cron: dict[str, Any] | None = None
    next_at_ms: list[int] = msgspec.field(default_factory=list)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One revision in one step of a rollout."""

    calls: int = 0
    errors: int = 0
    error_rate: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate of a rollout sees."""

    old: Sample
    new: Sample
    error_e: float = 0.0
    latency_e: float = 0.0
    threshold: float = 0.0
    slower_ms: float | None = None
    elapsed_s: float = 0.0


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    alias: str
    before: int
    to: int
    state: str
    plan: dict[str, Any] = msgspec.field(default_factory=dict)
    paused: bool = False
    step: int = 0
    steps: int = 0
    percent: float = 0.0
    by: str = ""
    created_at_ms: int = 0
    step_since_ms: int = 0
    ended_at_ms: int | None = None
    rule: str | None = None
    reading: Reading | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a deploy's progress; `done` marks the last one, which alone has `url` and `problem`."""

    step: str = ""
    state: str = ""
    message: str = ""
    elapsed_ms: float = 0.0
    done: bool = False
    url: str | None = None
    problem: dict[str, Any] | None = None


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    at_ms: int
    message: str
    name: str = ""
    instance_id: str = ""
    invocation_id: str | None = None
    level: str | None = None
    stream: str = "log"


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    namespace: str
    role: str


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key; `token` and `secret_access_key` come once, in the answer that made it."""

    id: str
    name: str = ""
    role: str = ""
    created_at_ms: int | None = None
    expires_at_ms: int | None = None
    token: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    namespace: str = ""
    scopes: list[str] | None = None
    description: str = ""
    last_used_at_ms: int | None = None


class User(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    state: str
    grants: list[Grant] = msgspec.field(default_factory=list)
    created_at_ms: int = 0
    password_at_ms: int | None = None
    last_login_at_ms: int | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    role: str
    state: str


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    user: User
    invitation: str
    expires_at_ms: int


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    access_token: str
    expires_at_ms: int
    refresh_token: str
    refresh_expires_at_ms: int
    principal_id: str
    device: str | None = None


class QueueState(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    dead: int = 0
    paused: bool = False
    oldest_ms: int | None = None


class QueueOverview(msgspec.Struct, frozen=True, kw_only=True):
    queues: list[QueueState]
    used_bytes: int = 0
    limit_bytes: int = 0


class QueuedCall(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    namespace: str
    name: str
    state: str
    accepted_at_ms: int
    due_at_ms: int
    qualifier: str | None = None
    source: str = ""
    attempts: int = 0
    finished_at_ms: int | None = None
    condition: str | None = None
    status: int | None = None
    error_code: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    origin: str | None = None
    redriven_to: str | None = None


class CallDetail(msgspec.Struct, frozen=True, kw_only=True):
    """`event` and `result` are whatever JSON the caller and the function gave."""

    call: QueuedCall
    event: Any = None
    result: Any = None


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    namespace: str = ""
    version: int = 0
    created_at_ms: int | None = None
    updated_at_ms: int | None = None
    used_by: list[str] = msgspec.field(default_factory=list)
    etag: str = ""


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    created_at_ms: int | None = None


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """By the names of the limits; None: no limit, in `own`: not said."""

    namespace: str
    own: dict[str, float | None] = msgspec.field(default_factory=dict)
    limits: dict[str, float | None] = msgspec.field(default_factory=dict)
    use: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def refused(self) -> dict[str, int]:
        found = self.use.get("refused")
        return found if isinstance(found, dict) else {}


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    dropped: list[int]
    kept: int
    dry_run: bool = False


class Me(msgspec.Struct, frozen=True, kw_only=True):
    principal_id: str
    grants: list[Grant] = msgspec.field(default_factory=list)
    home_namespace: str = "default"
    kind: str = "key"
    name: str | None = None
    scopes: list[str] | None = None
