"""Nouns of workloads: revisions, aliases, and how a workload is reached."""

from typing import Any, Literal

import msgspec

from isotherm.wire.desired import CronSpec, RevisionSpec
from isotherm.workloads.rollout_model import RolloutPlan

__all__ = [
    "LIVE",
    "AliasRow",
    "CronRow",
    "Draft",
    "Kind",
    "QueueAction",
    "RevisionRow",
    "RevisionState",
    "Weight",
    "WorkloadRow",
    "etag_of",
]

LIVE = "live"  # the alias that unqualified calls take

Kind = Literal["function"]
QueueAction = Literal["pause", "resume", "purge", "redrive"]
RevisionState = Literal["building", "ready", "failed"]


class Weight(msgspec.Struct, frozen=True):
    """A share of an alias: `weight` above 0, at most 1; those of an alias sum to 1."""

    number: int
    weight: float


class CronRow(msgspec.Struct, frozen=True):
    """A schedule as it was deployed; one that is not enabled is kept from hosts."""

    spec: CronSpec
    enabled: bool


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What a revision is to be made from: a spec without ids and number, its env in clear; and how it is reached."""

    spec: RevisionSpec
    public: bool = False
    rate_per_s: float | None = None
    burst: int | None = None
    crons: list[CronRow] = msgspec.field(default_factory=list)
    head: bool = False  # a state of a mutable function: no version of its own until it is published
    notes: dict[str, Any] = msgspec.field(default_factory=dict)  # see `RevisionRow`


class RevisionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One revision as stored. `spec.env` is empty here: the values are secrets, kept apart and encrypted."""

    spec: RevisionSpec
    public: bool
    rate_per_s: float | None
    burst: int | None
    env_names: list[str]
    fingerprint: str  # equal where code, configuration and env values are
    state: RevisionState
    created_at_ms: int
    ready_after_ms: float | None = None
    problem: dict[str, Any] | None = None
    template: bool | None = None
    unfit: list[str] = msgspec.field(default_factory=list)
    crons: list[CronRow] = msgspec.field(default_factory=list)
    rollout: RolloutPlan = RolloutPlan()  # how `live` goes to it once it is ready
    head: bool = False
    notes: dict[str, Any] = msgspec.field(default_factory=dict)  # what a client of AWS's API said that is only shown


class AliasRow(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    weights: list[Weight]


class WorkloadRow(msgspec.Struct, frozen=True, kw_only=True):
    """One workload as stored. `version` is that of its history: it grows with every change."""

    id: str
    kind: Kind
    namespace: str
    name: str
    version: int
    created_at_ms: int
    updated_at_ms: int
    public: bool
    live: list[Weight]
    latest: RevisionRow | None

    @property
    def etag(self) -> str:
        return etag_of(self.id, self.version)


def etag_of(workload_id: str, version: int) -> str:
    """Opaque, without quotes; unlike that of a deleted workload of the same name."""
    return f"{workload_id.removeprefix('wl_')[:10]}-{version}"
