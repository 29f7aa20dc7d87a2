"""What a replay says at its end: pure arithmetic over the outcomes, the records and the samples."""

from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from isotherm.replay.drive import Outcomes
from isotherm.replay.model import Scale, StandIn, Trace
from isotherm.replay.platform import ColdRecord, Sample
from isotherm.replay.policy import Plan, drawn_ms

__all__ = [
    "ColdStarts",
    "FunctionReport",
    "MemoryUse",
    "Moment",
    "Report",
    "Spread",
    "make_report",
    "spread",
    "to_json",
]

GIB = 1024**3
TEMPERATURES = ("hot", "warm", "spare", "template")


class Spread(msgspec.Struct, frozen=True):
    """A distribution in a few numbers; all zero where there is nothing."""

    mean: float
    p50: float
    p75: float
    p90: float
    p99: float
    p999: float
    max: float


class ColdStarts(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that found no idle instance, as the platform counted and recorded them."""

    share: float  # of all calls
    by_cause: dict[str, int]
    recorded: int  # full records read back; every cold call has one unless a bound dropped it
    start_ms: Spread  # what each waited for the start of its instance; 0 where a parked spare took it
    cost_ms: Spread  # all that each took beyond the stand-in's own sleep
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


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it; `--json` prints it."""

    trace: str
    first_minute: int
    minutes: int
    functions: int
    seed: int
    scale: dict[str, float]
    keep_alive_s: float
    started_at_ms: int
    deploy_s: float
    wall_s: float
    invocations: int
    errors: int
    errors_by_status: dict[str, int]
    error_examples: list[str]
    calls_per_s: float
    peak_calls_per_s: float
    cold_starts: int
    cold: ColdStarts
    latency_ms: Spread  # from the sending of a call to its whole answer
    from_due_ms: Spread  # from when it was due
    overhead_ms: Spread  # what is not the stand-in's own sleep
    queue_ms: Spread
    run_ms: Spread
    late_ms: Spread  # how late the replayer itself sent
    client_cpu_us: float  # per call
    memory: MemoryUse
    timeline: list[Moment]
    per_function: list[FunctionReport]


def spread(values: npt.NDArray[np.float64]) -> Spread:
    """The mean and nearest-rank percentiles, to a thousandth."""
    if not len(values):
        return Spread(0, 0, 0, 0, 0, 0, 0)
    marks = np.percentile(values, [50, 75, 90, 99, 99.9, 100], method="inverted_cdf")
    return Spread(*(round(float(value), 3) for value in (values.mean(), *marks)))


def make_report(
    trace: Trace,
    stand_ins: list[StandIn],
    plan: Plan,
    outcomes: Outcomes,
    records: list[ColdRecord],
    samples: list[Sample],
    *,
    scale: Scale,
    seed: int,
    keep_alive_s: float,
    started_at_ms: int,
    deploy_s: float,
) -> Report:
    answered = outcomes.status > 0
    latency = (outcomes.done_s - outcomes.sent_s) * 1000
    overhead = np.maximum(0.0, latency - drawn_ms(trace, scale, plan))
    cold = _cold_by_function(samples)
    return Report(
        trace=trace.name,
        first_minute=trace.first_minute,
        minutes=trace.minutes,
        functions=len(trace.rows),
        seed=seed,
        scale={"speed": scale.speed, "duration": scale.duration, "memory": scale.memory, "arrivals": scale.arrivals},
        keep_alive_s=keep_alive_s,
        started_at_ms=started_at_ms,
        deploy_s=round(deploy_s, 3),
        wall_s=round(outcomes.wall_s, 3),
        invocations=len(plan),
        errors=int(outcomes.failed.sum()),
        errors_by_status={str(k): v for k, v in Counter(outcomes.status[outcomes.failed].tolist()).items()},
        error_examples=outcomes.examples,
        calls_per_s=round(len(plan) / plan.length_s, 1) if plan.length_s else 0.0,
        peak_calls_per_s=_peak(plan),
        cold_starts=sum(sum(causes.values()) for causes in cold.values()),
        cold=_cold(plan, outcomes, overhead, cold, records, stand_ins),
        latency_ms=spread(latency[answered]),
        from_due_ms=spread((outcomes.done_s - plan.at_s)[answered] * 1000),
        overhead_ms=spread(overhead[answered]),
        queue_ms=spread(outcomes.queue_ms[answered]),
        run_ms=spread(outcomes.run_ms[answered]),
        late_ms=spread((outcomes.sent_s - plan.at_s) * 1000),
        client_cpu_us=round(outcomes.client_cpu_s / max(1, len(plan)) * 1e6, 1),
        memory=_memory(plan, outcomes, samples, stand_ins),
        timeline=_timeline(outcomes, samples),
        per_function=_functions(trace, stand_ins, plan, outcomes, cold, latency),
    )


def _peak(plan: Plan) -> float:
    """Calls in the busiest second."""
    return float(np.bincount(plan.at_s.astype(np.int64)).max()) if len(plan) else 0.0


def _cold_by_function(samples: list[Sample]) -> dict[str, Counter[str]]:
    """function → cause → cold starts between the first sample and the last."""
    if not samples:
        return {}
    return {
        function: Counter(causes) - Counter(samples[0].cold_starts.get(function, {}))
        for function, causes in samples[-1].cold_starts.items()
    }


def _cold(
    plan: Plan,
    outcomes: Outcomes,
    overhead: npt.NDArray[np.float64],
    cold: dict[str, Counter[str]],
    records: list[ColdRecord],
    stand_ins: list[StandIn],
) -> ColdStarts:
    calls = np.bincount(plan.row, minlength=len(stand_ins))
    colds = np.array([sum(cold.get(one.name, {}).values()) for one in stand_ins], dtype=np.float64)
    called = calls > 0
    ids = {record.id for record in records}
    cost_ms = overhead[np.array([request_id in ids for request_id in outcomes.request_ids], dtype=np.bool_)]
    return ColdStarts(
        share=round(float(colds.sum()) / len(plan), 6) if len(plan) else 0.0,
        by_cause=dict(sum(cold.values(), Counter[str]()).most_common()),
        recorded=len(records),
        start_ms=spread(np.array([record.start_ms for record in records])),
        cost_ms=spread(cost_ms),
        total_cost_s=round(float(cost_ms.sum()) / 1000, 3),
        functions_called=int(called.sum()),
        per_function_percent=spread(100 * colds[called] / calls[called]),
    )


def _memory(plan: Plan, outcomes: Outcomes, samples: list[Sample], stand_ins: list[StandIn]) -> MemoryUse:
    totals = [sum(sample.memory_bytes.values()) for sample in samples]
    run_s = np.bincount(plan.row, weights=outcomes.run_ms / 1000, minlength=len(stand_ins))
    busy = whole = 0.0
    for stand_in in stand_ins:
        held = [sample.memory_bytes.get(stand_in.name, 0) for sample in samples]
        processes = [max(1, sum(sample.instances.get(stand_in.name, {}).values())) for sample in samples]
        byte_s = _integral(samples, held)
        each = sum(m / p for m, p in zip(held, processes, strict=True)) / max(1, len(samples))
        whole += byte_s
        busy += min(byte_s, each * float(run_s[stand_in.row]))
    return MemoryUse(
        mean_mb=round(sum(totals) / max(1, len(totals)) / 1024**2, 1),
        peak_mb=round(max(totals, default=0) / 1024**2, 1),
        busy_gb_s=round(busy / GIB, 3),
        idle_gb_s=round((whole - busy) / GIB, 3),
    )


def _integral(samples: list[Sample], values: list[int]) -> float:
    """Trapezoids between the samples."""
    pairs = zip(samples, samples[1:], values, values[1:], strict=False)
    return sum((b.at_s - a.at_s) * (u + v) / 2 for a, b, u, v in pairs)


def _timeline(outcomes: Outcomes, samples: list[Sample]) -> list[Moment]:
    return [_moment(outcomes, before, sample) for before, sample in pairwise(samples)]


def _moment(outcomes: Outcomes, before: Sample, sample: Sample) -> Moment:
    sent = (outcomes.sent_s > before.at_s) & (outcomes.sent_s <= sample.at_s)
    instances: Counter[str] = Counter()
    for by_temperature in sample.instances.values():
        instances.update(by_temperature)
    cold = _cold_by_function([before, sample])
    return Moment(
        at_s=round(sample.at_s, 3),
        calls_per_s=round(float(sent.sum()) / max(1e-9, sample.at_s - before.at_s), 1),
        cold_starts=sum(sum(causes.values()) for causes in cold.values()),
        errors=int((sent & outcomes.failed).sum()),
        instances={name: instances.get(name, 0) for name in TEMPERATURES},
        memory_mb=round(sum(sample.memory_bytes.values()) / 1024**2, 1),
    )


def _functions(
    trace: Trace,
    stand_ins: list[StandIn],
    plan: Plan,
    outcomes: Outcomes,
    cold: dict[str, Counter[str]],
    latency: npt.NDArray[np.float64],
) -> list[FunctionReport]:
    order = np.argsort(plan.row, kind="stable")
    edges = np.searchsorted(plan.row[order], np.arange(len(trace.rows) + 1))
    reports = []
    for stand_in in stand_ins:
        mine = order[edges[stand_in.row] : edges[stand_in.row + 1]]
        if not len(mine):
            continue
        numbers = spread(latency[mine])
        reports.append(
            FunctionReport(
                name=stand_in.name,
                trigger=trace.rows[stand_in.row].trigger,
                invocations=len(mine),
                errors=int(outcomes.failed[mine].sum()),
                cold_starts=sum(cold.get(stand_in.name, {}).values()),
                latency_p50_ms=numbers.p50,
                latency_p99_ms=numbers.p99,
            )
        )
    return reports


def to_json(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    result: dict[str, Any] = msgspec.to_builtins(report)
    return result
