"""What a replay asks and says of warmth: who decides it, when a minute of the policy begins, what came of it."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isotherm.replay.drive import Outcomes
from isotherm.replay.model import StandIn, Way
from isotherm.replay.platform import Sample, WarmthSeen
from isotherm.replay.policy import MINUTE_S, Plan
from isotherm.replay.report import SimulatedWarmth, WarmthReport
from isotherm.replay.sketch import spread

__all__ = ["WarmthAsked", "begin_in_s", "fits", "found_warm", "held_gb", "warmth_report", "warnings"]

GB = 1e9
APART = 0.01  # of a minute of the policy and one of the trace
WAITS = ("warm", "spare")
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class WarmthAsked:
    """What the stand-ins were deployed with, as the options have it, and what the platform said before."""

    policy: str
    spare: int | None
    template_keep_alive_s: float | None
    sample_s: float
    seen: WarmthSeen
    speed: float


def fits(seen: WarmthSeen, speed: float) -> bool:
    """Whether the policy's minute is one of the trace."""
    return seen.minute_s is not None and abs(seen.minute_s * speed / MINUTE_S - 1) <= APART


def warnings(asked: WarmthAsked) -> list[str]:
    """What keeps the run from showing the policy's effect, for who asked for it."""
    if asked.policy != "foresight":
        return []
    seen, wanted_s = asked.seen, MINUTE_S / asked.speed
    if not seen.decides:
        return [
            "what the platform's policy takes for a minute is not visible to this key: it takes one for all namespaces"
        ]
    if seen.decides != "foresight":
        return [f"the stand-ins go by their keep-alives, whatever --warming says: {seen.why}"]
    said = []
    if not seen.planned:
        said.append("the policy has not planned yet: until it does the stand-ins go by their keep-alives")
    if not fits(seen, asked.speed):
        setting = f"ISOTHERM_WARMING_MINUTE_S={wanted_s:g}" if wanted_s >= 1 else "a --speed of 60 at most with it"
        said.append(
            f"the policy's minute has {seen.minute_s or MINUTE_S:g} s, one of the trace {wanted_s:g} s at this speed: "
            f"what it decides does not fit; start the platform with {setting}"
        )
    return said


def begin_in_s(asked: WarmthAsked, now_s: float, soonest_s: float) -> float:
    """How long to wait before the first minute of the trace begins: where the policy's minutes are the trace's, until
    one of them begins. `now_s`: since 1970."""
    if not fits(asked.seen, asked.speed) or asked.seen.minute_s is None:
        return soonest_s
    minute_s = asked.seen.minute_s
    return math.ceil((now_s + soonest_s) / minute_s) * minute_s - now_s


def held_gb(samples: list[Sample], stand_ins: list[StandIn]) -> tuple[Floats, Floats]:
    """Memory of an instance and of a template of each stand-in, [n] each, on the median of the samples; NaN where none
    showed it."""
    instance, template = np.full(len(stand_ins), np.nan), np.full(len(stand_ins), np.nan)
    for index, one in enumerate(stand_ins):
        alone: list[tuple[int, int]] = []
        beside: list[tuple[int, int]] = []
        for sample in samples:
            kinds = sample.instances.get(one.name, {})
            if kinds.get("template") == 1:
                processes = sum(count for kind, count in kinds.items() if kind != "template")
                (beside if processes else alone).append((sample.memory_bytes.get(one.name, 0), processes))
        if alone:
            template[index] = np.median([held for held, _ in alone]) / GB
        each = [held / GB - template[index] for held, processes in beside if processes == 1]
        if alone and each and np.median(each) > 0:
            instance[index] = np.median(each)
    return instance, template


def warmth_report(
    asked: WarmthAsked,
    plan: Plan,
    stand_ins: list[StandIn],
    outcomes: Outcomes,
    cold: dict[str, int],
    recorded: Bools,
    overhead_ms: Floats,
    samples: list[Sample],
    simulated: SimulatedWarmth | None,
) -> WarmthReport:
    """`cold`: cold starts by function, as they were counted. `recorded`, `overhead_ms`: of each call of the plan,
    whether there is a record of it as a cold one, and what it took beyond the stand-in's sleep."""
    warm = found_warm(outcomes, recorded)
    to_minutes = asked.speed / MINUTE_S
    return WarmthReport(
        policy=asked.policy,
        decides=asked.seen.decides,
        budget=asked.seen.budget,
        minute_s=asked.seen.minute_s,
        fits=fits(asked.seen, asked.speed),
        spare=asked.spare,
        template_keep_alive_s=asked.template_keep_alive_s,
        sample_s=asked.sample_s,
        avoidable=_avoidable(plan, stand_ins, cold, recorded),
        idle_minutes=round(_held_s(samples, plan.length_s, WAITS) * to_minutes, 2),
        template_minutes=round(_held_s(samples, plan.length_s, ("template",)) * to_minutes, 2),
        warm_overhead_ms=spread(overhead_ms[warm]),
        simulated=simulated,
    )


def found_warm(outcomes: Outcomes, recorded: Bools) -> Bools:
    """Which calls by Invoke found an instance and were answered."""
    found: Bools = ~recorded & (outcomes.way == Way.INVOKE) & ~outcomes.failed
    return found


def _avoidable(plan: Plan, stand_ins: list[StandIn], cold: dict[str, int], recorded: Bools) -> int:
    """Cold starts but those of functions' first calls."""
    rows, first = np.unique(plan.row, return_index=True)
    began_cold = {int(row): bool(recorded[index]) for row, index in zip(rows, first, strict=True)}
    return sum(max(0, cold.get(one.name, 0) - began_cold.get(one.row, False)) for one in stand_ins)


def _held_s(samples: list[Sample], length_s: float, temperatures: tuple[str, ...]) -> float:
    """Trapezoids between the samples, while the trace lasted; where that ends between two, up to there."""
    if not samples:
        return 0.0
    at_s = np.array([sample.at_s for sample in samples])
    counts = [sum(each.get(t, 0) for each in one.instances.values() for t in temperatures) for one in samples]
    edges_s = np.unique(np.clip(at_s, 0.0, length_s))
    return float(np.trapezoid(np.interp(edges_s, at_s, counts), edges_s))
