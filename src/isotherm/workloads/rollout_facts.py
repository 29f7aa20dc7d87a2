"""What a workload's history says of its rollouts. Pure."""

import msgspec

from isotherm.events.aggregate import Fact
from isotherm.workloads.rollout_model import Mark, Reading, RolloutPlan, Rule

__all__ = [
    "OpenRollout",
    "RolloutFact",
    "RolloutFinished",
    "RolloutPaused",
    "RolloutResumed",
    "RolloutRolledBack",
    "RolloutStarted",
    "RolloutStepped",
]


class RolloutFact(Fact, frozen=True, kw_only=True):
    rollout_id: str
    alias: str


class RolloutStarted(RolloutFact, frozen=True, tag="workload.rollout_started"):
    before: int
    to: int
    plan: RolloutPlan


class RolloutStepped(RolloutFact, frozen=True, tag="workload.rollout_stepped"):
    """`weight` is the new revision's share now; `reading` what ended the step before, None at the first."""

    step: int
    weight: float
    mark: Mark
    reading: Reading | None = None


class RolloutPaused(RolloutFact, frozen=True, tag="workload.rollout_paused"):
    pass


class RolloutResumed(RolloutFact, frozen=True, tag="workload.rollout_resumed"):
    pass


class RolloutFinished(RolloutFact, frozen=True, tag="workload.rollout_finished"):
    reading: Reading | None = None


class RolloutRolledBack(RolloutFact, frozen=True, tag="workload.rollout_rolled_back"):
    """`reading` is the evidence where the gate decided, and what was last seen where it did not."""

    rule: Rule
    reading: Reading | None = None


class OpenRollout(msgspec.Struct, frozen=True, kw_only=True):
    """As far as the history decides by it."""

    id: str
    before: int
    to: int
    plan: RolloutPlan
    step: int = 0
    paused: bool = False
