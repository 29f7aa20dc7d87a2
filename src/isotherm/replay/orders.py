"""What is done to a platform during a replay, as the command line says it: kills and rollouts. Pure."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from isotherm.base.errors import Invalid
from isotherm.replay.model import StandIn
from isotherm.replay.policy import Plan

__all__ = [
    "STRATEGIES",
    "KillOrder",
    "RolloutOrder",
    "busiest",
    "choose_victims",
    "deal_rollouts",
    "kill_times",
    "parse_kill",
    "parse_strategies",
    "rollout_plan",
]

TARGETS = ("control", "instances")
STRATEGIES = ("canary", "blue-green", "all-at-once", "shadow")
DEFAULT_SHARE = 0.1
MAX_KILLS = 1000
SHADOW_PERCENT = 50.0
CANARY_PERCENT = (10.0, 50.0, 100.0)
MIN_SAMPLES = 20
LONGEST_STEP = 5.0  # times the shortest: so long a step waits for calls
VICTIMS = 2  # the stream of random numbers that chooses instances
_kill = re.compile(r"(?P<what>[a-z]+)(:(?P<share>[0-9.]+))?(@(?P<at>[0-9.,]+)|/(?P<every>[0-9.]+))?")


@dataclass(frozen=True)
class KillOrder:
    """Kill what, and when: at these seconds of the replay, or every so many; neither: once, in its middle."""

    what: str  # control or instances
    share: float = DEFAULT_SHARE  # of the instances; at least one
    at_s: tuple[float, ...] = ()
    every_s: float | None = None

    @property
    def text(self) -> str:
        """As `parse_kill` takes it, with what was left out."""
        share = f":{self.share:.12g}" if self.what == "instances" else ""
        when = "@" + ",".join(f"{at:.12g}" for at in self.at_s) if self.at_s else ""
        return f"{self.what}{share}{when}" + (f"/{self.every_s:.12g}" if self.every_s is not None else "")


@dataclass(frozen=True)
class RolloutOrder:
    """A new revision of one stand-in."""

    stand_in: StandIn
    strategy: str


def parse_kill(text: str) -> KillOrder:
    """`control` or `instances[:SHARE]`, then `@SECOND[,SECOND…]` or `/SECONDS`. Raises `Invalid`."""
    found = _kill.fullmatch(text.strip())
    if found is None or found["what"] not in TARGETS or (found["share"] and found["what"] == "control"):
        raise Invalid(
            f"--kill {text[:60]}: expected control or instances[:SHARE], then @SECOND[,SECOND…] or /SECONDS, "
            "such as control@10, instances:0.1/5"
        )
    share = _number(text, found["share"]) if found["share"] else DEFAULT_SHARE
    if not 0 < share <= 1:
        raise Invalid(f"--kill {text[:60]}: a share above 0 and up to 1 was expected, not {share:g}")
    every_s = _number(text, found["every"]) if found["every"] else None
    if every_s is not None and every_s < 1:
        raise Invalid(f"--kill {text[:60]}: kills are at least a second apart")
    at_s = tuple(_number(text, each) for each in found["at"].split(",")) if found["at"] else ()
    return KillOrder(found["what"], share, at_s, every_s)


def _number(order: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid(f"--kill {order[:60]}: {text[:20]!r} is no number") from None


def kill_times(order: KillOrder, length_s: float) -> list[float]:
    """When, in seconds of the replay. Raises `Invalid` where a time lies outside of it, or where there are too many."""
    if order.every_s is not None:
        count = int(np.ceil(length_s / order.every_s)) - 1
        times = [order.every_s * number for number in range(1, min(count, MAX_KILLS + 1) + 1)]
    else:
        times = sorted(order.at_s or (length_s / 2,))
    outside = [at for at in times if not 0 <= at < length_s]
    if outside or not times or len(times) > MAX_KILLS:
        raise Invalid(f"--kill {order.text}: the replay takes {length_s:g} s, and 1 to {MAX_KILLS} kills are allowed")
    return times


def choose_victims(count: int, share: float, seed: int, turn: int) -> list[int]:
    """Which of `count` instances are killed in the `turn`-th kill: that share, at least one where there is one."""
    if not count:
        return []
    chance = np.random.default_rng([seed, VICTIMS, turn])
    chosen = chance.choice(count, size=min(count, max(1, round(share * count))), replace=False)
    return sorted(int(each) for each in chosen)


def parse_strategies(words: list[str]) -> list[str]:
    """Names of strategies, each once, `all` standing for all of them. Raises `Invalid`."""
    for word in words:
        if word != "all" and word not in STRATEGIES:
            raise Invalid(f"--rollout {word[:40]}: expected {', '.join(STRATEGIES)} or all")
    if "all" in words:
        return list(STRATEGIES)
    return list(dict.fromkeys(words))


def busiest(plan: Plan, count: int) -> list[int]:
    """The rows with the most calls, most first; fewer where fewer are called at all."""
    calls = np.bincount(plan.row) if len(plan) else np.zeros(0, dtype=np.int64)
    order = np.argsort(-calls, kind="stable")[:count]
    return [int(row) for row in order if calls[row]]


def deal_rollouts(plan: Plan, stand_ins: list[StandIn], strategies: list[str], functions: int) -> list[RolloutOrder]:
    """The busiest functions, at least one for each strategy, take the strategies in turn. Raises `Invalid` where fewer
    functions are called than there are strategies."""
    if not strategies:
        return []
    rows = busiest(plan, max(functions, len(strategies)))
    if len(rows) < len(strategies):
        raise Invalid(
            f"--rollout: {len(strategies)} strategies need as many functions that are called, not {len(rows)}"
        )
    return [RolloutOrder(stand_ins[row], strategies[turn % len(strategies)]) for turn, row in enumerate(rows)]


def rollout_plan(strategy: str, step_s: float) -> dict[str, Any]:
    """The `rollout` table of a strategy, as the REST API takes it, with steps so short that a replay sees its end."""
    steps = {"step_s": step_s, "max_step_s": LONGEST_STEP * step_s, "min_samples": MIN_SAMPLES}
    match strategy:
        case "canary":
            return {"strategy": "canary", "steps": list(CANARY_PERCENT), **steps}
        case "blue-green":
            return {"strategy": "blue-green", "bake_s": 2 * step_s, **steps}
        case "shadow":
            return {"strategy": "all-at-once", "shadow": SHADOW_PERCENT, **steps}
        case _:
            return {"strategy": "all-at-once"}
