"""Nouns of functions: their configuration (as in isotherm.toml and in the REST API), packages, and views of revisions.

Pure: the command line reads manifests with these types, without a database or a web framework.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from isotherm.base.ids import ALIAS_PATTERN, NAME_PATTERN
from isotherm.wire.egress import EgressChoice
from isotherm.workloads.model import RevisionState, Weight, WorkloadRow
from isotherm.workloads.rollout_model import RolloutPlan

__all__ = [
    "Alias",
    "AsyncConfig",
    "CronConfig",
    "Deployed",
    "Function",
    "FunctionConfig",
    "Making",
    "Package",
    "Pruned",
    "RecordsConfig",
    "Revision",
    "Trigger",
    "WarmConfig",
]

EnvName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
EnvValue = Annotated[str, Meta(max_length=32768)]
Destination = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9_-]{1,128})?$")]
LayerName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,140}:[1-9][0-9]{0,8}$")]
SecretName = Annotated[str, Meta(pattern=NAME_PATTERN, max_length=63)]


class WarmConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How warm a function is kept."""

    min_instances: Annotated[int, Meta(ge=0, le=1000, description="Instances kept even when idle")] = 0
    max_instances: Annotated[int, Meta(ge=1, le=1000, description="Most instances at once")] = 20
    keep_alive_s: Annotated[float, Meta(ge=0, le=604800, description="An idle instance lives this long")] = 600.0
    template_keep_alive_s: Annotated[float, Meta(ge=0, le=2592000, description="An idle template lives this long")] = (
        3600.0
    )
    spare: Annotated[int, Meta(ge=0, le=100, description="Instances forked ahead and parked")] = 1
    warm_event: Annotated[Any, Meta(description="The handler may be called with it ahead of traffic")] = None
    template: Annotated[bool, Meta(description="False: never fork from an imported module")] = True
    policy: Annotated[
        Literal["foresight", "keep_alive"],
        Meta(description="Who decides what waits warm: the learned policy, or the keep-alives alone"),
    ] = "foresight"
    budget: Annotated[
        Annotated[str, Meta(min_length=1, max_length=100)] | None,
        Meta(
            description="Its own budget, such as `p_cold <= 1%` or `idle <= 0.5 GBh/day`; none: that of its namespace, "
            "or the platform's"
        ),
    ] = None


class AsyncConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How asynchronous calls are made, and what follows them."""

    retries: Annotated[int, Meta(ge=0, le=10000, description="Attempts beyond the first")] = 2
    retry_delay_s: Annotated[
        float, Meta(ge=0, le=86400, description="Wait before the first retry, doubled with each")
    ] = 1.0
    max_retry_delay_s: Annotated[float, Meta(ge=0, le=86400, description="Longest wait between attempts")] = 300.0
    max_age_s: Annotated[float, Meta(gt=0, le=1209600, description="A call that is older is not tried any more")] = (
        21600.0
    )
    concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=100000)] | None,
        Meta(description="Deliveries at once; none: as many as the instances take"),
    ] = None
    on_success: Annotated[
        Destination | None,
        Meta(description="A function of the namespace that is told of each success, NAME[:QUALIFIER]"),
    ] = None
    on_failure: Annotated[
        Destination | None, Meta(description="A function of the namespace that is told of each dead letter")
    ] = None


class CronConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule by which the function is called, asynchronously."""

    name: Annotated[str, Meta(pattern=NAME_PATTERN, max_length=63, description="Unlike those of its other schedules")]
    schedule: Annotated[
        str,
        Meta(min_length=1, max_length=200, description="Five fields of cron, @daily and its like, or rate(5 minutes)"),
    ]
    timezone: Annotated[str, Meta(min_length=1, max_length=64, description="Such as Europe/Berlin")] = "UTC"
    missed: Annotated[
        Literal["skip", "once", "all"],
        Meta(description="What becomes of times that passed while the platform was down: none, the last, up to 100"),
    ] = "once"
    jitter_s: Annotated[float, Meta(ge=0, le=3600, description="Each call is put off by a random share of this")] = 0.0
    event: Annotated[Any, Meta(description="JSON to call with; none: one that says which schedule and time it is")] = (
        None
    )
    alias: Annotated[
        Annotated[str, Meta(pattern=ALIAS_PATTERN, max_length=128)] | None, Meta(description="Default: live")
    ] = None
    enabled: Annotated[bool, Meta(description="False: keep it, and call nothing")] = True


class RecordsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of calls beside their outcome."""

    events: Annotated[
        Literal["none", "errors", "all"],
        Meta(description="Whose events are kept, encrypted, for `isotherm replay-call`: user data, so none by default"),
    ] = "none"


class FunctionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of one revision, as the REST API takes it; isotherm.toml has the same names."""

    package: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="Digest of the uploaded zip")]
    runtime: Annotated[
        Annotated[str, Meta(pattern=r"^(python3\.[0-9]{1,2}|nodejs([0-9]{1,2}(\.x)?)?|provided)$")] | None,
        Meta(description="Default: the platform's own Python"),
    ] = None
    handler: Annotated[
        Annotated[str, Meta(pattern=r"^[^\x00-\x20\x7f]+$", max_length=256)] | None,
        Meta(description="Default: app.handler; of nodejs index.handler, of provided bootstrap"),
    ] = None
    memory_mb: Annotated[int, Meta(ge=32, le=65536, description="Memory of one instance, MB")] = 256
    timeout_s: Annotated[float, Meta(gt=0, le=900, description="Time for one call")] = 30.0
    init_timeout_s: Annotated[float, Meta(gt=0, le=900, description="Time for the import")] = 60.0
    cpus: Annotated[float, Meta(ge=0.05, le=64, description="CPUs of one instance")] = 1.0
    pids: Annotated[int, Meta(ge=8, le=4096, description="Processes and threads beside those that serve calls")] = 64
    tmp_mb: Annotated[int, Meta(ge=1, le=10240, description="Size of /tmp, MB")] = 64
    concurrency: Annotated[int, Meta(ge=1, le=1000, description="Calls at once in one instance")] = 1
    dispatch: Literal["threads", "serial"] = "threads"
    request_body: Literal["buffer", "stream"] = "buffer"
    isolation: Literal["process"] = "process"
    threads: Annotated[int, Meta(ge=1, le=256, description="BLAS and OpenMP threads")] = 1
    egress: Annotated[
        EgressChoice, Meta(description='What it may reach: "deny", "open", or a table of hosts and cidrs')
    ] = "deny"
    install: Annotated[bool, Meta(description="Whether what requirements.txt and package.json name is installed")] = (
        True
    )
    install_scripts: Annotated[bool, Meta(description="Whether npm may run what packages bring to be run")] = False
    layers: Annotated[
        list[LayerName],
        Meta(max_length=5, description="Layers of the namespace, NAME:VERSION, unpacked to /opt in order"),
    ] = msgspec.field(default_factory=list)
    env: Annotated[dict[EnvName, EnvValue], Meta(max_length=256)] = msgspec.field(default_factory=dict)
    secrets: Annotated[dict[EnvName, SecretName], Meta(max_length=64)] = msgspec.field(default_factory=dict)
    public: Annotated[bool, Meta(description="Whether the URL needs no key")] = False
    queue_limit: Annotated[int, Meta(ge=0, le=100000, description="Calls that may wait")] = 1000
    queue_wait_s: Annotated[float, Meta(ge=0, le=900, description="Longest time a call waits")] = 30.0
    rate_per_s: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(description="Calls a second; none: unlimited")] = (
        None
    )
    burst: Annotated[
        Annotated[int, Meta(ge=1, le=1000000)] | None, Meta(description="Calls at once above the rate")
    ] = None
    warm: WarmConfig = WarmConfig()
    asynchronous: AsyncConfig = AsyncConfig()
    records: RecordsConfig = RecordsConfig()
    cron: Annotated[list[CronConfig], Meta(max_length=20)] = msgspec.field(default_factory=list)
    rollout: Annotated[RolloutPlan, Meta(description="How `live` goes to it; no part of what makes a revision")] = (
        RolloutPlan()
    )
    development: Annotated[
        bool, Meta(description="For an inner loop: only the newest revision stays, and the function goes once unused")
    ] = False
    debug: Annotated[bool, Meta(description="A debugger may be attached; one instance, and only in development")] = (
        False
    )


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """Code as it was uploaded: a zip."""

    digest: str  # of the zip
    size_bytes: int
    files: int
    requirements: str | None  # digest of requirements.txt, where there is one


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One revision, as it is shown. The env values of `config` are masked for whoever may not read them."""

    id: str
    number: int
    state: RevisionState
    created_at_ms: int
    ready_after_ms: float | None  # from the deploy to ready or failed
    config: FunctionConfig
    problem: dict[str, Any] | None  # RFC 9457, where it failed
    template: bool | None  # whether instances are forked from a template; None: not known yet
    unfit: list[str]  # why not, where not
    url: str  # of this revision by its number; the function's own where it is a head, which has none
    warnings: list[str]  # time limits that hardly go together, each pair named with both values


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    weights: list[Weight]


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """One function, as it is shown."""

    id: str  # "wl_…"
    namespace: str
    name: str
    url: str
    public: bool
    created_at_ms: int
    updated_at_ms: int
    live: list[Weight]  # where unqualified calls go; empty before the first revision is ready
    latest: Revision | None
    development: bool  # it belongs to somebody's inner loop, and goes by itself once that has ended
    etag: str  # changes with every change of the function; without quotes


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """What calls a function by itself, of its revision that leads `live`."""

    kind: Literal["url", "cron"]
    name: str
    target: str  # the alias that it calls
    url: str | None = None
    cron: CronConfig | None = None
    next_at_ms: list[int] = msgspec.field(default_factory=list)  # without jitter; empty where it is not enabled


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """What a deploy came to. `created` is False where code and configuration were those of the latest revision."""

    revision: Revision
    created: bool
    etag: str


class Making(msgspec.Struct, frozen=True, kw_only=True):
    """How a revision comes to be, beside its configuration."""

    head: bool = False  # a state of a mutable function, see `workloads.model.RevisionRow`
    notes: dict[str, Any] = msgspec.field(default_factory=dict)
    check: Callable[[WorkloadRow | None], None] | None = None  # raises where the function, as it is, must stay


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """Revisions that were forgotten, or would be."""

    dropped: list[int]  # their numbers
    kept: int
    dry_run: bool
