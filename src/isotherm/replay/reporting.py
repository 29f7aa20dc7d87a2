"""Makes the report: pure arithmetic over the outcomes, the records and the samples."""

import os
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from isotherm.replay.drive import Outcomes
from isotherm.replay.events import Ledger, async_report, stream_report
from isotherm.replay.harm import excuse, kill_report, rollout_report
from isotherm.replay.kills import Kill
from isotherm.replay.model import Mix, Scale, StandIn, Trace, Way
from isotherm.replay.platform import ColdRecord, Sample
from isotherm.replay.policy import Plan, drawn_ms, trace_digest
from isotherm.replay.report import (
    VERSION,
    ColdStarts,
    FunctionReport,
    MemoryUse,
    Moment,
    Report,
    SimulatedWarmth,
    WarmthReport,
)
from isotherm.replay.rollouts import RolloutRun
from isotherm.replay.sketch import Cells, cells, parts_of, spread
from isotherm.replay.warmth import WarmthAsked, found_warm, warmth_report

__all__ = ["Run", "make_report"]

GIB = 1024**3
AFTER_S = 1.0  # a sample so soon after the last answer still shows the run's memory
TEMPERATURES = ("hot", "warm", "spare", "template")
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that is known of a replay when it is over."""

    trace: Trace
    stand_ins: list[StandIn]
    plan: Plan
    outcomes: Outcomes
    records: list[ColdRecord]
    samples: list[Sample]
    scale: Scale
    mix: Mix
    seed: int
    keep_alive_s: float
    max_instances: int
    started_at_ms: int
    deploy_s: float
    asked: WarmthAsked
    simulated: SimulatedWarmth | None = None
    platform_version: str = ""
    load_before: float = 0.0
    rollout_orders: list[str] = field(default_factory=list)
    rollout_step_s: float = 0.0
    kill_orders: list[str] = field(default_factory=list)
    ledger: Ledger | None = None
    rollouts: list[RolloutRun] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)


def make_report(run: Run) -> Report:
    trace, plan, outcomes, scale = run.trace, run.plan, run.outcomes, run.scale
    waited = (outcomes.status > 0) & (outcomes.way == Way.INVOKE)
    latency = (outcomes.done_s - outcomes.sent_s) * 1000
    slept = drawn_ms(trace, scale, plan)
    overhead = np.maximum(0.0, latency - slept)
    cold = _cold_by_function(run.samples)
    names = [one.name for one in run.stand_ins]
    excuses = excuse(run.kills, outcomes, plan.row, names)
    excused = excuses > 0
    late = (outcomes.sent_s - plan.at_s) * 1000
    return Report(
        version=VERSION,
        trace=trace.name,
        trace_digest=trace_digest(trace),
        first_minute=trace.first_minute,
        minutes=trace.minutes,
        functions=len(trace.rows),
        seed=run.seed,
        scale={"speed": scale.speed, "duration": scale.duration, "memory": scale.memory, "arrivals": scale.arrivals},
        keep_alive_s=run.keep_alive_s,
        max_instances=run.max_instances,
        async_share=run.mix.asynchronous,
        stream_share=run.mix.streamed,
        rollout_orders=run.rollout_orders,
        rollout_step_s=run.rollout_step_s if run.rollout_orders else 0.0,
        kill_orders=run.kill_orders,
        platform_version=run.platform_version,
        cores=os.cpu_count() or 1,
        load_before=round(run.load_before, 2),
        started_at_ms=run.started_at_ms,
        deploy_s=round(run.deploy_s, 3),
        wall_s=round(outcomes.wall_s, 3),
        invocations=len(plan),
        errors=int(outcomes.failed.sum()),
        errors_excused=int(excused.sum()),
        errors_by_status={str(k): v for k, v in Counter(outcomes.status[outcomes.failed].tolist()).items()},
        error_examples=[text for index, text in outcomes.errors if not excused[index]],
        calls_per_s=round(len(plan) / plan.length_s, 1) if plan.length_s else 0.0,
        peak_calls_per_s=_peak(plan),
        cold_starts=sum(sum(causes.values()) for causes in cold.values()),
        cold=_cold(run, overhead, cold),
        latency_ms=spread(latency[waited]),
        from_due_ms=spread((outcomes.done_s - plan.at_s)[waited] * 1000),
        overhead_ms=spread(overhead[waited]),
        queue_ms=spread(outcomes.queue_ms[waited]),
        run_ms=spread(outcomes.run_ms[waited]),
        late_ms=spread(late),
        client_cpu_us=round(outcomes.client_cpu_s / max(1, len(plan)) * 1e6, 1),
        memory=_memory(run, slept),
        warming=_warming(run, overhead, cold),
        asynchronous=None if run.ledger is None else async_report(run.ledger, outcomes),
        streamed=stream_report(outcomes),
        rollouts=[rollout_report(each, outcomes, _rows_of(run, each.function), excused) for each in run.rollouts],
        kills=[
            kill_report(number, kill, outcomes, plan.row, names, excuses) for number, kill in enumerate(run.kills, 1)
        ],
        timeline=_timeline(outcomes, run.samples),
        per_function=_functions(run, cold, latency),
        cells=_cells(run, latency, overhead, late, waited),
    )


def _cells(run: Run, latency: Floats, overhead: Floats, late: Floats, waited: Bools) -> dict[str, Cells]:
    """What a comparison resamples, each value in the part of the run in which its call was due."""
    outcomes = run.outcomes
    parts = parts_of(run.plan.at_s, run.plan.length_s)
    everything = np.ones(len(parts), dtype=np.bool_)
    accepted = (outcomes.way == Way.EVENT) & ~outcomes.failed
    streamed = (outcomes.way == Way.STREAM) & ~outcomes.failed
    warm = found_warm(outcomes, _recorded(run))
    first = (outcomes.first_s - outcomes.sent_s) * 1000
    made = {
        "latency": cells(parts[waited], latency[waited]),
        "overhead": cells(parts[waited], overhead[waited]),
        "warm": cells(parts[warm], overhead[warm]),
        "late": cells(parts[everything], late),
        "acknowledged": cells(parts[accepted], latency[accepted]),
        "first byte": cells(parts[streamed], first[streamed]),
        "stream": cells(parts[streamed], latency[streamed]),
    }
    if run.ledger is not None:
        ended = run.ledger.ended
        made["to end"] = cells(parts[[index for index, _ in ended]], np.array([ms for _, ms in ended]))
    return {name: each for name, each in made.items() if each}


def _rows_of(run: Run, function: str) -> Bools:
    rows = [one.row for one in run.stand_ins if one.name == function]
    found: Bools = np.isin(run.plan.row, rows)
    return found


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


def _cold(run: Run, overhead: Floats, cold: dict[str, Counter[str]]) -> ColdStarts:
    plan, outcomes = run.plan, run.outcomes
    calls = np.bincount(plan.row, minlength=len(run.stand_ins))
    colds = np.array([sum(cold.get(one.name, {}).values()) for one in run.stand_ins], dtype=np.float64)
    called = calls > 0
    cost_ms = overhead[_recorded(run) & (outcomes.way != Way.EVENT)]
    return ColdStarts(
        share=round(float(colds.sum()) / len(plan), 6) if len(plan) else 0.0,
        by_cause=dict(sum(cold.values(), Counter[str]()).most_common()),
        recorded=len(run.records),
        start_ms=spread(np.array([record.start_ms for record in run.records])),
        cost_ms=spread(cost_ms),
        total_cost_s=round(float(cost_ms.sum()) / 1000, 3),
        functions_called=int(called.sum()),
        per_function_percent=spread(100 * colds[called] / calls[called]),
    )


def _recorded(run: Run) -> Bools:
    """Whether there is a record of each call as a cold one."""
    ids = {record.id for record in run.records}
    return np.array([request_id in ids for request_id in run.outcomes.request_ids], dtype=np.bool_)


def _warming(run: Run, overhead: Floats, cold: dict[str, Counter[str]]) -> WarmthReport:
    counts = {name: sum(causes.values()) for name, causes in cold.items()}
    recorded, samples = _recorded(run), run.samples
    return warmth_report(
        run.asked, run.plan, run.stand_ins, run.outcomes, counts, recorded, overhead, samples, run.simulated
    )


def _memory(run: Run, slept_ms: Floats) -> MemoryUse:
    outcomes = run.outcomes
    # Afterwards it is waited for rollouts and the queue, in one run longer than in another.
    samples = [sample for sample in run.samples if sample.at_s <= outcomes.wall_s + AFTER_S]
    # Only an Invoke's answer says how long it ran; of the others it is known how long they slept.
    ran_ms = np.where(outcomes.way == Way.INVOKE, outcomes.run_ms, np.where(outcomes.failed, 0.0, slept_ms))
    totals = [sum(sample.memory_bytes.values()) for sample in samples]
    run_s = np.bincount(run.plan.row, weights=ran_ms / 1000, minlength=len(run.stand_ins))
    busy = whole = 0.0
    for stand_in in run.stand_ins:
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


def _functions(run: Run, cold: dict[str, Counter[str]], latency: Floats) -> list[FunctionReport]:
    """Latencies are of the calls by Invoke."""
    plan, outcomes = run.plan, run.outcomes
    order = np.argsort(plan.row, kind="stable")
    edges = np.searchsorted(plan.row[order], np.arange(len(run.trace.rows) + 1))
    reports = []
    for stand_in in run.stand_ins:
        mine = order[edges[stand_in.row] : edges[stand_in.row + 1]]
        if not len(mine):
            continue
        numbers = spread(latency[mine[outcomes.way[mine] == Way.INVOKE]])
        reports.append(
            FunctionReport(
                name=stand_in.name,
                trigger=run.trace.rows[stand_in.row].trigger,
                invocations=len(mine),
                errors=int(outcomes.failed[mine].sum()),
                cold_starts=sum(cold.get(stand_in.name, {}).values()),
                latency_p50_ms=numbers.p50,
                latency_p99_ms=numbers.p99,
            )
        )
    return reports
