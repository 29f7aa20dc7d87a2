"""Our own: a learned probability for each function and minute, and one price for idle memory that keeps the budget."""

import importlib.resources
import json
from functools import cache
from typing import Any

import numpy
from numpy.typing import NDArray

from isotherm.base.errors import Invalid
from isotherm.warming.accounts import Accounts, Steps
from isotherm.warming.drivers.compiled import compiled
from isotherm.warming.drivers.features import FEATURES, describe, names
from isotherm.warming.drivers.past import Past, amend, forget, observe
from isotherm.warming.drivers.trees import Trees, scores
from isotherm.warming.model import Demand, Doubles, Groups, Integers, Observed, Outlook, Prices, Rung
from isotherm.warming.policy import choose, ladder, odds_of, plan, rungs
from isotherm.warming.port import Allowance

__all__ = ["Foresight", "hazards", "instances_for", "load_trees", "outlook", "shipped_trees", "trees_to_json"]

MINUTE_S = 60.0
MOST_INSTANCES = 1000
OFTEN = 100  # calls of a unit, up to which a cold start weighs less the more there were: it is a smaller share of them
WEIGHT = 0.5  # the power of that
RECENT, BUSY = 10, 7  # of so many active minutes, the load in order of this one from below: the 80th percentile
OF_THE_LAST = 0.3  # what a minute's mean duration counts for in that of a unit
NEEDED = 0.5  # the probability from which a further instance is held


