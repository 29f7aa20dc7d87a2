"""Desired state: what control tells a host to serve. The host keeps the last of it on disk, encrypted."""

from typing import Any, Literal

import msgspec

from isotherm.wire.egress import EgressChoice
from isotherm.wire.quota import QuotaSpec

__all__ = [
    "DESIRED_FORMAT",
    "AliasSpec",
    "AsyncRules",
    "AsyncSpec",
    "CorsSpec",
    "CronSpec",
    "Desired",
    "GrantSpec",
    "Item",
    "ItemKind",
    "KeySpec",
    "Removed",
    "RevisionSpec",
    "Role",
    "RouteSpec",
    "ShadowSpec",
    "TokenKeySpec",
    "UrlSpec",
    "UserSpec",
    "WarmSpec",
    "item_id",
]

# Raised where items get what hosts have to be told of anew: one that holds an older state on disk serves from it, and
# asks for the whole. 1: keys have what signs.
DESIRED_FORMAT = 1

Role = Literal["admin", "developer", "viewer", "invoker"]
ItemKind = Literal["revision", "route", "key", "quota", "user", "token_key"]


class WarmSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How warm a revision is kept."""

    min_instances: int = 0
    max_instances: int = 20
    keep_alive_s: float = 600.0  # an idle instance lives this long
    template_keep_alive_s: float = 3600.0  # an idle template lives this long
    spare: int = 1  # instances forked ahead and parked beside the template
    warm_event: Any = None  # JSON value: the handler may be called with it ahead of traffic; None: never
    template: bool = True  # False: never fork from an imported module
    policy: Literal["foresight", "keep_alive"] = "foresight"  # "keep_alive": it goes by its keep-alives alone
    budget: str | None = None  # its own, as `warming.budgets` reads it; None: that of its namespace, or the platform's


class AsyncSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How asynchronous calls of a revision are made, and what follows them."""

    retries: int = 2  # attempts beyond the first
    retry_delay_s: float = 1.0  # before the first retry; doubled with each
    max_retry_delay_s: float = 300.0
    max_age_s: float = 21600.0  # a call that is older is not tried any more
    concurrency: int | None = None  # deliveries at once; None: as many as the instances take
    on_success: str | None = None  # a function of the namespace, with an optional qualifier
    on_failure: str | None = None


class RevisionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable revision: code and configuration. Only the values of its secrets change."""

    id: str  # "rev_…"
    workload_id: str  # "wl_…"
    namespace: str
    name: str
    number: int
    runtime: str  # "python3.11", "nodejs20", "provided"
    handler: str  # "module.function"
    package: str  # digest of the code's zip, as uploaded
    requirements: str | None = None  # digest of requirements.txt, where there is one
    env: dict[str, str] = msgspec.field(default_factory=dict)  # to a host: the values of `secrets` included
    secrets: dict[str, str] = msgspec.field(default_factory=dict)  # variable → name of the secret that it holds
    memory_mb: int = 256
    cpus: float = 1.0
    pids: int = 64
    tmp_mb: int = 64
    timeout_s: float = 30.0
    init_timeout_s: float = 60.0
    concurrency: int = 1
    dispatch: Literal["threads", "serial"] = "threads"
    request_body: Literal["buffer", "stream"] = "buffer"  # "stream": the handler gets a URL request's body as it comes
    isolation: Literal["process"] = "process"
    threads: int = 1  # BLAS and OpenMP threads
    egress: EgressChoice = "deny"
    install: bool = True  # what requirements.txt and package.json name
    install_scripts: bool = False  # npm may run what packages bring to be run
    queue_limit: int = 1000
    queue_wait_s: float = 30.0
    layers: list[tuple[str, str]] = msgspec.field(default_factory=list)  # (name, digest of its zip), to /opt in order
    head: bool = False  # a state of a mutable function, which calls `$LATEST` what is called without a qualifier
    warm: WarmSpec = WarmSpec()
    asynchronous: AsyncSpec = AsyncSpec()
    record_events: Literal["none", "errors", "all"] = "none"  # whose events are kept
    development: bool = False  # it belongs to somebody's inner loop, and is no one's production
    debug: bool = False  # a debugger may be attached; only where `development`


class AliasSpec(msgspec.Struct, frozen=True):
    """An alias: revision ids with weights that sum to 1."""

    name: str
    weights: list[tuple[str, float]]


class CronSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule by which a function is called."""

    name: str
    schedule: str  # five fields of cron, a macro, or rate(…)
    timezone: str = "UTC"
    missed: Literal["skip", "once", "all"] = "once"  # what becomes of times when the platform was down
    jitter_s: float = 0.0  # each call is put off by a random share of this
    event: Any = None  # JSON value; None: an event that says which schedule and time it is
    qualifier: str | None = None  # an alias or a revision number; None: `live`


