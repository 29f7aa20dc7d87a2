"""What a policy is told, and what it answers: rungs of the ladder with their costs, demand, actions."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.base.errors import Invalid
from isotherm.warming.budgets import Budget

__all__ = [
    "KEEP",
    "LET_GO",
    "Action",
    "Demand",
    "Doubles",
    "Groups",
    "Integers",
    "Observed",
    "Outlook",
    "Prices",
    "Rung",
]

Doubles = NDArray[numpy.float64]
Integers = NDArray[numpy.int32]
KEEP: Final = 32767  # in a policy's answer: keep the instances that there are, start none
LET_GO: Final = (
    -1
)  # let go at the beginning of the minute: what comes with its first call is still served, none is idle


class Rung(IntEnum):
    """Where a revision waits for calls, from what takes longest to what takes none."""

    COLD = 0
    FROZEN = 1  # the template's checkpoint, on disk
    TEMPLATE = 2
    WARM = 3


RUNGS: Final = len(Rung)


@dataclass(frozen=True, slots=True)
class Demand:
    """What is known beforehand of `f` functions that run in `n` units; a unit is what is warm or cold as a whole.

    `unit` [f]: the unit of each function. `gb` [n]: what an idle instance of the unit costs a minute, in GB, or 1 where
    minutes are to be counted. `duration_s` [f]: the mean of a call; 0 where it is not known.
    """

    unit: Integers
    gb: Doubles
    duration_s: Doubles

    @property
    def functions(self) -> int:
        return len(self.unit)

    @property
    def units(self) -> int:
        return len(self.gb)

    @property
    def alone(self) -> bool:
        """Whether each function is a unit of its own, in the same order."""
        return self.functions == self.units and bool((self.unit == numpy.arange(self.units)).all())

    def by_unit(self, counts: Integers) -> Integers:
        """[f] or [f, m] → [n] or [n, m]."""
        if self.alone:
            return counts
        out = numpy.zeros((self.units, *counts.shape[1:]), numpy.int32)
        numpy.add.at(out, self.unit, counts)
        return out


@dataclass(frozen=True, slots=True)
class Observed:
    """`n` revisions as they are. `group` [n]: whose budget pays for it, from 0 up. `gb` [n, rungs]: what is held in
    memory on each rung, 0 for cold; infinite where a rung cannot be had. `start_s` [n, rungs]: what a call waits for
    on each. `rung` [n], `instances` [n]: where each is now."""

    names: tuple[str, ...]
    group: Integers
    gb: Doubles
    start_s: Doubles
    rung: Integers
    instances: Integers

    def __post_init__(self) -> None:
        n = len(self.names)
        shapes = (self.group.shape, self.gb.shape, self.start_s.shape, self.rung.shape, self.instances.shape)
        if shapes != ((n,), (n, RUNGS), (n, RUNGS), (n,), (n,)):
            raise Invalid(f"{n} revisions observed, with arrays of the shapes {shapes}")


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is expected. `hazard` [n, h]: the probability that a call comes in minute `now + j`, given that none came
    from `now` until then. `instances` [n]: enough for the calls at once that are to be reckoned with, at least 1."""

    hazard: Doubles
    instances: Integers
    weight: Doubles | None = None  # [n], what a cold start of each counts for; None: 1


@dataclass(frozen=True, slots=True)
class Prices:
    """`usd_per_gb_s`: of memory. `shadow` [groups]: the cold starts that one GB·minute of idle memory has to avoid.
    `limit_gb` [groups]: what may be held at once; None: as much as the prices let through."""

    usd_per_gb_s: float
    shadow: Doubles
    limit_gb: Doubles | None = None


@dataclass(frozen=True, slots=True)
class Groups:
    """Whose budget pays for what. `of` [n]: the group of each unit, from 0 up. For each group, `p_cold` [groups]: the
    share of the minutes with calls that may begin cold, NaN where its memory is what is limited; `held_gb` [groups]:
    what it may hold at once, infinite where that is not limited so."""

    of: Integers
    p_cold: Doubles
    held_gb: Doubles

    @classmethod
    def one(cls, n: int, budget: Budget | None = None) -> "Groups":
        """All `n` units in one, with that budget."""
        share = budget.amount if budget is not None and budget.kind == "p_cold" else numpy.nan
        held = budget.amount if budget is not None and budget.kind == "host" else numpy.inf
        return cls(numpy.zeros(n, numpy.int32), numpy.array([share]), numpy.array([held]))

    @property
    def count(self) -> int:
        return len(self.p_cold)


@dataclass(frozen=True, slots=True)
class Action:
    """What is to become of one revision: its rung and instances from now on, `until_minute` (None: as far as the
    outlook reaches), and `prewarm_minute`, when it is to be warm again (None: not within the outlook)."""

    revision: str
    rung: Rung
    instances: int
    until_minute: int | None
    prewarm_minute: int | None
    expected: float = field(compare=False, default=0.0)  # the probability of a call in the coming minute
