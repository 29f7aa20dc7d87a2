"""Policies by their names, each with the setting at which it spends what the budget says."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy

from isotherm.base.errors import Invalid
from isotherm.replay.simulated.log import Log
from isotherm.replay.simulated.score import plane_of, score
from isotherm.warming.budgets import Budget
from isotherm.warming.drivers.fixed import Fixed, LikeFixed, PerDay
from isotherm.warming.drivers.foresight import Foresight
from isotherm.warming.drivers.greedy_dual import GreedyDual
from isotherm.warming.drivers.histogram import Histogram
from isotherm.warming.drivers.oracle import Oracle, limit_for
from isotherm.warming.drivers.trees import Trees
from isotherm.warming.model import Demand, Groups, Integers
from isotherm.warming.port import Allowance, Policy

__all__ = ["DEFAULT_POLICIES", "Played", "Target", "cold_share", "front", "parse_target", "play"]

DEFAULT_POLICIES = ("none", "fixed:10", "histogram", "greedy_dual", "foresight", "oracle", "oracle_prewarm")
LEAD_MINUTES = 1  # of the oracle that prewarms
CUTS = ((5.0, 99.0), (5.0, 95.0), (1.0, 99.0), (10.0, 90.0))  # of the histogram, to choose the best of
MOST_MINUTES = 1440
MINUTES_A_DAY = 1440
SLACK = 1.005  # of a budget: a policy within it is within the budget
SHARE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(%?)")
PER_DAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*GB·?h(?:/day)?")
FRONT = (1, 2, 5, 10, 20, 40, 60)  # minutes of keep-alive whose spending the picture shows the policies at
SHARES = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)  # of the memory of all units, for the cache


@dataclass(frozen=True)
class Target:
    """What policies may spend: `limit`, in idle minutes of units, or in GB x minutes where `by_memory`, over the whole
    log. `like_minutes`: the keep-alive whose spending is the limit at each moment, where it is one. `period`: minutes
    in which a share of the limit may be spent, None: the whole log. `p_cold`: the share of the active minutes after a
    unit's first that may begin cold; then the limit is infinite."""

    limit: float
    by_memory: bool
    like_minutes: float | None
    period: int | None = None
    p_cold: float | None = None

    @property
    def amount(self) -> float:
        """What the report says of it."""
        return self.limit if self.p_cold is None else self.p_cold

    def holds(self, log: Log, plane: Integers) -> bool:
        """Whether a policy that held that kept to it."""
        if self.p_cold is None:
            return spent(log, log.demand(by_memory=self.by_memory), plane) <= self.limit * SLACK
        return cold_share(log, plane) <= self.p_cold * SLACK


@dataclass(frozen=True)
class Played:
    """A policy and what it held, [n, m]."""

    policy: Policy
    plane: Integers


def parse_target(text: str, log: Log) -> Target:
    """As the command line says it: idle=fixed:10, idle=5000, idle=2GBh/day, memory=fixed:10, memory=80, p_cold=1%.
    Raises `Invalid`."""
    kind, _, reference = (part.strip() for part in text.partition("="))
    if kind not in ("idle", "memory", "p_cold") or not reference:
        raise Invalid(
            f"budget: {text[:60]!r}: idle=POLICY, idle=MINUTES, memory=POLICY, memory=GB·MINUTES, idle=…GBh/day "
            "or p_cold=…% was expected, such as idle=fixed:10, idle=2GBh/day or p_cold=1%"
        )
    by_memory = kind == "memory"
    if kind == "p_cold":
        share = SHARE.fullmatch(reference)
        if share is None or float(share[1]) > (100 if share[2] else 1):
            raise Invalid(f"budget: {text[:60]!r}: a share from 0 to 100 % was expected, such as p_cold=1%")
        return Target(math.inf, log.gb is not None, None, None, float(share[1]) / (100 if share[2] else 1))
    daily = PER_DAY.fullmatch(reference)
    if daily is not None and not by_memory:
        return Target(float(daily[1]) * 60 * log.minutes / MINUTES_A_DAY, True, None, MINUTES_A_DAY)
    try:
        number = float(reference)
    except ValueError:
        number = None
    if number is not None:
        if not 0 <= number < math.inf:
            raise Invalid(f"budget: {text[:60]!r}: a number from 0 up was expected")
        return Target(number, by_memory, None)
    name, _, minutes = reference.partition(":")
    if name in ("foresight", "oracle", "oracle_prewarm", "greedy_dual") and not minutes:
        raise Invalid(f"budget: {reference} spends what a budget says: name another policy, such as fixed:10")
    demand = log.demand(by_memory=by_memory)
    try:
        policy = _with_setting(reference, log, demand)
    except Invalid as exc:
        raise Invalid(f"budget: {text[:60]!r}: it names no policy whose spending is known: {exc.message}") from exc
    held = plane_of(policy, log.counts)
    return Target(spent(log, demand, held), by_memory, _number(reference, minutes) if name == "fixed" else None)


def play(text: str, log: Log, target: Target, trees: Trees | None = None) -> Played:
    """Play a policy. One whose name has a setting, such as fixed:20, keeps to that; the others get the one at which
    they have the fewest avoidable cold starts for what they may spend. Raises `Invalid`."""
    demand = log.demand(by_memory=target.by_memory)
    if text == "foresight":
        return _played(Foresight(demand, _allowance(demand, log, target), trees, groups=_groups(demand, target)), log)
    if text in ("oracle", "oracle_prewarm"):
        lead = LEAD_MINUTES if text == "oracle_prewarm" else None
        limit = target.limit if target.p_cold is None else limit_for(demand, log.counts, target.p_cold, lead)
        return _played(Oracle(demand, log.counts, limit, lead), log)
    if text == "fixed":
        return _fitting(lambda minutes: Fixed(demand, minutes), range(min(MOST_MINUTES, log.minutes)), log, target)
    if text == "histogram":
        return _best_histogram(demand, log, target)
    if text == "greedy_dual":
        sizes = numpy.linspace(0, demand.gb.sum(), 2**14 + 1)
        return _fitting(lambda k: GreedyDual(demand, float(sizes[int(k)])), range(len(sizes)), log, target)
    return _played(_with_setting(text, log, demand), log)