class ShadowSpec(msgspec.Struct, frozen=True):
    """A share of the calls of an alias is copied to a revision; nobody waits for what the copies come to."""

    alias: str
    revision_id: str
    share: float  # above 0, at most 1


class CorsSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser is told of a function URL; `*` is any."""

    allow_credentials: bool = False
    allow_headers: list[str] = msgspec.field(default_factory=list)
    allow_methods: list[str] = msgspec.field(default_factory=list)
    allow_origins: list[str] = msgspec.field(default_factory=list)
    expose_headers: list[str] = msgspec.field(default_factory=list)
    max_age_s: int | None = None


class UrlSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The function URL of one qualifier; it goes before `public` of the route."""

    qualifier: str  # an alias or a version
    public: bool
    cors: CorsSpec | None = None


class AsyncRules(msgspec.Struct, frozen=True, kw_only=True):
    """What asynchronous calls under a qualifier do otherwise than the revision says; None: as it says."""

    qualifier: str
    retries: int | None = None
    max_age_s: float | None = None
    on_success: str | None = None
    on_failure: str | None = None


class RouteSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a workload is reached. `aliases` always has `live`, which unqualified calls take."""

    workload_id: str
    namespace: str
    name: str
    public: bool = False
    aliases: list[AliasSpec] = msgspec.field(default_factory=list)
    versions: list[tuple[int, str]] = msgspec.field(default_factory=list)  # revision number → id, callable by number
    rate_per_s: float | None = None  # calls a second, None: unlimited
    burst: int | None = None
    crons: list[CronSpec] = msgspec.field(default_factory=list)
    standby: list[str] = msgspec.field(default_factory=list)  # kept as warm as what aliases have: rollouts move these
    shadows: list[ShadowSpec] = msgspec.field(default_factory=list)
    urls: list[UrlSpec] = msgspec.field(default_factory=list)
    rules: list[AsyncRules] = msgspec.field(default_factory=list)
    reserved: int | None = None  # calls at once, of all revisions together; None: as many as there is room for
    provisioned: list[tuple[str, int]] = msgspec.field(default_factory=list)  # revision id → instances kept warm


class GrantSpec(msgspec.Struct, frozen=True):
    """A role in a namespace; `*` is every namespace."""

    namespace: str
    role: Role


class KeySpec(msgspec.Struct, frozen=True, kw_only=True):
    """A key that a host may let in. Of its token only the digest is known here; of what signs, what control sealed."""

    id: str  # "key_…"
    digest: str  # SHA-256 of the token, hex
    principal_id: str
    grants: list[GrantSpec]
    home_namespace: str = "default"  # where an unqualified function name is looked up
    expires_at_ms: int | None = None
    access_key_id: str = ""
    sealed: bytes = b""  # see `sigv4.secrets`; opened only to derive the signing keys of a day
    scopes: list[str] | None = None  # None: all that the roles allow


class UserSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A user who may log in; who is disabled is not told of."""

    id: str  # "pr_…"
    version: int  # access tokens of another version are over
    grants: list[GrantSpec]
    home_namespace: str = "default"
    ended: list[str] = msgspec.field(default_factory=list)  # sessions whose access tokens could still be fresh


class TokenKeySpec(msgspec.Struct, frozen=True, kw_only=True):
    """A key that tokens may be signed with: the public half."""

    id: str  # "isk_…", the `kid` of a token's header
    public: bytes  # 32 bytes
    issuer: str


class Item(msgspec.Struct, frozen=True):
    """One entry of the desired state: exactly one of them is set."""

    revision: RevisionSpec | None = None
    route: RouteSpec | None = None
    key: KeySpec | None = None
    quota: QuotaSpec | None = None
    user: UserSpec | None = None
    token_key: TokenKeySpec | None = None


class Removed(msgspec.Struct, frozen=True):
    kind: ItemKind
    id: str


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """A whole snapshot (`full`), or what changed since the version that the host said it has."""

    epoch: str  # identifies the control database; another epoch means a full snapshot
    version: int
    full: bool
    items: list[Item] = msgspec.field(default_factory=list)
    removed: list[Removed] = msgspec.field(default_factory=list)
    format: int = 0  # of a whole snapshot: `DESIRED_FORMAT` of when it was written


def item_id(item: Item) -> tuple[ItemKind, str]:
    """`(kind, id)` of an item; that of a quota is its namespace."""
    if item.revision is not None:
        return "revision", item.revision.id
    if item.route is not None:
        return "route", item.route.workload_id
    if item.key is not None:
        return "key", item.key.id
    if item.quota is not None:
        return "quota", item.quota.namespace
    if item.user is not None:
        return "user", item.user.id
    if item.token_key is not None:
        return "token_key", item.token_key.id
    raise ValueError("an empty item")
