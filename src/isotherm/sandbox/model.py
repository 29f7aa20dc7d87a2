"""Nouns of the sandbox room: what an instance is made from, what it may use, how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from isotherm.wire.egress import EgressAllow
from isotherm_runtime.config import RuntimeConfig

__all__ = [
    "CheckResult",
    "EgressReport",
    "Exit",
    "JobResult",
    "JobSpec",
    "Probe",
    "SandboxLimits",
    "SandboxSpec",
    "TemplateInfo",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """Limits of one instance; the template has the same."""

    memory_bytes: int
    cpus: float
    pids: int
    tmp_bytes: int
    revision_memory_bytes: int  # of template and all instances together
    revision_pids: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """What a template is made from. Paths are the host's and absolute; the sandbox sees them as /code and /deps."""

    revision_id: str
    runtime: str
    handler: str
    code_dir: str
    deps_dir: str | None
    env: dict[str, str]
    limits: SandboxLimits
    timeout_s: float
    init_timeout_s: float
    concurrency: int
    dispatch: str
    template: bool  # False: import in each instance
    threads: int
    log_limit_bytes: int  # of one invocation
    function_name: str
    function_version: str
    function_arn: str
    memory_mb: int
    region: str
    request_body: str = "buffer"
    egress: EgressAllow | None = None  # None: no network at all
    layers_dir: str | None = None  # what instances see at /opt
    debug: bool = False  # debugpy is among the dependencies, and is started before the code

    def runtime_config(self, path: Sequence[str] = (), layers: str = "") -> RuntimeConfig:
        """What the runtime in the sandbox is told. `path` and `layers` where the sandbox sees the folders elsewhere
        than at /code, /deps and /opt."""
        return RuntimeConfig(
            handler=self.handler,
            path=tuple(path),
            layers=layers,
            env=self.env,
            concurrency=self.concurrency,
            dispatch=self.dispatch,
            timeout_ms=round(self.timeout_s * 1000),
            memory_mb=self.memory_mb,
            function_name=self.function_name,
            function_version=self.function_version,
            function_arn=self.function_arn,
            region=self.region,
            runtime=self.runtime,
            log_limit_bytes=self.log_limit_bytes,
            init_timeout_ms=round(self.init_timeout_s * 1000),
            request_body=self.request_body,
            debug=self.debug,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateInfo:
    """What came of the import. `unfit` says why instances cannot be forked from it (empty: they can)."""

    unfit: tuple[str, ...]
    import_ms: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressReport:
    """What went out of a revision, and what was refused, since the last report. `open` is how many are open now."""

    opened: int = 0
    refused: int = 0
    open: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    lines: tuple[str, ...] = ()  # for the function's log


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How an instance ended. One of `status` and `signal` is set where the kernel said."""

    status: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    asked: bool = False  # we killed it


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of `isotherm doctor`."""

    name: str
    ok: bool
    detail: str
    enforced: str  # what it enforces, for "not enforced: …"
    needed: bool = True  # False: where it is missing, only what asks for it is refused


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a driver works here and, if not, why."""

    driver: str
    checks: tuple[CheckResult, ...] = field(default=())

    @property
    def isolated(self) -> bool:
        return not self.missing

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(f"{check.enforced}: {check.detail}" for check in self.checks if check.needed and not check.ok)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A program that runs to its end in a sandbox with network: the installer of dependencies.

    It sees the interpreter and `read_only` (host path → path inside), and may write to `/out` (bound to
    `out_dir`) and a private `/tmp`.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    read_only: dict[str, str]
    out_dir: str
    memory_bytes: int
    pids: int
    tmp_bytes: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    exit: Exit
    output: str  # the last 64 KiB of stdout and stderr
    timed_out: bool = False