def front(log: Log, target: Target) -> Iterator[tuple[str, Played]]:
    """Each family over its range of settings, for the picture: (family, one policy as it was played). What takes a
    budget gets what keep-alives from 1 to 60 minutes spend."""
    demand = log.demand(by_memory=target.by_memory)
    limits = []
    for minutes in FRONT:
        fixed = _played(Fixed(demand, minutes), log)
        limits.append(Target(spent(log, demand, fixed.plane), target.by_memory, minutes))
        yield "fixed", fixed
        yield "histogram", _played(Histogram(demand, 4 * minutes), log)
    for share in SHARES:
        yield "greedy_dual", _played(GreedyDual(demand, share * float(demand.gb.sum())), log)
    for limit in limits:
        for family in ("foresight", "oracle", "oracle_prewarm"):
            yield family, play(family, log, limit)


def spent(log: Log, demand: Demand, plane: Integers) -> float:
    """Idle minutes of all units, each weighed as the demand says."""
    return float(score(log, plane).idle_minutes @ demand.gb)


def cold_share(log: Log, plane: Integers) -> float:
    """Of the active minutes after each unit's first: those that begin cold."""
    active = log.by_unit() > 0
    after_first = int(active.sum()) - int(active.any(axis=1).sum())
    return float(score(log, plane).avoidable.sum()) / max(1, after_first)


def _groups(demand: Demand, target: Target) -> Groups:
    """All units under one budget; None: an allowance says what it is."""
    return Groups.one(demand.units, None if target.p_cold is None else Budget("p_cold", target.p_cold))


def _allowance(demand: Demand, log: Log, target: Target) -> Allowance:
    if target.like_minutes is not None:
        return LikeFixed(demand, target.like_minutes, log.minutes)
    if target.p_cold is not None:
        return PerDay(1, 0.0)
    return PerDay(1, target.limit / log.minutes, target.period or log.minutes)


def _with_setting(text: str, log: Log, demand: Demand) -> Policy:
    name, *settings = text.split(":")
    numbers = [_number(text, each) for each in settings]
    if name == "none" and not numbers:
        return Fixed(demand, 0)
    if name == "fixed" and len(numbers) == 1:
        return Fixed(demand, numbers[0])
    if name == "histogram" and len(numbers) in (0, 1, 3) and all(number >= 1 for number in numbers):
        return Histogram(demand, int(numbers[0]) if numbers else 240, *numbers[1:])
    if name == "greedy_dual" and len(numbers) == 1:
        return GreedyDual(demand, numbers[0])
    raise Invalid(
        f"policy: {text[:60]!r}: none, fixed[:MINUTES], histogram[:MINUTES[:HEAD:TAIL]], greedy_dual[:GB], foresight, "
        "oracle or oracle_prewarm was expected"
    )


def _number(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise Invalid(f"policy: {text[:60]!r}: a number from 0 up was expected after the colon")
    return value


def _best_histogram(demand: Demand, log: Log, target: Target) -> Played:
    reaches = range(1, min(MOST_MINUTES, log.minutes) + 1)
    found = [_fitting(partial(_histogram, demand, cuts), reaches, log, target) for cuts in CUTS]
    fits = [each for each in found if _fits(log, target, each)] or found[:1]
    if target.p_cold is not None:
        return min(fits, key=lambda each: spent(log, demand, each.plane))
    return min(fits, key=lambda each: int(score(log, each.plane).avoidable.sum()))


def _histogram(demand: Demand, cuts: tuple[float, float], minutes: float) -> Policy:
    return Histogram(demand, int(minutes), *cuts)


def _fits(log: Log, target: Target, played: Played) -> bool:
    if target.p_cold is not None:
        return cold_share(log, played.plane) <= target.p_cold
    return spent(log, log.demand(by_memory=target.by_memory), played.plane) <= target.limit


def _fitting(make: Callable[[float], Policy], settings: Iterable[int], log: Log, target: Target) -> Played:
    """The one of the ascending settings that spends most of what may be spent, or least of all that have few enough
    cold starts, by halving. Where none has, the last. A histogram does not always spend more with a wider range: there
    it is one that fits, not surely the best."""
    if target.p_cold is None:
        return _largest(make, settings, log, target)
    ordered = list(settings)
    best = _played(make(ordered[-1]), log)
    low, high = -1, len(ordered) - 1
    while high - low > 1:
        middle = (low + high) // 2
        tried = _played(make(ordered[middle]), log)
        if _fits(log, target, tried):
            high, best = middle, tried
        else:
            low = middle
    return best


def _largest(make: Callable[[float], Policy], settings: Iterable[int], log: Log, target: Target) -> Played:
    """The largest of the ascending settings that is within the limit. Where none is, the first."""
    ordered = list(settings)
    best = _played(make(ordered[0]), log)
    low, high = 0, len(ordered)
    while high - low > 1:
        middle = (low + high) // 2
        tried = _played(make(ordered[middle]), log)
        if _fits(log, target, tried):
            low, best = middle, tried
        else:
            high = middle
    return best


def _played(policy: Policy, log: Log) -> Played:
    return Played(policy, plane_of(policy, log.counts))
