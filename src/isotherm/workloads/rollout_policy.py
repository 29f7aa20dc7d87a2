"""Decisions about rollouts: the stages of a plan, and what a stage comes to by what was seen in it. Pure."""

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from isotherm.base.errors import Invalid
from isotherm.wire.telemetry import LATENCY_BUCKETS_MS, MinuteAggregate
from isotherm.workloads.evalues import log_e_slower, log_e_worse
from isotherm.workloads.model import Weight
from isotherm.workloads.rollout_model import Counts, Reading, RolloutPlan, Rule, Sample

__all__ = [
    "FEWEST_CALLS",
    "Advance",
    "Decision",
    "Hold",
    "RollBack",
    "Stage",
    "at_once",
    "check_plan",
    "counts_of",
    "decide",
    "instances_wanted",
    "since",
    "stages",
    "weights_at",
]

FEWEST_CALLS = 10  # of the new revision, before the gate rolls it back: the first ones may be unlike all others
_bake_s = 300.0  # of blue-green
_highest_e = 1e12  # more says no more
_not_failed = frozenset(("ok", "rejected"))


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of a rollout. `weight` is the new revision's share of the calls, `shadow` the share that is copied."""

    kind: Literal["shadow", "canary", "whole"]
    weight: float
    shadow: float
    least_s: float
    most_s: float


@dataclass(frozen=True, slots=True)
class Hold:
    reading: Reading | None


@dataclass(frozen=True, slots=True)
class Advance:
    """To the next stage; past the last one it is the end."""

    reading: Reading | None


@dataclass(frozen=True, slots=True)
class RollBack:
    rule: Rule
    reading: Reading | None


Decision = Hold | Advance | RollBack


def check_plan(plan: RolloutPlan) -> None:
    """Raises `Invalid` where the values of a plan, each valid, do not go together."""
    if any(later <= earlier for earlier, later in pairwise(plan.steps)):
        raise Invalid(f"rollout.steps is {_listed(plan.steps)}: each step must be above the one before", key="steps")
    if plan.steps[-1] != 100:
        raise Invalid(f"rollout.steps is {_listed(plan.steps)}: the last step must be 100", key="steps")
    if plan.max_step_s < plan.step_s:
        raise Invalid(
            f"rollout.max_step_s is {plan.max_step_s:g}, below rollout.step_s, {plan.step_s:g}", key="max_step_s"
        )


def stages(plan: RolloutPlan) -> list[Stage]:
    """The steps in order; the last has all the calls. Step N of a rollout is the Nth of these."""
    found = []
    if plan.shadow:
        found.append(Stage("shadow", 0.0, plan.shadow / 100, plan.step_s, plan.max_step_s))
    if plan.strategy == "canary":
        found += [
            Stage("canary", percent / 100, 0.0, plan.step_s, plan.max_step_s) for percent in plan.steps if percent < 100
        ]
    default_s = _bake_s if plan.strategy == "blue-green" else 0.0
    bake_s = default_s if plan.bake_s is None else plan.bake_s
    return [*found, Stage("whole", 1.0, 0.0, bake_s, bake_s)]


def at_once(plan: RolloutPlan) -> bool:
    """Whether all calls go over in one move that nobody watches."""
    return len(stages(plan)) == 1 and stages(plan)[0].least_s == 0


def weights_at(before: int, to: int, weight: float) -> list[Weight]:
    """The alias where the new revision has this share of the calls."""
    shares = [Weight(before, 1 - weight), Weight(to, weight)]
    return sorted((share for share in shares if share.weight > 0), key=lambda share: share.number)


def instances_wanted(live: int, stage: Stage, limit: int) -> int:
    """How many instances of the new revision to have before a stage, where the old one has `live`."""
    return max(1, min(limit, math.ceil(live * max(stage.weight, stage.shadow))))


def counts_of(minutes: list[MinuteAggregate]) -> Counts:
    """What minutes of one revision come to."""
    calls = errors = 0
    latency = [0] * (len(LATENCY_BUCKETS_MS) + 1)
    for minute in minutes:
        calls += minute.count - minute.outcomes.get("rejected", 0)
        errors += sum(count for outcome, count in minute.outcomes.items() if outcome not in _not_failed)
        latency = [a + b for a, b in zip(latency, minute.latency, strict=False)]
    return Counts(calls=calls, errors=errors, latency=latency)


