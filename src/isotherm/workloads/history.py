"""The history of a workload: what it decides, and the facts that stay. Pure."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from isotherm.base.errors import Conflict, Invalid, NotFound
from isotherm.base.ids import is_name
from isotherm.events.aggregate import Aggregate, Fact
from isotherm.workloads import policy
from isotherm.workloads.model import LIVE, Kind, QueueAction, RevisionState, Weight

__all__ = [
    "MAX_ALIASES",
    "AliasDeleted",
    "AliasMoved",
    "RevisionDeployed",
    "RevisionDropped",
    "RevisionReady",
    "WorkloadHistory",
    "WorkloadState",
]

MAX_ALIASES = 50


class Created(Fact, frozen=True, tag="workload.created"):
    kind: Kind
    namespace: str
    name: str


class RevisionDeployed(Fact, frozen=True, tag="workload.revision_deployed"):
    revision_id: str
    number: int
    package: str
    fingerprint: str  # keyed: says nothing of the env values in it


class RevisionReady(Fact, frozen=True, tag="workload.revision_ready"):
    number: int
    template: bool
    unfit: list[str] = msgspec.field(default_factory=list)


class RevisionFailed(Fact, frozen=True, tag="workload.revision_failed"):
    """The problem itself may hold what the user's code printed; the revision has it, the history does not."""

    number: int
    code: str


class RevisionDropped(Fact, frozen=True, tag="workload.revision_dropped"):
    """It was too old to keep."""

    number: int
    revision_id: str


class AliasMoved(Fact, frozen=True, tag="workload.alias_moved"):
    alias: str
    weights: list[Weight]
    reason: Literal["deploy", "asked", "rollback"]


class AliasDeleted(Fact, frozen=True, tag="workload.alias_deleted"):
    alias: str


class QueueSteered(Fact, frozen=True, tag="workload.queue_steered"):
    """Its asynchronous calls were held back, let go, deleted, or made anew of dead letters."""

    action: QueueAction
    count: int


class Deleted(Fact, frozen=True, tag="workload.deleted"):
    pass


class WorkloadState(msgspec.Struct):
    kind: Kind = "function"
    namespace: str = ""
    name: str = ""
    exists: bool = False
    latest: int = 0
    fingerprint: str = ""  # of the latest revision
    ids: dict[int, str] = msgspec.field(default_factory=dict)  # revision ids by number
    states: dict[int, RevisionState] = msgspec.field(default_factory=dict)
    aliases: dict[str, list[Weight]] = msgspec.field(default_factory=dict)


