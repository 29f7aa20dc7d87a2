"""What the platform answers, as values. A field that a newer platform adds is left out; one that an older one does not
have gets its default, so a client works with platforms of other versions. Times are milliseconds since the epoch."""

from typing import Any, Generic, TypeVar

import msgspec

from isotherm.base.errors import InvalidResponse
from isotherm.client.request import UNREADABLE

__all__ = [
    "Alias",
    "Answer",
    "CallDetail",
    "Deployed",
    "Function",
    "Grant",
    "Invitation",
    "Key",
    "LogLine",
    "Me",
    "Member",
    "Namespace",
    "Package",
    "Page",
    "Progress",
    "Pruned",
    "QueueChanged",
    "QueueOverview",
    "QueueState",
    "QueuedCall",
    "Quota",
    "Reading",
    "Revision",
    "Rollout",
    "Sample",
    "Secret",
    "State",
    "TokenKey",
    "Tokens",
    "Trigger",
    "User",
    "Weight",
]

T = TypeVar("T")
_hidden = "…"  # in place of what no log may show


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A part of a list, and where the next one begins."""

    items: list[T]
    next_cursor: str | None = None


class Weight(msgspec.Struct, frozen=True, kw_only=True):
    """The share of an alias that a revision has; all of an alias sum to 1."""

    number: int
    weight: float


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """Code as it was uploaded."""

    digest: str  # SHA-256 of the zip, hex
    size_bytes: int
    files: int
    requirements: str | None = None  # digest of requirements.txt, where there is one


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """Code and configuration, which never change."""

    id: str
    number: int
    state: str  # building, ready or failed
    created_at_ms: int
    ready_after_ms: float | None = None  # from the deploy to ready or failed
    config: dict[str, Any] = msgspec.field(default_factory=dict)  # by the keys of isotherm.toml
    problem: dict[str, Any] | None = None  # RFC 9457, where it failed
    template: bool | None = None  # whether instances are forked from a template; None: not known yet
    unfit: list[str] = msgspec.field(default_factory=list)  # why not, where not
    url: str = ""  # of this revision by its number
    warnings: list[str] = msgspec.field(default_factory=list)  # time limits that hardly go together


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What a host holds of one revision now."""

    revision_id: str
    namespace: str = ""
    name: str = ""
    temperatures: dict[str, int] = msgspec.field(default_factory=dict)  # instances: hot, warm, spare; template 0 or 1
    memory_bytes: int = 0
    cpu_s: float = 0.0  # used since the host's boot
    queued: int = 0
    unfit: list[str] = msgspec.field(default_factory=list)  # why no template forks, where none does
    template_bytes: int = 0  # of `memory_bytes`, what the template holds
    outdated: str | None = None  # why it goes on with former values of its secrets, where it does


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function: where it is reached, which revisions have its calls, what hosts hold of it now."""

    id: str
    namespace: str
    name: str
    url: str
    public: bool = False
    created_at_ms: int | None = None
    updated_at_ms: int | None = None
    live: list[Weight] = msgspec.field(default_factory=list)  # empty before the first revision is ready
    latest: Revision | None = None
    development: bool = False  # of somebody's inner loop: it goes by itself once that has ended
    states: list[State] = msgspec.field(default_factory=list)  # of one that was asked for alone, not in lists
    etag: str = ""  # changes with every change of the function


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """A name for revisions; `live` takes the calls that name none."""

    name: str
    weights: list[Weight]


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """What calls a function by itself."""

    kind: str  # url or cron
    name: str
    target: str = ""  # the alias that it calls
    url: str | None = None
    cron: dict[str, Any] | None = None
    next_at_ms: list[int] = msgspec.field(default_factory=list)


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """A deploy that ended well."""

    name: str
    number: int
    url: str
    took_ms: float
    unchanged: bool  # code and configuration were those of a revision that is there
    moved: bool  # `live` was at another revision before
    warnings: list[str] = msgspec.field(default_factory=list)  # time limits that hardly go together
    rollout: str | None = None  # id of the rollout that moves `live` to it, where that is not done at once


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a call came to."""

    status: int
    payload: bytes
    version: str = ""  # number of the revision that took it
    error: str | None = None  # Lambda's `X-Amz-Function-Error`, None where the handler returned
    request_id: str = ""
    timing: str = ""  # as in `Server-Timing`
    log: str | None = None  # the end of the call's log, where it was asked for

    def json(self) -> Any:
        """The payload's value. Raises `InvalidResponse` where it is not JSON, as of a handler that streams."""
        try:
            return msgspec.json.decode(self.payload)
        except UNREADABLE as exc:
            raise InvalidResponse(f"the answer is not JSON ({exc}); take its `payload`") from exc


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
    elapsed_s: float = 0.0  # of the step


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """An alias on its way from one revision to another."""

    id: str
    alias: str
    before: int
    to: int
    state: str  # open, finished or rolled_back
    plan: dict[str, Any] = msgspec.field(default_factory=dict)
    paused: bool = False
    step: int = 0  # 0: nothing has moved yet
    steps: int = 0
    percent: float = 0.0  # of the calls that the new revision has now
    by: str = ""  # id of the principal who asked for it
    created_at_ms: int = 0
    step_since_ms: int = 0
    ended_at_ms: int | None = None
    rule: str | None = None  # why it was rolled back: errors, latency, quiet, start or asked
    reading: Reading | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a deploy's progress; `done` marks the last one, which alone has `url` and `problem`.

    The client's own steps are `upload` (`message`: how many bytes), `package` (`package`: what they are), `revision`
    (`message`: its number) and, after one that failed, `serving` (`message`: which revisions go on doing so).
    """

    step: str = ""
    state: str = ""  # running, done, failed or cached; of the last line ready or failed
    message: str = ""
    elapsed_ms: float = 0.0
    done: bool = False
    url: str | None = None
    problem: dict[str, Any] | None = None
    package: Package | None = None


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that a function wrote, or the platform about it."""

    at_ms: int
    message: str
    namespace: str = ""
    name: str = ""
    revision_id: str = ""
    instance_id: str = ""
    invocation_id: str | None = None
    level: str | None = None
    stream: str = "log"  # stdout, stderr, log or platform


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A role in a namespace; `*` is every namespace."""

    namespace: str
    role: str


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key; `token` and `secret_access_key` come once, in the answer that made it, and are in no `repr`."""

    id: str
    namespace: str = ""
    name: str = ""
    role: str = ""  # admin, developer, viewer or invoker
    principal_id: str = ""
    created_at_ms: int | None = None
    expires_at_ms: int | None = None
    token: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    scopes: list[str] | None = None  # None: all that the role allows
    description: str = ""
    last_used_at_ms: int | None = None  # to the minute

    def __repr__(self) -> str:
        shown = {
            name: _hidden if name in ("token", "secret_access_key") and value else value
            for name, value in msgspec.structs.asdict(self).items()
        }
        return f"Key({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class QueueState(msgspec.Struct, frozen=True, kw_only=True):
    """The queue of one function: how many calls it has in each state."""

    name: str
    namespace: str = ""
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    dead: int = 0
    paused: bool = False
    oldest_ms: int | None = None  # when the oldest call that is not over was accepted


