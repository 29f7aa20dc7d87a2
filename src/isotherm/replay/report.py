"""What a replay says at its end: the shape of the report, which is a file format with a version."""

from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.errors import Invalid
from isotherm.replay.sketch import Cells, Spread

__all__ = [
    "VERSION",
    "AsyncReport",
    "ColdStarts",
    "FunctionReport",
    "KillReport",
    "MemoryUse",
    "Moment",
    "Report",
    "RolloutReport",
    "SimulatedWarmth",
    "StreamReport",
    "WarmthReport",
    "read_report",
    "to_json",
]

VERSION = 2  # 1 had no version, and nothing of what came with 2: ways, rollouts, kills, cells
MAX_BYTES = 64 * 1024 * 1024


class ColdStarts(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that found no idle instance, as the platform counted and recorded them."""

    share: float  # of all calls
    by_cause: dict[str, int]
    recorded: int  # full records read back; every cold call has one unless a bound dropped it
    start_ms: Spread  # what each waited for the start of its instance; 0 where a parked spare took it
    cost_ms: Spread  # all that each took beyond the stand-in's own sleep; of calls that somebody waited for
    total_cost_s: float  # that of all together
    functions_called: int
    per_function_percent: Spread  # the share of cold calls of each function that was called


class MemoryUse(msgspec.Struct, frozen=True, kw_only=True):
    """From the samples. Busy is the part of each function's memory that its running calls account for: its memory
    over its instances, spares and template, times the time that calls ran. The rest is idle."""

    mean_mb: float
    peak_mb: float
    busy_gb_s: float
    idle_gb_s: float


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One sample, with what was sent since the one before."""

    at_s: float
    calls_per_s: float
    cold_starts: int
    errors: int
    instances: dict[str, int]  # by temperature
    memory_mb: float


class FunctionReport(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the trace."""

    name: str
    trigger: str
    invocations: int
    errors: int
    cold_starts: int
    latency_p50_ms: float
    latency_p99_ms: float


class AsyncReport(msgspec.Struct, frozen=True, kw_only=True):
    """Asynchronous calls: what was promised for them, and what came of it once the queue was empty or time was up."""

    sent: int
    accepted: int  # answered 202
    acknowledged_ms: Spread  # from the sending to the 202
    succeeded: int
    dead: int
    open: int  # still waiting or running when time was up
    lost: int  # accepted and not known to the platform
    dead_by_code: dict[str, int]
    tried_again: int  # that failed at least once
    to_end_ms: Spread  # from acceptance to success or death, by the platform's clock
    drained: bool  # whether the queue was empty within `--settle`
    drain_s: float  # how long that took, or was waited for


class StreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """Calls answered in pieces; the stand-ins' sleep is spread evenly over the pieces."""

    sent: int
    whole: int  # answered to the end
    pieces: int  # of each answer
    first_byte_ms: Spread  # of the body: the first piece, after its share of the sleep
    to_end_ms: Spread


class RolloutReport(msgspec.Struct, frozen=True, kw_only=True):
    """One function that got a new revision. Requests and errors are of what was sent from the deploy to the end."""

    function: str
    strategy: str
    revision: int | None
    state: str  # building or open (when time was up), finished, rolled_back, failed
    step: int
    rule: str | None
    problem: str
    began_s: float
    deploy_s: float | None  # from the deploy to a ready revision
    open_s: float | None  # from there to the end
    requests: int
    by_revision: dict[str, int]  # of those whose answer said so
    errors: int  # excused ones are not among them
    excused: int


class KillReport(msgspec.Struct, frozen=True, kw_only=True):
    """One kill. A call that failed because its instance ended is excused where an instance of its function was killed
    while it was in flight: one call for each instance, which has one call at a time."""

    what: str
    at_s: float
    found: int
    killed: int
    unnamed: int  # instances among them that had not been called yet
    functions: dict[str, int]
    excused: int
    not_excused: int  # failed, and in flight at the kill or sent within five seconds after
    failed: dict[str, int]  # all of these, by way and status
    back_s: float | None  # of control: until the next one answered
    served_again_ms: Spread  # by function: from its first call after the kill to its first good answer to one
    not_called_again: int  # functions
    not_served_again: int  # called, and no good answer came
    problem: str


class SimulatedWarmth(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulator says of the same calls under the same policy and budget."""

    cold_starts: int
    avoidable: int
    idle_minutes: float  # of instances


class WarmthReport(msgspec.Struct, frozen=True, kw_only=True):
    """Who decided what waited warm, and what came of it. Minutes are the trace's, and sampled: instances and templates
    are counted every `sample_s`, by what their host said last."""

    policy: str  # of the stand-ins: foresight or keep_alive
    decides: str  # what the platform said that decides about those of foresight; empty: it did not say
    budget: str | None  # the platform's
    minute_s: float | None  # what its policy takes for a minute; None: it did not say
    fits: bool  # whether that is a minute of the trace at this speed
    spare: int | None  # None: as the platform has it
    template_keep_alive_s: float | None  # in the trace's time; None: as the platform has it, in its own
    sample_s: float
    avoidable: int  # cold starts after a function's first call
    idle_minutes: float  # of instances that waited for a call, parked spares among them
    template_minutes: float
    warm_overhead_ms: Spread  # all but the stand-in's sleep, of calls by Invoke that found an instance
    simulated: SimulatedWarmth | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it; `--json` prints it."""

    version: int = 1  # of this shape; files without one are of the first
    trace: str
    trace_digest: str = ""  # of the functions, minutes and distributions that were replayed
    first_minute: int
    minutes: int
    functions: int
    seed: int
    scale: dict[str, float]
    keep_alive_s: float
    max_instances: int = 0
    async_share: float = 0.0
    stream_share: float = 0.0
    rollout_orders: list[str] = []  # the strategy of each function that got a new revision
    rollout_step_s: float = 0.0
    kill_orders: list[str] = []
    platform_version: str = ""
    cores: int = 0
    load_before: float = 0.0  # load average of a minute, before the calls began
    started_at_ms: int
    deploy_s: float
    wall_s: float
    invocations: int
    errors: int
    errors_excused: int = 0  # of them: in flight in an instance that the replay killed
    errors_by_status: dict[str, int]
    error_examples: list[str]  # those that nothing excuses
    calls_per_s: float
    peak_calls_per_s: float
    cold_starts: int
    cold: ColdStarts
    latency_ms: Spread  # of calls by Invoke, from the sending to the whole answer
    from_due_ms: Spread  # from when it was due
    overhead_ms: Spread  # what is not the stand-in's own sleep
    queue_ms: Spread
    run_ms: Spread
    late_ms: Spread  # how late the replayer itself sent; of all calls
    client_cpu_us: float  # per call
    memory: MemoryUse
    warming: WarmthReport | None = None  # None: of a release that did not say
    asynchronous: AsyncReport | None = None
    streamed: StreamReport | None = None
    rollouts: list[RolloutReport] = []
    kills: list[KillReport] = []
    timeline: list[Moment]
    per_function: list[FunctionReport]
    cells: dict[str, Cells] = {}  # of the spreads that a comparison gives intervals for, by their names in it


def to_json(report: msgspec.Struct) -> dict[str, Any]:
    """A report, or what was made of reports, as JSON values."""
    result: dict[str, Any] = msgspec.to_builtins(report, str_keys=True)
    return result


def read_report(path: Path) -> Report:
    """A report from its file. Raises `Invalid` where it is none, or of a version that this one does not read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Invalid(f"{path}: over the limit of {MAX_BYTES} bytes for a report")
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as exc:
        raise Invalid(f"{path}: {exc.strerror}; give the replay.json of --out") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise Invalid(f"{path}: not the report of a replay: {exc}") from exc
    if report.version != VERSION:
        raise Invalid(f"{path}: a report of version {report.version}; this one reads {VERSION}: replay again")
    return report
