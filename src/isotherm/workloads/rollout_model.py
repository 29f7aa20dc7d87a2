"""Nouns of rollouts: how an alias is moved to a revision, how far it has got, and what was seen on the way.

Pure: the command line reads the `[rollout]` table of manifests with these types.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "Counts",
    "Mark",
    "OnQuiet",
    "Reading",
    "RolloutPlan",
    "RolloutRow",
    "RolloutState",
    "Rule",
    "Sample",
    "Strategy",
]

Strategy = Literal["all-at-once", "canary", "blue-green"]
OnQuiet = Literal["advance", "hold", "roll-back"]
RolloutState = Literal["open", "finished", "rolled_back"]

# Why a rollout was rolled back:
#   errors    the new revision fails more often than the old one, by more than is tolerated
#   latency   it is slower, by more than is tolerated
#   quiet     too few calls came to tell, and `on_quiet` says so, or those few failed
#   start     no host could start enough of it
#   asked     somebody asked: `rollout abort`, `rollback`, or a deploy that ends it
Rule = Literal["errors", "latency", "quiet", "start", "asked"]


class RolloutPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an alias goes to another revision."""

    strategy: Annotated[Strategy, Meta(description="How calls go over to the new revision")] = "all-at-once"
    steps: Annotated[
        tuple[Annotated[float, Meta(gt=0, le=100)], ...],
        Meta(min_length=1, max_length=20, description="Canary: percent of the calls at each step, growing"),
    ] = (5.0, 25.0, 50.0, 100.0)
    step_s: Annotated[float, Meta(ge=0, le=86400, description="Shortest time of a step")] = 60.0
    max_step_s: Annotated[float, Meta(ge=0, le=604800, description="With too few calls, a step ends after this")] = (
        900.0
    )
    min_samples: Annotated[
        int, Meta(ge=1, le=1000000, description="Calls of either revision that a step needs to go on")
    ] = 100
    bake_s: Annotated[
        Annotated[float, Meta(ge=0, le=604800)] | None,
        Meta(description="After all calls went over: watch for so long; default: 300 for blue-green, else 0"),
    ] = None
    shadow: Annotated[
        float, Meta(ge=0, le=100, description="Percent of the calls copied to the new revision, as a first step")
    ] = 0.0
    gate: Annotated[bool, Meta(description="Whether a worse revision is rolled back by itself")] = True
    error_tolerance: Annotated[
        float, Meta(ge=0, lt=1, description="Share of failed calls that the new one may have above the old one's")
    ] = 0.01
    latency_tolerance: Annotated[
        float, Meta(ge=0, lt=1, description="Share of slower calls that the new one may have above the old one's")
    ] = 0.05
    latency_factor: Annotated[
        float, Meta(ge=1, le=100, description="A call is slower beyond the old one's time times this")
    ] = 1.25
    latency_slack_ms: Annotated[float, Meta(ge=0, le=60000, description="… and plus this")] = 10.0
    false_alarm: Annotated[
        float, Meta(gt=0, lt=1, description="Chance, at most, that a rollout of an equal revision is rolled back")
    ] = 0.01
    on_quiet: Annotated[
        OnQuiet, Meta(description="With too few calls: go on where none failed, wait for more, or roll back")
    ] = "advance"


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What calls of one revision came to. Calls that were turned away at a limit are in none of it."""

    calls: int = 0
    errors: int = 0
    latency: list[int] = msgspec.field(default_factory=list)  # calls by bucket of LATENCY_BUCKETS_MS, and slower ones


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Where a step begins: what had been counted of either revision from a minute on (minutes since the epoch).

    The step's own calls are what came on top. Where all calls go to the new revision, the old one is judged by what it
    did before: from an hour earlier on, with nothing counted.
    """

    old_since: int
    new_since: int
    old: Counts = Counts()
    new: Counts = Counts()


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One revision in one step. Quantiles are upper bounds of histogram buckets; None: no calls, or beyond a minute."""

    calls: int
    errors: int
    error_rate: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate sees: the evidence for and against, as e-values (see `evalues`); at `threshold` it rolls back."""

    old: Sample
    new: Sample
    error_e: float
    latency_e: float
    threshold: float
    slower_ms: float | None  # the bound above which the new one's calls stand out most
    elapsed_s: float  # of the step


class RolloutRow(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout as stored. `step` 0: nothing has moved yet; else the number of the step that it is in."""

    id: str  # "roll_…"
    workload_id: str
    namespace: str
    name: str
    alias: str
    before: int  # the revision that the alias had
    to: int
    plan: RolloutPlan
    by: str  # id of the principal who asked for it
    created_at_ms: int
    state: RolloutState = "open"
    paused: bool = False
    step: int = 0
    step_since_ms: int = 0
    mark: Mark | None = None
    rule: Rule | None = None  # where it was rolled back
    reading: Reading | None = None  # what decided last
    ended_at_ms: int | None = None