class QueueOverview(msgspec.Struct, frozen=True, kw_only=True):
    """The queues of a namespace, and how full their store is."""

    queues: list[QueueState]
    used_bytes: int = 0
    limit_bytes: int = 0


class QueueChanged(msgspec.Struct, frozen=True, kw_only=True):
    """What steering a queue came to."""

    count: int  # calls that were purged or redriven
    ids: list[str] = msgspec.field(default_factory=list)  # of the new calls, up to a hundred


class QueuedCall(msgspec.Struct, frozen=True, kw_only=True):
    """An asynchronous call, as it is listed."""

    id: str
    namespace: str
    name: str
    state: str  # queued, running, succeeded, dead or redriven
    accepted_at_ms: int
    due_at_ms: int  # when it is tried next, or was tried last
    qualifier: str | None = None
    source: str = ""
    attempts: int = 0  # that failed by the function's fault
    finished_at_ms: int | None = None
    condition: str | None = None  # Success, RetriesExhausted, EventAgeExceeded or Undeliverable
    status: int | None = None
    error_code: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    origin: str | None = None  # the call that it comes of
    redriven_to: str | None = None


class CallDetail(msgspec.Struct, frozen=True, kw_only=True):
    """`event` and `result` are whatever JSON the caller and the function gave."""

    call: QueuedCall
    event: Any = None
    result: Any = None


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret without its value, which nobody reads back."""

    name: str
    namespace: str = ""
    version: int = 0  # grows with each other value
    created_at_ms: int | None = None
    updated_at_ms: int | None = None
    used_by: list[str] = msgspec.field(default_factory=list)  # functions
    etag: str = ""


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace."""

    name: str
    created_at_ms: int | None = None


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """What a namespace may use, and uses, by the names of the limits. None: no limit, in `own`: not said."""

    namespace: str
    own: dict[str, float | str | None] = msgspec.field(default_factory=dict)  # what was said of this namespace
    limits: dict[str, float | str | None] = msgspec.field(default_factory=dict)  # what holds
    use: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def refused(self) -> dict[str, int]:
        """Calls and starts that were refused since the hosts' boots, by limit."""
        found = self.use.get("refused")
        return found if isinstance(found, dict) else {}


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """Revisions that were forgotten, or would be."""

    dropped: list[int]  # their numbers
    kept: int
    dry_run: bool = False


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking."""

    principal_id: str
    grants: list[Grant] = msgspec.field(default_factory=list)
    home_namespace: str = "default"
    kind: str = "key"  # or user
    name: str | None = None  # of a user
    scopes: list[str] | None = None  # of a key; None: all that its role allows


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may log in, or could."""

    id: str
    name: str
    state: str  # active, invited (no password yet) or disabled
    grants: list[Grant] = msgspec.field(default_factory=list)
    created_at_ms: int = 0
    password_at_ms: int | None = None  # when it was last set
    last_login_at_ms: int | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A user in a namespace."""

    id: str
    name: str
    role: str
    state: str = "active"


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """What lets a user choose a password, once. It comes this once, and is in no `repr`."""

    user: User
    invitation: str
    expires_at_ms: int

    def __repr__(self) -> str:
        return f"Invitation(user={self.user!r}, invitation={_hidden!r}, expires_at_ms={self.expires_at_ms!r})"


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a login comes to. The tokens are in no `repr`."""

    access_token: str
    expires_at_ms: int
    refresh_token: str
    refresh_expires_at_ms: int
    principal_id: str
    token_type: str = "Bearer"  # noqa: S105 -- OAuth's word, no secret
    device: str | None = None

    def __repr__(self) -> str:
        return f"Tokens(principal_id={self.principal_id!r}, expires_at_ms={self.expires_at_ms!r})"


class TokenKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key that access tokens are signed with."""

    id: str
