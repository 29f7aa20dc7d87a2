"""The simulated replay as a story: read the log, set the budget, play each policy, resolve its calls, report."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy
from numpy.typing import NDArray

from isotherm.base.errors import Invalid
from isotherm.prices.machines import default_machine
from isotherm.replay.drivers.logs import Unit, read_log
from isotherm.replay.simulated.engine import Resolved, resolve
from isotherm.replay.simulated.log import Log
from isotherm.replay.simulated.outcome import FrontPoint, Interval, Marks, PolicyOutcome, Simulation
from isotherm.replay.simulated.policies import DEFAULT_POLICIES, Played, Target, front, parse_target, play, spent
from isotherm.replay.simulated.score import Score, score

__all__ = ["START_MS", "Options", "parse_options", "percentile_interval", "ratio_interval", "simulate", "simulate_log"]

START_MS = (
    107.0  # from nothing to the first answer: a template built and an instance forked (`python -m benchmarks cold`)
)
LINGER_S = 600.0  # that instances beyond those that a policy holds stay, of a unit of which it holds some
DRAWS = 2000
Doubles = NDArray[numpy.float64]
Resolution = Literal["auto", "minute", "call"]


@dataclass(frozen=True)
class Options:
    """How to replay. `resolution`: where cold starts are counted; `auto` is by minute where only counts are known."""

    policies: tuple[str, ...] = DEFAULT_POLICIES
    budget: str = "idle=fixed:10"
    unit: Unit = "app"
    resolution: Resolution = "auto"
    seed: int = 1
    start_ms: float = START_MS
    front: bool = False  # play each family over its settings, too


def parse_options(
    *, policies: str | None, budget: str, unit: str, resolution: str, seed: int, start_ms: float
) -> Options:
    """From what a command line says. Raises `Invalid`."""
    if unit not in ("app", "function"):
        raise Invalid(f"--unit {unit[:20]!r}: app or function was expected")
    if resolution not in ("auto", "minute", "call"):
        raise Invalid(f"--resolution {resolution[:20]!r}: auto, minute or call was expected")
    if not 0 <= start_ms <= 3_600_000:
        raise Invalid(f"--start-ms {start_ms:g}: milliseconds from 0 to an hour were expected")
    named = tuple(each.strip() for each in (policies or "").split(",") if each.strip()) or DEFAULT_POLICIES
    return Options(named, budget, cast(Unit, unit), cast(Resolution, resolution), seed, start_ms)


def simulate(path: Path, options: Options, say: Callable[[str], None]) -> Simulation:
    """Raises `Invalid` for a bad log, policy or budget."""
    say(f"reading {path} …")
    return simulate_log(read_log(path, options.unit), options, say)


def simulate_log(log: Log, options: Options, say: Callable[[str], None]) -> Simulation:
    """The same for a log that was read."""
    if not options.policies:
        raise Invalid("replay: no policy was named")
    target = parse_target(options.budget, log)
    by_call = options.resolution == "call" or (options.resolution == "auto" and log.events is not None)
    outcomes: list[PolicyOutcome] = []
    first: Doubles | None = None
    asked_for = list(dict.fromkeys(options.policies))
    for number, asked in enumerate(asked_for, 1):
        say(f"{number} of {len(asked_for)}: playing {asked} …")
        began = time.perf_counter()
        played = play(asked, log, target)
        resolved = resolve(
            log, played.plane, played.policy.keep_alive_s, options.start_ms / 1000, options.seed, LINGER_S
        )
        counted = score(log, played.plane)
        took_s = time.perf_counter() - began
        avoidable = _avoidable(log, counted, resolved, by_call)
        outcomes.append(_outcome(log, target, options, asked, played, counted, resolved, by_call, first, took_s))
        first = avoidable if first is None else first
    machine = default_machine()
    return Simulation(
        trace=log.name,
        minutes=log.minutes,
        functions=len(log.functions),
        apps=int(log.by_unit().any(axis=1).sum()),
        invocations=log.invocations,
        granularity="call" if by_call else "minute",
        budget=options.budget,
        budget_limit=round(target.amount, 6),
        idle_unit="GB·minutes" if target.by_memory else "minutes",
        seed=options.seed,
        start_ms=options.start_ms,
        memory_known=log.gb is not None,
        durations_known=log.duration_s is not None or log.events is not None,
        price=f"{machine.name}, {machine.as_of}",
        policies=outcomes,
        front=_front(log, target, say) if options.front else [],
    )


def _front(log: Log, target: Target, say: Callable[[str], None]) -> list[FrontPoint]:
    say("playing each over its settings, for the picture …")
    demand = log.demand(by_memory=target.by_memory)
    return [
        FrontPoint(
            family=family,
            policy=played.policy.name,
            idle=spent(log, demand, played.plane),
            avoidable_cold_starts=int(score(log, played.plane).avoidable.sum()),
        )
        for family, played in front(log, target)
    ]


def _avoidable(log: Log, counted: Score, resolved: Resolved, by_call: bool) -> Doubles:
    """[n], of each unit."""
    if not by_call:
        return counted.avoidable.astype(float)
    cold = numpy.bincount(log.unit, resolved.cold, len(log.units))
    return numpy.asarray(cold - resolved.first)


def _outcome(
    log: Log,
    target: Target,
    options: Options,
    asked: str,
    played: Played,
    counted: Score,
    resolved: Resolved,
    by_call: bool,
    first: Doubles | None,
    took_s: float,
) -> PolicyOutcome:
    calls = log.by_unit().sum(axis=1, dtype=numpy.int64)
    avoidable = _avoidable(log, counted, resolved, by_call)
    cold = avoidable + (resolved.first if by_call else counted.cold - counted.avoidable)
    rates = (cold / numpy.maximum(calls, 1))[calls > 0]
    by_function = (resolved.cold / numpy.maximum(resolved.calls, 1))[resolved.calls > 0]
    memory_gb = log.memory_gb
    idle_gb_s, busy_gb_s = float(resolved.idle_s @ memory_gb), float(resolved.busy_s @ memory_gb)
    usd = default_machine().usd_per_gb_s
    waited_s = float(resolved.cold.sum()) * options.start_ms / 1000
    resolved_cold = int(resolved.cold.sum())
    return PolicyOutcome(
        policy=played.policy.name,
        asked=asked,
        cold_starts=int(cold.sum()),
        avoidable_cold_starts=int(avoidable.sum()),
        cold_rate=float(cold.sum()) / max(1, log.invocations),
        avoidable_to_first=None if first is None or not first.sum() else float(avoidable.sum() / first.sum()),
        avoidable_to_first_interval=None if first is None else ratio_interval(avoidable, first),
        idle_minutes=round(float(resolved.idle_s.sum()) / 60, 3) if by_call else int(counted.idle_minutes.sum()),
        idle_gb_s=round(idle_gb_s, 3),
        busy_gb_s=round(busy_gb_s, 3),
        idle_usd=round(idle_gb_s * usd, 6),
        busy_usd=round(busy_gb_s * usd, 6),
        added_latency_s=round(waited_s, 3),
        added_latency_ms_per_call=round(1000 * waited_s / max(1, log.invocations), 6),
        p75_app_cold_rate=_marks(rates).p75,
        app_cold_rate=_marks(rates),
        function_cold_rate=_marks(by_function),
        resolved_cold_starts=resolved_cold,
        resolved_avoidable_cold_starts=resolved_cold - int(resolved.first.sum()),
        resolved_scale_out=int(resolved.scale_out.sum()),
        resolved_idle_minutes=round(float(resolved.idle_s.sum()) / 60, 3),
        prewarmed=int(resolved.prewarmed.sum()),
        most_instances=int(resolved.most.max(initial=0)),
        within_budget=target.holds(log, played.plane),
        took_s=round(took_s, 3),
    )


def ratio_interval(ours: Doubles, theirs: Doubles, seed: int = 0) -> Interval | None:
    """Of the sum of `ours` [n] to that of `theirs` [n]: 95 % of draws of `n` units with replacement (B. Efron, R. J.
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). None where most draws have none of theirs."""
    chance = numpy.random.default_rng(seed)
    weights = chance.multinomial(len(ours), numpy.full(len(ours), 1 / len(ours)), size=DRAWS)
    below = weights @ theirs
    ratios = (weights @ ours)[below > 0] / below[below > 0]
    if len(ratios) < DRAWS / 2:
        return None
    low, high = numpy.quantile(ratios, (0.025, 0.975))
    return Interval(low=round(float(low), 5), high=round(float(high), 5))


def percentile_interval(values: Doubles, percent: float, seed: int = 0) -> Interval:
    """Of a percentile of `values` [n]: 95 % of draws of `n` of them with replacement."""
    chance = numpy.random.default_rng(seed)
    drawn = numpy.percentile(values[chance.integers(0, len(values), (DRAWS, len(values)))], percent, axis=1)
    low, high = numpy.quantile(drawn, (0.025, 0.975))
    return Interval(low=round(float(low), 5), high=round(float(high), 5))


def _marks(rates: Doubles) -> Marks:
    values = numpy.percentile(rates, (25, 50, 75, 90, 99)) if len(rates) else numpy.zeros(5)
    p25, p50, p75, p90, p99 = (round(float(value), 6) for value in values)
    return Marks(p25=p25, p50=p50, p75=p75, p90=p90, p99=p99)