class Foresight:
    """Holds a unit where the odds of a call in the minute are worth its memory at the price of the moment.

    `ladder_gb`, `start_s` [n, rungs]: with them it holds units on any rung, before their first call, too: they are
    deployed when the log begins. Without them a unit is cold or warm, and unknown before its first call. `groups`:
    whose budget pays; without them all share one, which is the allowance. `rung` [n] says where each is.
    """

    def __init__(
        self,
        demand: Demand,
        allowance: Allowance,
        trees: Trees | None = None,
        ladder_gb: Doubles | None = None,
        start_s: Doubles | None = None,
        groups: Groups | None = None,
    ) -> None:
        self.name = "foresight"
        self.past = Past.empty(demand.functions)
        self.rung = numpy.zeros(demand.units, numpy.int32)
        self.probability = numpy.zeros(demand.units)  # of a call in the minute that was asked about last
        self.prices = Prices(0.0, numpy.zeros(1))
        self.idle_gb = 0.0  # that lay idle in the last minute that was observed
        self.due = numpy.zeros(
            demand.units, bool
        )  # what is certain to be called in the coming minute; set from outside
        self._demand = demand
        self._trees = trees or shipped_trees()
        self._deployed = ladder_gb is not None
        self._timed = bool(demand.duration_s.any())
        self._unknown_minutes, self._first_calls = 0.0, 0.0
        self._calls = numpy.zeros(demand.units)
        self._load = numpy.zeros((demand.units, RECENT))  # calls at once on average, in the last active minutes
        self._load_at = numpy.zeros(demand.units, int)
        functions = numpy.maximum(numpy.bincount(demand.unit, minlength=demand.units), 1)
        self._duration_s = numpy.bincount(demand.unit, demand.duration_s, demand.units) / functions
        self._allowance = allowance
        self.groups = groups or Groups.one(demand.units)
        self.accounts = Accounts(self.groups, allowance)
        self.measure(*_ladder(demand, ladder_gb, start_s))

    @property
    def keep_alive_s(self) -> float | None:
        return None

    @property
    def price(self) -> float:
        """Of idle memory in the minute that was asked about last, of the first group."""
        return float(self.prices.shadow[0])

    def measure(self, gb: Doubles, start_s: Doubles) -> None:
        """What units hold and wait for on each rung, from now on: [n, rungs] each."""
        by_share = ~numpy.isnan(self.groups.p_cold[self.groups.of])
        if by_share.any():  # there nothing but an instance counts as warm
            start_s = numpy.where(by_share[:, None], numpy.array([1.0, 1.0, 1.0, 0.0]), start_s)
        self.gb, self.start_s = gb, start_s
        self._steps = ladder(gb, start_s)
        self._held = numpy.where(numpy.isfinite(gb), gb, 0.0)
        self._more_gb = numpy.diff(self._held, axis=1)
        self._taken = numpy.flatnonzero(self._more_gb.any(axis=0))  # steps that cost anything
        self._there = numpy.isfinite(gb[:, Rung.WARM])

    def regroup(self, groups: Groups) -> None:
        """Whose budget pays for what, from now on: groups may have come, none gone. `measure` has to follow."""
        self.groups = groups
        self.accounts.enlarge(groups)

    def enlarge(self, units: int) -> None:
        """Make room for so many units, each a function of its own. Until `measure` says what they hold they are not
        there."""
        n = len(self.rung)
        if not self._demand.alone or units < n:
            raise Invalid(f"{n} units cannot become {units}")
        self._demand = Demand(numpy.arange(units, dtype=numpy.int32), numpy.zeros(units), numpy.ones(units))
        self.past = self.past.enlarged(units)
        for name in ("rung", "probability", "due", "_calls", "_load", "_load_at", "_duration_s"):
            before = getattr(self, name)
            fresh = numpy.zeros((units - n, *before.shape[1:]), before.dtype)
            setattr(self, name, numpy.concatenate([before, fresh]))

    def forget(self, unit: int) -> None:
        """Another one may take its place."""
        forget(self.past, unit)
        for values in (self.rung, self.probability, self.due, self._calls, self._load, self._load_at, self._duration_s):
            values[unit] = 0

    def amend(self, minute: int, counts: Integers) -> None:
        """Calls [n] that came in a minute after it was observed. Who was called so is expected again at once."""
        amend(self.past, minute, counts)
        self._calls += counts
        self.probability[counts > 0] = 1.0

    def hold(self, minute: int) -> Integers:
        by_function = hazards(self._trees, self.past, minute)
        silent = 1 - by_function
        if not self._demand.alone:
            silent = numpy.ones(self._demand.units)
            numpy.multiply.at(silent, self._demand.unit, 1 - by_function)
        self.probability = numpy.where(self._calls > 0, 1 - silent, self._presumed())
        self.probability[self.due] = 1.0
        odds = odds_of(self.probability) * self.weight
        self.accounts.learn(self._offered(odds))
        self.prices = self.accounts.prices(minute)
        self.rung = self._where(odds)
        return self.instances

    def look_again(self) -> Integers:
        """Decide once more about the same minute, at the same prices, after late calls of the one before."""
        self.rung = self._where(odds_of(self.probability) * self.weight)
        return self.instances

    def observe(self, minute: int, counts: Integers, busy_s: Doubles | None = None) -> None:
        """`busy_s` [n]: the time that the calls of the minute took; without it they took what the demand says."""
        calls = self._demand.by_unit(counts)
        active = calls > 0
        groups, of = self.groups.count, self.groups.of
        idle = numpy.where(active, 0.0, self._held[numpy.arange(len(of)), self.rung])
        self.idle_gb = float(idle.sum())
        self.accounts.spend(_sums(of, idle, groups))
        known = active & (self._calls > 0)
        cold = known & (self.rung < Rung.WARM)
        self.accounts.saw(_sums(of, known, groups), _sums(of, cold, groups))
        unknown = (self._calls == 0) & self._there
        self._unknown_minutes += float(unknown.sum())
        self._first_calls += float((unknown & active).sum())
        if self._timed or busy_s is not None:
            self._see_load(active, counts, busy_s)
        self._calls += calls
        observe(self.past, minute, counts)
        self._allowance.observe(minute, counts)

    @property
    def held_gb(self) -> float:
        """What waits in the minute that was asked about last."""
        return float(self._held[numpy.arange(len(self.rung)), self.rung].sum())

    def recall(self, minute: int, calls: Integers, busy_s: Doubles) -> None:
        """A minute from before a restart: what came in it is remembered; nothing is decided or spent."""
        self._see_load(calls > 0, calls, busy_s)
        self._calls += calls
        observe(self.past, minute, calls)

    @property
    def instances(self) -> Integers:
        """Of each unit [n], to be ready in the minute that was asked about last."""
        wanted = instances_for(numpy.sort(self._load, axis=1)[:, BUSY], self._duration_s) if self._timed else 1
        return numpy.where(self.rung == Rung.WARM, wanted, 0).astype(numpy.int32)

    def for_peak(self, units: NDArray[numpy.int64], calls: Doubles) -> Integers:
        """The instances that so many calls in a minute need, of some units: [k] each."""
        duration_s = self._duration_s[units]
        return instances_for(calls * duration_s / MINUTE_S, duration_s)

    @property
    def held_back(self) -> NDArray[numpy.bool_]:
        """Whether a unit would wait warmer if its group might hold more at once [n]."""
        free = choose(odds_of(self.probability) * self.weight, self._steps, self.prices.shadow[self.groups.of])
        found: NDArray[numpy.bool_] = (free > self.rung) & (self.probability > 0)
        return found

    def again(self, units: NDArray[numpy.int64], minute: int, horizon: int) -> Integers:
        """How many minutes after `minute`, which is the first that is not known, each of these units is to be warm
        again if nothing comes before [k]; 0: not within `horizon`."""
        now = Observed(
            names=tuple(map(str, units)),
            group=self.groups.of[units],
            gb=self.gb[units],
            start_s=self.start_s[units],
            rung=self.rung[units],
            instances=self.instances[units],
        )
        hazard = outlook(self._trees, self.past.only(units), minute, horizon)
        expected = Outlook(hazard, numpy.ones(len(units), numpy.int32), self.weight[units])
        found = dict.fromkeys(now.names, 0)
        for action in plan(now, expected, None, self.prices, minute):
            if action.prewarm_minute is not None:
                found[action.revision] = action.prewarm_minute - minute
        return numpy.fromiter(found.values(), numpy.int32)

    @property
    def weight(self) -> Doubles:
        """What a cold start of each unit counts for [n]."""
        found: Doubles = (numpy.minimum(self._calls, OFTEN) + 1.0) ** -WEIGHT
        return found

    def _where(self, odds: Doubles) -> Integers:
        rung = rungs(odds, self._steps, self.gb, self.groups.of, self.prices)
        rung = numpy.where(self.probability > 0, rung, Rung.COLD)
        certain = (self.probability >= 1) & self._there & numpy.isinf(self.groups.held_gb[self.groups.of])
        return numpy.where(certain, Rung.WARM, rung).astype(numpy.int32)  # it will not lie idle

    def _presumed(self) -> Doubles:
        """The probability of a first call: their share of the minutes in which units waited for one."""
        share = (self._first_calls + 0.5) / (self._unknown_minutes + 1000.0) if self._deployed else 0.0
        return numpy.where(self._there, share, 0.0)

    def _see_load(self, active: NDArray[numpy.bool_], counts: Integers, busy_s: Doubles | None) -> None:
        busy = numpy.flatnonzero(active)
        took_s = counts * self._demand.duration_s if busy_s is None else busy_s
        load = numpy.bincount(self._demand.unit, took_s / MINUTE_S, self._demand.units)
        if busy_s is not None:
            last_s = busy_s[busy] / counts[busy]
            known = self._calls[busy] > 0
            self._duration_s[busy] += numpy.where(known, OF_THE_LAST, 1.0) * (last_s - self._duration_s[busy])
        self._load[busy, self._load_at[busy] % RECENT] = load[busy]
        self._load_at[busy] += 1

    def _offered(self, odds: Doubles) -> Steps:
        """The steps that units could take for the coming minute."""
        known = numpy.flatnonzero((self.probability > 0) & self._there)
        at = numpy.ix_(known, self._taken)
        probability, group = self.probability[known, None], self.groups.of[known, None]
        shape = (len(known), len(self._taken))
        return Steps(
            group=numpy.broadcast_to(group, shape).ravel(),
            worth=(odds[known, None] * self._steps[at]).ravel(),
            idle=((1 - probability) * self._more_gb[at]).ravel(),
            calls=numpy.broadcast_to(probability / max(1, len(self._taken)), shape).ravel(),
        )


