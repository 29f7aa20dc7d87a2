"""The history of a workload: what it decides, and the facts that stay. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from isotherm.base.errors import Conflict, Invalid, NotFound
from isotherm.base.ids import is_alias
from isotherm.events.aggregate import Aggregate, Fact
from isotherm.workloads import policy
from isotherm.workloads.model import LIVE, Kind, QueueAction, RevisionState, Weight
from isotherm.workloads.rollout_facts import (
    OpenRollout,
    RolloutFact,
    RolloutFinished,
    RolloutPaused,
    RolloutResumed,
    RolloutRolledBack,
    RolloutStarted,
    RolloutStepped,
)
from isotherm.workloads.rollout_model import Mark, Reading, RolloutPlan, Rule
from isotherm.workloads.rollout_policy import stages, weights_at

__all__ = [
    "MAX_ALIASES",
    "AliasDeleted",
    "AliasMoved",
    "RevisionDeployed",
    "RevisionDropped",
    "RevisionReady",
    "SettingPut",
    "SettingRemoved",
    "VersionDeleted",
    "VersionPublished",
    "WorkloadHistory",
    "WorkloadState",
]

MAX_ALIASES = 50
MoveReason = Literal["deploy", "asked", "rollback", "rollout"]


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
    reason: MoveReason


class AliasDeleted(Fact, frozen=True, tag="workload.alias_deleted"):
    alias: str


class HeadMade(Fact, frozen=True, tag="workload.head_made"):
    """The revision that is deployed next is a state of a mutable function, not a version of its own."""

    number: int


class VersionPublished(Fact, frozen=True, tag="workload.version_published"):
    """A revision that was a head got a version number."""

    version: int
    number: int


class VersionDeleted(Fact, frozen=True, tag="workload.version_deleted"):
    version: int


class SettingPut(Fact, frozen=True, tag="workload.setting_put"):
    """Something beside the revisions was set; its value is in the table of settings."""

    setting: str
    qualifier: str


class SettingRemoved(Fact, frozen=True, tag="workload.setting_removed"):
    setting: str
    qualifier: str


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
    rollouts: dict[str, OpenRollout] = msgspec.field(default_factory=dict)  # those that are open, by alias
    heads: set[int] = msgspec.field(default_factory=set)  # numbers of revisions that are no version of their own
    published: dict[int, int] = msgspec.field(default_factory=dict)  # of heads: version → number of the revision
    last_version: int = 0  # the highest ever; it is never used again

    @property
    def versions(self) -> dict[int, int]:
        """Numbers of revisions by version: what can be called by number. A deployed revision is its own version."""
        return {number: number for number in self.ids if number not in self.heads} | self.published

    def version_of(self, number: int) -> int | None:
        """The version that a revision is; None: a head that was not published."""
        if number not in self.heads:
            return number
        return next((version for version, each in self.published.items() if each == number), None)


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
        | HeadMade
        | VersionPublished
        | VersionDeleted
        | SettingPut
        | SettingRemoved
        | Deleted
        | RolloutStarted
        | RolloutStepped
        | RolloutPaused
        | RolloutResumed
        | RolloutFinished
        | RolloutRolledBack
    )
    state_type = WorkloadState
    state_version = 3  # 2: rollouts; 3: heads and published versions

    def create(self, kind: Kind, namespace: str, name: str) -> None:
        self.record(Created(kind=kind, namespace=namespace, name=name))

    def deploy(self, revision_id: str, package: str, fingerprint: str, *, head: bool = False) -> int:
        """A new revision, in the state `building`; its number. One that is too old makes room for it."""
        number = self.state.latest + 1
        if head:
            self.record(HeadMade(number=number))
        self.record(RevisionDeployed(revision_id=revision_id, number=number, package=package, fingerprint=fingerprint))
        self._drop(policy.dropped_numbers(self.state.states, self.held()))
        return number

    def same_as_latest(self, fingerprint: str) -> bool:
        """Whether the latest revision, not failed, has this code and configuration."""
        return self.state.fingerprint == fingerprint and self.state.states.get(self.state.latest) in (
            "building",
            "ready",
        )

    def held(self) -> list[Sequence[Weight]]:
        """What aliases have, what rollouts move between, and what was published: it must stay."""
        state = self.state
        moving = [[Weight(each.before, 0.5), Weight(each.to, 0.5)] for each in state.rollouts.values()]
        published = [[Weight(number, 1.0)] for number in state.published.values() if state.states[number] == "ready"]
        return [*state.aliases.values(), *moving, *published]

    def publish(self) -> int:
        """Give the latest revision a version number; the one that it has, where it has one. Raises `Conflict`."""
        state = self.state
        if state.states.get(state.latest) not in ("building", "ready"):
            raise Conflict("the latest revision has failed; there is nothing that could be published")
        found = state.version_of(state.latest)
        if found is not None:
            return found
        version = max([*state.versions, state.last_version]) + 1
        self.record(VersionPublished(version=version, number=state.latest))
        return version

    def delete_version(self, version: int) -> None:
        """Raises `NotFound`, `Conflict` (an alias has it, or it is what unqualified calls take)."""
        number = self.state.versions.get(version)
        if number is None:
            raise NotFound(f"there is no version {version}", version=version)
        held = [name for name, weights in self.state.aliases.items() if number in policy.pinned_numbers([weights])]
        if held and (number not in self.state.heads or held != [LIVE]):
            raise Conflict(f"version {version} is what the aliases {', '.join(held)} have", aliases=held)
        if number == self.state.latest and number not in self.state.heads:
            raise Conflict(f"version {version} is the newest revision; deploy another one first")
        if number in self.state.heads:
            self.record(VersionDeleted(version=version))
        else:
            self._drop([number])

    def put_setting(self, kind: str, qualifier: str) -> None:
        self.record(SettingPut(setting=kind, qualifier=qualifier))

    def remove_setting(self, kind: str, qualifier: str) -> None:
        self.record(SettingRemoved(setting=kind, qualifier=qualifier))

    def mark_ready(self, number: int, *, template: bool, unfit: Sequence[str]) -> bool:
        """Whether `live` is to go to it: it is the newest that is ready. Raises `Conflict` where it has failed."""
        state = self.state.states[number]
        if state == "failed":
            raise Conflict(f"revision {number} has failed already", number=number)
        if state == "building":
            newest = max((n for n, s in self.state.states.items() if s == "ready"), default=0)
            self.record(RevisionReady(number=number, template=template, unfit=list(unfit)))
            return number > newest
        return False

    def mark_failed(self, number: int, code: str) -> None:
        """Raises `Conflict` where it is ready."""
        state = self.state.states[number]
        if state == "ready":
            raise Conflict(f"revision {number} is ready already", number=number)
        if state == "building":
            self.record(RevisionFailed(number=number, code=code))

    def make_live(self, number: int) -> None:
        """All calls go to this ready revision, unless a rollout is moving `live`: that decides."""
        if LIVE not in self.state.rollouts:
            self._point(LIVE, number, "deploy")

    def move_alias(self, alias: str, weights: Sequence[Weight]) -> None:
        """Raises `Invalid` on the name, the weights, or where there are too many aliases."""
        if not is_alias(alias):
            raise Invalid(
                f"{alias[:100]!r} cannot name an alias: 1 to 128 letters, digits, hyphens and underscores, not digits "
                "alone",
                alias=alias[:100],
            )
        if alias not in self.state.aliases and len(self.state.aliases) >= MAX_ALIASES:
            raise Invalid(f"a workload has at most {MAX_ALIASES} aliases; delete one first")
        self.check_still(alias)
        checked = policy.check_weights(weights, self.state.states)
        if self.state.aliases.get(alias) != checked:
            self.record(AliasMoved(alias=alias, weights=checked, reason="asked"))

    def delete_alias(self, alias: str) -> None:
        """Raises `Invalid` (`live`), `NotFound`."""
        if alias == LIVE:
            raise Invalid(f"the alias {LIVE!r} cannot be deleted: calls without a qualifier take it")
        if alias not in self.state.aliases:
            raise NotFound(f"there is no alias {alias[:100]!r}", alias=alias[:100])
        self.check_still(alias)
        self.record(AliasDeleted(alias=alias))

    def roll_back(self, to: int | None) -> None:
        """Ends an open rollout of `live`: back to where it came from. Raises `Conflict` (nothing to roll back to),
        `Invalid` (`to` is not ready)."""
        if LIVE in self.state.rollouts:
            self.abort_rollout(LIVE)
            if to is None:
                return
        if to is None:
            to = policy.rollback_target(self.state.states, self.state.aliases.get(LIVE, []))
        policy.check_weights([Weight(to, 1.0)], self.state.states)
        self._point(LIVE, to, "rollback")

    def steer_queue(self, action: QueueAction, count: int) -> None:
        self.record(QueueSteered(action=action, count=count))

    def check_still(self, alias: str) -> None:
        """Raises `Conflict` where a rollout is moving the alias."""
        rollout = self.state.rollouts.get(alias)
        if rollout is not None:
            raise Conflict(
                f"rollout {rollout.id} is moving {alias!r} from revision {rollout.before} to {rollout.to}; "
                "wait for its end, or end it first: `isotherm rollout abort`",
                rollout_id=rollout.id,
                alias=alias,
            )

    def start_rollout(self, rollout_id: str, alias: str, to: int, plan: RolloutPlan) -> None:
        """Nothing moves yet. Raises `Invalid` (`to` is not ready, or has all calls), `NotFound` (no such alias),
        `Conflict` (the alias is being moved already, or is split)."""
        self.check_still(alias)
        before = self.state.aliases.get(alias)
        if before is None:
            raise NotFound(f"there is no alias {alias[:100]!r} to move; `isotherm alias set` makes one", alias=alias)
        if len(before) > 1:
            raise Conflict(f"{alias!r} is split between revisions; point it at one first: `isotherm alias set`")
        policy.check_weights([Weight(to, 1.0)], self.state.states)
        if before[0].number == to:
            raise Invalid(f"{alias!r} has revision {to} already", number=to)
        self.record(RolloutStarted(rollout_id=rollout_id, alias=alias, before=before[0].number, to=to, plan=plan))

    def step_rollout(self, alias: str, step: int, mark: Mark, reading: Reading | None) -> None:
        """Give the new revision the calls of stage `step`."""
        rollout = self.state.rollouts[alias]
        stage = stages(rollout.plan)[step - 1]
        weights = weights_at(rollout.before, rollout.to, stage.weight)
        if self.state.aliases[alias] != weights:
            self.record(AliasMoved(alias=alias, weights=weights, reason="rollout"))
        self.record(
            RolloutStepped(
                rollout_id=rollout.id, alias=alias, step=step, weight=stage.weight, mark=mark, reading=reading
            )
        )

    def pause_rollout(self, alias: str) -> None:
        rollout = self.state.rollouts[alias]
        if not rollout.paused:
            self.record(RolloutPaused(rollout_id=rollout.id, alias=alias))

    def resume_rollout(self, alias: str) -> None:
        rollout = self.state.rollouts[alias]
        if rollout.paused:
            self.record(RolloutResumed(rollout_id=rollout.id, alias=alias))

    def finish_rollout(self, alias: str, reading: Reading | None) -> None:
        self.record(RolloutFinished(rollout_id=self.state.rollouts[alias].id, alias=alias, reading=reading))

    def abort_rollout(self, alias: str, rule: Rule = "asked", reading: Reading | None = None) -> None:
        """All calls go back to the revision that had them."""
        rollout = self.state.rollouts[alias]
        self.record(RolloutRolledBack(rollout_id=rollout.id, alias=alias, rule=rule, reading=reading))
        self._point(alias, rollout.before, "rollback")

    def delete(self) -> None:
        self.record(Deleted())

    def prune(
        self,
        created_at_ms: Mapping[int, int],
        in_use: Collection[str],
        now_ms: int,
        *,
        keep_last: int,
        keep_days: float,
        dry_run: bool = False,
    ) -> list[int]:
        """Forget what `policy.sweep` says, but no revision of the ids `in_use`; the numbers. `dry_run`: only say."""
        state = self.state
        pinned = policy.pinned_numbers(self.held())
        pinned |= {number for number, known in state.ids.items() if known in in_use}
        gone = policy.sweep(state.states, created_at_ms, pinned, now_ms, keep_last=keep_last, keep_days=keep_days)
        if not dry_run:
            self._drop(gone)
        return gone

    def keep_only(self, number: int) -> None:
        """Forget all other revisions but those that are building, and what aliases have."""
        kept = policy.pinned_numbers(self.held()) | {number}
        self._drop([n for n, state in sorted(self.state.states.items()) if n not in kept and state != "building"])

    def number_of(self, revision_id: str) -> int | None:
        return next((number for number, known in self.state.ids.items() if known == revision_id), None)

    def apply(self, fact: Any) -> None:
        state = self.state
        match fact:
            case Created():
                state.kind, state.namespace, state.name, state.exists = fact.kind, fact.namespace, fact.name, True
            case RevisionDeployed():
                self._apply_deployed(fact)
            case RevisionReady():
                state.states[fact.number] = "ready"
            case RevisionFailed():
                state.states[fact.number] = "failed"
            case RevisionDropped():
                self._apply_dropped(fact.number)
            case HeadMade() | VersionPublished() | VersionDeleted():
                self._apply_version(fact)
            case AliasMoved():
                state.aliases[fact.alias] = fact.weights
            case AliasDeleted():
                del state.aliases[fact.alias]
            case QueueSteered() | SettingPut() | SettingRemoved():
                pass  # the queue is the hosts', settings have a table of their own; here is who did it
            case Deleted():
                state.exists = False
            case RolloutFact():
                self._apply_rollout(fact)

    def _drop(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.record(RevisionDropped(number=number, revision_id=self.state.ids[number]))

    def _apply_deployed(self, fact: RevisionDeployed) -> None:
        state = self.state
        state.latest, state.fingerprint = fact.number, fact.fingerprint
        state.ids[fact.number] = fact.revision_id
        state.states[fact.number] = "building"
        if fact.number not in state.heads:
            state.last_version = fact.number

    def _apply_dropped(self, number: int) -> None:
        state = self.state
        del state.ids[number], state.states[number]
        state.heads.discard(number)
        state.published = {version: each for version, each in state.published.items() if each != number}

    def _apply_version(self, fact: HeadMade | VersionPublished | VersionDeleted) -> None:
        if isinstance(fact, HeadMade):
            self.state.heads.add(fact.number)
        elif isinstance(fact, VersionPublished):
            self.state.published[fact.version] = fact.number
            self.state.last_version = fact.version
        else:
            del self.state.published[fact.version]

    def _apply_rollout(self, fact: RolloutFact) -> None:
        rollouts = self.state.rollouts
        match fact:
            case RolloutStarted():
                rollouts[fact.alias] = OpenRollout(id=fact.rollout_id, before=fact.before, to=fact.to, plan=fact.plan)
            case RolloutStepped():
                rollouts[fact.alias] = msgspec.structs.replace(rollouts[fact.alias], step=fact.step)
            case RolloutPaused() | RolloutResumed():
                paused = isinstance(fact, RolloutPaused)
                rollouts[fact.alias] = msgspec.structs.replace(rollouts[fact.alias], paused=paused)
            case RolloutFinished() | RolloutRolledBack():
                del rollouts[fact.alias]

    def _point(self, alias: str, number: int, reason: MoveReason) -> None:
        weights = [Weight(number, 1.0)]
        if self.state.aliases.get(alias) != weights:
            self.record(AliasMoved(alias=alias, weights=weights, reason=reason))
