"""Pure planning: when each call of a trace arrives, where in its distributions it lies, what stands in for each row.

Within a minute the calls of a function lie as a Poisson process would put them, given their number: independent and
uniform. Each row has a random stream of its own, made from the seed and the function's name, so that a plan for some
of the rows is part of the plan for all.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isotherm.replay.model import Distribution, Mix, Scale, StandIn, Trace, TraceRow, Way

__all__ = ["PREFIX", "Plan", "choose_ways", "drawn_ms", "expected_busy", "plan_arrivals", "stand_in", "trace_digest"]

MINUTE_S = 60.0
DIGITS = 6  # of a value in a stand-in's environment
PREFIX = "replay"  # of the names of stand-ins
WAYS = 1  # the stream of random numbers that chooses the ways


@dataclass(frozen=True)
class Plan:
    """Arrivals in order of time. All arrays have one entry per call."""

    at_s: npt.NDArray[np.float64]  # after the start, already sped up
    row: npt.NDArray[np.int32]  # index into the trace's rows
    u: npt.NDArray[np.float64]  # share of the duration's distribution, in [0, 1)
    v: npt.NDArray[np.float64]  # of memory's
    length_s: float  # the replayed time, sped up

    def __len__(self) -> int:
        return len(self.at_s)


def plan_arrivals(trace: Trace, scale: Scale, seed: int) -> Plan:
    """Every call of the trace; where `scale.arrivals` < 1, each with that chance."""
    nothing = (np.empty(0), np.empty(0), np.empty(0))
    parts = [_row_arrivals(row, scale, seed) for row in trace.rows] or [nothing]
    rows = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part[0]) for part in parts])
    at, u, v = (np.concatenate([part[k] for part in parts]) for k in range(3))
    order = np.lexsort((rows, at))
    return Plan(at[order], rows[order], u[order], v[order], trace.minutes * MINUTE_S / scale.speed)


def _row_arrivals(row: TraceRow, scale: Scale, seed: int) -> tuple[npt.NDArray[np.float64], ...]:
    chance = _chance(row, seed)
    counts = np.asarray(row.counts, dtype=np.int64)
    minute = np.repeat(np.arange(len(counts)), counts)
    at = (minute + chance.random(len(minute))) * MINUTE_S / scale.speed
    u, v = chance.random(len(minute)), chance.random(len(minute))
    if scale.arrivals < 1.0:
        kept = chance.random(len(minute)) < scale.arrivals
        at, u, v = at[kept], u[kept], v[kept]
    return at, u, v


def _chance(row: TraceRow, seed: int, stream: int = 0) -> np.random.Generator:
    """The random numbers of a row; other purposes have streams of their own."""
    words = [seed, *hashlib.sha256(row.function.encode()).digest()[:8]]
    return np.random.default_rng([*words, stream] if stream else words)


def choose_ways(trace: Trace, plan: Plan, mix: Mix, seed: int) -> npt.NDArray[np.int8]:
    """The `Way` of each call. A larger share of asynchronous calls takes in those of a smaller one."""
    ways = np.full(len(plan), Way.INVOKE, dtype=np.int8)
    for index, row in enumerate(trace.rows):
        mine = np.flatnonzero(plan.row == index)
        drawn = _chance(row, seed, WAYS).random(len(mine))
        ways[mine[drawn < mix.asynchronous + mix.streamed]] = Way.STREAM
        ways[mine[drawn < mix.asynchronous]] = Way.EVENT
    return ways


def trace_digest(trace: Trace) -> str:
    """What tells two traces of the same name apart: of functions, counts and distributions."""
    parts = [(row.function, row.counts, row.duration_ms.points, row.memory_mb.points) for row in trace.rows]
    return hashlib.sha256(json.dumps([trace.first_minute, trace.minutes, parts]).encode()).hexdigest()[:16]


def drawn_ms(trace: Trace, scale: Scale, plan: Plan) -> npt.NDArray[np.float64]:
    """How long the stand-in of each call sleeps, milliseconds."""
    slept = np.zeros(len(plan))
    for index, row in enumerate(trace.rows):
        mine = plan.row == index
        percents, values = zip(*row.duration_ms.points, strict=True)
        slept[mine] = np.interp(plan.u[mine] * 100, percents, values) * scale.duration
    return slept


def stand_in(row: TraceRow, index: int, scale: Scale, prefix: str = PREFIX) -> StandIn:
    """What is deployed for a row. The name is a DNS label that tells rows apart and says which one it is."""
    short = hashlib.sha256(row.function.encode()).hexdigest()[:10]
    return StandIn(
        name=f"{prefix}-{index:04d}-{short}",
        row=index,
        environment=(
            ("STANDIN_DURATION_MS", _encode(row.duration_ms.scaled(scale.duration))),
            ("STANDIN_MEMORY_MB", _encode(row.memory_mb.scaled(scale.memory))),
        ),
    )


def _encode(distribution: Distribution) -> str:
    return json.dumps([[percent, round(value, DIGITS)] for percent, value in distribution.points])


def expected_busy(trace: Trace, scale: Scale) -> float:
    """Calls in progress on average (Little's law): what the machine must hold, before anything the platform adds."""
    if not trace.minutes:
        return 0.0
    busy_s = sum(sum(row.counts) * row.duration_ms.mean for row in trace.rows) / 1000 * scale.duration * scale.arrivals
    return busy_s / (trace.minutes * MINUTE_S / scale.speed)