class WorkloadHistory(Aggregate[WorkloadState]):
    """One workload. Its id is never used again, its name may be."""

    facts = (
        Created
        | RevisionDeployed
        | RevisionReady
        | RevisionFailed
        | RevisionDropped
        | AliasMoved
        | AliasDeleted
        | QueueSteered
        | Deleted
    )
    state_type = WorkloadState

    def create(self, kind: Kind, namespace: str, name: str) -> None:
        self.record(Created(kind=kind, namespace=namespace, name=name))

    def deploy(self, revision_id: str, package: str, fingerprint: str) -> int:
        """A new revision, in the state `building`; its number. One that is too old makes room for it."""
        number = self.state.latest + 1
        self.record(RevisionDeployed(revision_id=revision_id, number=number, package=package, fingerprint=fingerprint))
        for old in policy.dropped_numbers(self.state.states, self.state.aliases.values()):
            self.record(RevisionDropped(number=old, revision_id=self.state.ids[old]))
        return number

    def same_as_latest(self, fingerprint: str) -> bool:
        """Whether the latest revision, not failed, has this code and configuration."""
        return self.state.fingerprint == fingerprint and self.state.states.get(self.state.latest) in (
            "building",
            "ready",
        )

    def mark_ready(self, number: int, *, template: bool, unfit: Sequence[str]) -> None:
        """Ready, and live, unless a newer one is ready already. Raises `Conflict` where it has failed."""
        state = self.state.states[number]
        if state == "failed":
            raise Conflict(f"revision {number} has failed already", number=number)
        if state == "building":
            newest = max((n for n, s in self.state.states.items() if s == "ready"), default=0)
            self.record(RevisionReady(number=number, template=template, unfit=list(unfit)))
            if number > newest:
                self._point(LIVE, number, "deploy")

    def mark_failed(self, number: int, code: str) -> None:
        """Raises `Conflict` where it is ready."""
        state = self.state.states[number]
        if state == "ready":
            raise Conflict(f"revision {number} is ready already", number=number)
        if state == "building":
            self.record(RevisionFailed(number=number, code=code))

    def make_latest_live(self) -> None:
        """Where the latest revision is ready."""
        if self.state.states.get(self.state.latest) == "ready":
            self._point(LIVE, self.state.latest, "deploy")

    def move_alias(self, alias: str, weights: Sequence[Weight]) -> None:
        """Raises `Invalid` on the name, the weights, or where there are too many aliases."""
        if not is_name(alias):
            raise Invalid(
                f"{alias[:100]!r} cannot name an alias: 1 to 63 lower-case letters, digits and hyphens, the first a "
                "letter, the last no hyphen",
                alias=alias[:100],
            )
        if alias not in self.state.aliases and len(self.state.aliases) >= MAX_ALIASES:
            raise Invalid(f"a workload has at most {MAX_ALIASES} aliases; delete one first")
        checked = policy.check_weights(weights, self.state.states)
        if self.state.aliases.get(alias) != checked:
            self.record(AliasMoved(alias=alias, weights=checked, reason="asked"))

    def delete_alias(self, alias: str) -> None:
        """Raises `Invalid` (`live`), `NotFound`."""
        if alias == LIVE:
            raise Invalid(f"the alias {LIVE!r} cannot be deleted: calls without a qualifier take it")
        if alias not in self.state.aliases:
            raise NotFound(f"there is no alias {alias[:100]!r}", alias=alias[:100])
        self.record(AliasDeleted(alias=alias))

    def roll_back(self, to: int | None) -> None:
        """Raises `Conflict` (nothing to roll back to), `Invalid` (`to` is not ready)."""
        if to is None:
            to = policy.rollback_target(self.state.states, self.state.aliases.get(LIVE, []))
        policy.check_weights([Weight(to, 1.0)], self.state.states)
        self._point(LIVE, to, "rollback")

    def steer_queue(self, action: QueueAction, count: int) -> None:
        self.record(QueueSteered(action=action, count=count))

    def delete(self) -> None:
        self.record(Deleted())

    def number_of(self, revision_id: str) -> int | None:
        return next((number for number, known in self.state.ids.items() if known == revision_id), None)

    def apply(self, fact: Any) -> None:
        state = self.state
        match fact:
            case Created():
                state.kind, state.namespace, state.name, state.exists = fact.kind, fact.namespace, fact.name, True
            case RevisionDeployed():
                state.latest, state.fingerprint = fact.number, fact.fingerprint
                state.ids[fact.number] = fact.revision_id
                state.states[fact.number] = "building"
            case RevisionReady():
                state.states[fact.number] = "ready"
            case RevisionFailed():
                state.states[fact.number] = "failed"
            case RevisionDropped():
                del state.ids[fact.number], state.states[fact.number]
            case AliasMoved():
                state.aliases[fact.alias] = fact.weights
            case AliasDeleted():
                del state.aliases[fact.alias]
            case QueueSteered():
                pass  # the queue itself is the hosts'; here is who did it
            case Deleted():
                state.exists = False

    def _point(self, alias: str, number: int, reason: Literal["deploy", "rollback"]) -> None:
        weights = [Weight(number, 1.0)]
        if self.state.aliases.get(alias) != weights:
            self.record(AliasMoved(alias=alias, weights=weights, reason=reason))