def since(now: Counts, then: Counts) -> Counts:
    """What came on top of `then`. What retention has swept meanwhile leaves no negative counts."""
    before = then.latency or [0] * len(now.latency)
    calls = max(0, now.calls - then.calls)
    return Counts(
        calls=calls,
        errors=min(calls, max(0, now.errors - then.errors)),
        latency=[max(0, a - b) for a, b in zip(now.latency, before, strict=False)],
    )


def decide(plan: RolloutPlan, step: int, *, paused: bool, old: Counts, new: Counts, elapsed_s: float) -> Decision:
    """What to do in step `step` (0: not begun) after `elapsed_s` in it, with what was counted meanwhile.

    The gate looks first, also where the rollout is paused: a pause stops its advance, not its guard.
    """
    if step == 0:
        return Hold(None) if paused else Advance(None)
    stage = stages(plan)[step - 1]
    reading = _read(plan, old, new, elapsed_s)
    if plan.gate and new.calls >= FEWEST_CALLS:
        if reading.error_e >= reading.threshold:
            return RollBack("errors", reading)
        if reading.latency_e >= reading.threshold:
            return RollBack("latency", reading)
    if paused or elapsed_s < stage.least_s:
        return Hold(reading)
    if not plan.gate or stage.most_s == 0 or min(old.calls, new.calls) >= plan.min_samples:
        return Advance(reading)
    if elapsed_s < stage.most_s:
        return Hold(reading)
    return _quiet(plan, reading)


def _quiet(plan: RolloutPlan, reading: Reading) -> Decision:
    """Too few calls came, and no more time is given."""
    if plan.on_quiet == "hold":
        return Hold(reading)
    fails_more = reading.new.errors > 0 and reading.new.error_rate > reading.old.error_rate + plan.error_tolerance
    if plan.on_quiet == "roll-back" or fails_more:
        return RollBack("quiet", reading)
    return Advance(reading)


def _read(plan: RolloutPlan, old: Counts, new: Counts, elapsed_s: float) -> Reading:
    log_errors = log_e_worse(old.errors, old.calls, new.errors, new.calls, plan.error_tolerance)
    pairs = _compared(plan.latency_factor, plan.latency_slack_ms)
    log_latency, pair = log_e_slower(old.latency, new.latency, pairs, plan.latency_tolerance)
    tests = 2 * len(stages(plan))  # of the whole rollout: each may raise a false alarm (Bonferroni)
    return Reading(
        old=_sample(old),
        new=_sample(new),
        error_e=_e(log_errors),
        latency_e=_e(log_latency),
        threshold=tests / plan.false_alarm,
        slower_ms=None if pair is None else LATENCY_BUCKETS_MS[pairs[pair][1]],
        elapsed_s=elapsed_s,
    )


def _compared(factor: float, slack_ms: float) -> list[tuple[int, int]]:
    """Each bound of the old histogram with the least bound of the new one that is as much later as is tolerated."""
    pairs = []
    for index, bound_ms in enumerate(LATENCY_BUCKETS_MS):
        other = bisect_left(LATENCY_BUCKETS_MS, bound_ms * factor + slack_ms)
        if other < len(LATENCY_BUCKETS_MS):
            pairs.append((index, other))
    return pairs


def _sample(counts: Counts) -> Sample:
    return Sample(
        calls=counts.calls,
        errors=counts.errors,
        error_rate=counts.errors / counts.calls if counts.calls else 0.0,
        p50_ms=_quantile_ms(counts.latency, 0.50),
        p95_ms=_quantile_ms(counts.latency, 0.95),
        p99_ms=_quantile_ms(counts.latency, 0.99),
    )


def _quantile_ms(latency: list[int], share: float) -> float | None:
    wanted, seen = share * sum(latency), 0
    for bound_ms, count in zip(LATENCY_BUCKETS_MS, latency, strict=False):
        seen += count
        if count and seen >= wanted:
            return float(bound_ms)
    return None


def _e(log_e: float) -> float:
    return _highest_e if log_e > math.log(_highest_e) else math.exp(log_e)


def _listed(steps: tuple[float, ...]) -> str:
    return ", ".join(f"{step:g}" for step in steps)