def _sums(group: Integers, values: NDArray[Any], groups: int) -> Doubles:
    found: Doubles = numpy.bincount(group, values, groups).astype(float)
    return found


def _ladder(demand: Demand, ladder_gb: Doubles | None, start_s: Doubles | None) -> tuple[Doubles, Doubles]:
    """What units hold and wait for on each rung: cold or warm alone, where nothing else is said."""
    if ladder_gb is not None and start_s is not None:
        return ladder_gb, start_s
    gb = numpy.zeros((demand.units, len(Rung)))
    gb[:, 1:-1] = numpy.inf
    gb[:, -1] = demand.gb
    return gb, numpy.array([1.0, 1.0, 1.0, 0.0]) * numpy.ones_like(gb)


def hazards(trees: Trees, past: Past, minute: int) -> Doubles:
    """The probability of a call in a minute, the first that is not known, for each function [f]; 0 before its first."""
    return _hazards(trees, past, minute, minute)


def outlook(trees: Trees, past: Past, now: int, horizon: int) -> Doubles:
    """The same for each of the next minutes, given that nothing comes before: [f, horizon]."""
    return numpy.stack([_hazards(trees, past, now + j, now) for j in range(horizon)], axis=1)


def _hazards(trees: Trees, past: Past, minute: int, now: int) -> Doubles:
    table = numpy.zeros((len(past.last), FEATURES), numpy.float32)
    _describe_all(past, minute, now, table)
    return numpy.where(past.last >= 0, scores(trees, numpy.ascontiguousarray(table.T)), 0.0)


@compiled
def _describe_all(past: Past, minute: int, now: int, table: NDArray[numpy.float32]) -> None:
    for i in range(len(past.last)):
        if past.last[i] >= 0:
            describe(past, i, minute, now, table[i])


@compiled
def instances_for(load: Doubles, duration_s: Doubles) -> Integers:
    """The instances of each unit [n] that are likelier than not to be needed at once within a minute, at least 1.
    `load`: calls at once on average; `duration_s`: of a call.

    Calls at once are taken to be Poisson distributed, as with independent arrivals (M/G/∞); a minute has as many
    independent looks at them as calls fit into it one after another."""
    out = numpy.ones(len(load), numpy.int32)
    for i in range(len(load)):
        looks = 1.0 + MINUTE_S / max(duration_s[i], 0.001)
        term = numpy.exp(-min(load[i], 500.0))
        beyond = 1.0 - term  # the probability of at least k calls at once, k = 1
        for k in range(1, MOST_INSTANCES):
            term *= load[i] / k
            beyond -= term  # of at least k + 1
            if beyond * looks < NEEDED:
                break
            out[i] = k + 1
    return out


def trees_to_json(trees: Trees, about: dict[str, object]) -> str:
    """As `load_trees` reads it; `about` says what it was trained on."""
    body = {
        "features": list(names()),
        "about": about,
        "base": trees.base,
        "feature": trees.feature.tolist(),
        "threshold": [[None if x == numpy.inf else round(float(x), 6) for x in tree] for tree in trees.threshold],
        "value": [[round(float(x), 5) for x in tree] for tree in trees.value],
    }
    return json.dumps(body, separators=(",", ":"))


def load_trees(text: str) -> Trees:
    """Raises `Invalid` where it is not a model for the features of this release."""
    try:
        body = json.loads(text)
        feature = numpy.array(body["feature"], numpy.uint16)
        holes = [[numpy.inf if x is None else float(x) for x in tree] for tree in body["threshold"]]
        trees = Trees(feature, _floats(holes), _floats(body["value"]), float(body["base"]))
        known = tuple(body["features"]) == names()
    except (ValueError, KeyError, TypeError) as exc:
        raise Invalid(f"the model of arrivals cannot be read: {exc!r}") from exc
    count, inner = feature.shape if feature.ndim == 2 else (0, 0)
    fits = trees.threshold.shape == feature.shape and trees.value.shape == (count, inner + 1)
    if not (known and count and fits and feature.min() >= 0 and feature.max() < FEATURES):
        raise Invalid("the model of arrivals is not made for the features of this release: train it again")
    return trees


def _floats(rows: object) -> NDArray[numpy.float32]:
    return numpy.array(rows, numpy.float32)


@cache
def shipped_trees() -> Trees:
    """The model that comes with the package."""
    return load_trees(importlib.resources.files("isotherm.warming.drivers").joinpath("arrivals.json").read_text())
