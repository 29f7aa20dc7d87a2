"""The verbs of workloads, each within the transaction of its caller, who has checked permissions.

A command loads the history, lets it decide, appends what it decided, and writes the projections that follow from it.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from isotherm.base.clock import Clock
from isotherm.base.errors import Conflict, Invalid, NotFound
from isotherm.base.etags import check_etag
from isotherm.base.ids import new_id
from isotherm.events.changes import note_change
from isotherm.events.service import EventLog
from isotherm.storage.vault import Vault
from isotherm.tenancy.sealed import SealedSecrets
from isotherm.wire.desired import RevisionSpec
from isotherm.workloads import policy, rollout_policy, rollout_store, settings_store, store
from isotherm.workloads.history import (
    AliasDeleted,
    AliasMoved,
    RevisionDropped,
    RevisionReady,
    SettingPut,
    SettingRemoved,
    VersionDeleted,
    VersionPublished,
    WorkloadHistory,
)
from isotherm.workloads.model import LIVE, AliasRow, Draft, Kind, QueueAction, RevisionRow, Weight, WorkloadRow, etag_of
from isotherm.workloads.rollout_facts import RolloutFact, RolloutStarted
from isotherm.workloads.rollout_model import RolloutPlan
from isotherm.workloads.rollout_rows import moved_row, started_row
from isotherm.workloads.routes import route_of
from isotherm.workloads.settings_model import Setting, SettingRow, kind_of_setting

__all__ = ["SYSTEM", "Workloads"]

_seal = "workloads.env"
_rerouting = (
    RevisionReady,
    RevisionDropped,
    AliasMoved,
    AliasDeleted,
    RolloutFact,
    SettingPut,
    SettingRemoved,
    VersionDeleted,
    VersionPublished,
)
SYSTEM = "system"  # what the platform itself decides: a revision is ready, or failed


class Workloads:
    """Revisions, aliases and routes of whatever kind of workload. `by` is the id of the principal who commands."""

    def __init__(self, *, log: EventLog, vault: Vault, secrets: SealedSecrets, clock: Clock) -> None:
        self._log = log
        self._vault = vault
        self._secrets = secrets
        self._clock = clock

    def find(self, session: Session, kind: Kind, namespace: str, name: str) -> WorkloadRow:
        """Raises `NotFound`."""
        found = store.find_workload(session, kind, namespace, name)
        if found is None:
            raise NotFound(f"there is no {kind} {name[:100]!r} in the namespace {namespace!r}", name=name[:100])
        return found

    def by_id(self, session: Session, workload_id: str) -> WorkloadRow:
        """Raises `NotFound`."""
        found = store.find_workload_by_id(session, workload_id)
        if found is None:
            raise NotFound(f"there is no workload {workload_id[:100]!r}: it was deleted", workload=workload_id[:100])
        return found

    def deploy(
        self,
        session: Session,
        by: str,
        kind: Kind,
        namespace: str,
        name: str,
        draft: Draft,
        *,
        plan: RolloutPlan,
        abort_rollout: bool,
        if_match: str | None,
    ) -> tuple[RevisionRow, bool, str]:
        """The revision, whether it is a new one, and the workload's ETag now. `plan`: how `live` goes to it once ready.

        Raises `Invalid` (the plan; a secret that is not there), `Conflict` (a rollout is moving `live` and is not to
        be aborted; `live` is split and the plan is by steps), `PreconditionFailed`.
        """
        rollout_policy.check_plan(plan)
        workload = store.find_workload(session, kind, namespace, name)
        check_etag(if_match, None if workload is None else workload.etag)
        self._check_secrets(session, namespace, draft.spec)
        fingerprint = self._vault.fingerprint("workloads.revision", msgspec.json.encode(draft, order="sorted"))
        if workload is None:
            history = self._create(session, kind, namespace, name)
        else:
            history = self._log.load(session, WorkloadHistory, workload.id)
            _make_way(history, plan, abort_rollout=abort_rollout)
            if history.same_as_latest(fingerprint):
                row = self._again(session, by, history, plan)
                return row, False, etag_of(history.id, history.version)
        row = self._add_revision(session, by, history, draft, plan, fingerprint)
        return row, True, etag_of(history.id, history.version)

    def mark_ready(
        self, session: Session, revision_id: str, *, template: bool, unfit: Sequence[str], elapsed_ms: float
    ) -> None:
        """Raises `NotFound`, `Conflict` (it has failed)."""
        history, number, row = self._of_revision(session, revision_id)
        if history.mark_ready(number, template=template, unfit=unfit):
            _go_live(history, number, row.rollout)
            if row.spec.development:
                history.keep_only(number)
        if row.state == "building":
            done = msgspec.structs.replace(
                row, state="ready", template=template, unfit=list(unfit), ready_after_ms=elapsed_ms
            )
            store.update_revision(session, done)
        self.keep(session, history, SYSTEM)

    def mark_failed(
        self, session: Session, revision_id: str, problem: dict[str, Any], *, elapsed_ms: float | None
    ) -> None:
        """Raises `NotFound`, `Conflict` (it is ready)."""
        history, number, row = self._of_revision(session, revision_id)
        history.mark_failed(number, str(problem.get("code", "internal"))[:64])
        if row.state == "building":
            took_ms = float(self._clock.time_ms() - row.created_at_ms) if elapsed_ms is None else elapsed_ms
            failed = msgspec.structs.replace(row, state="failed", problem=problem, ready_after_ms=took_ms)
            store.update_revision(session, failed)
        self.keep(session, history, SYSTEM)

    def set_alias(
        self, session: Session, by: str, workload: WorkloadRow, alias: str, weights: Sequence[Weight]
    ) -> AliasRow:
        """Raises `Invalid`."""
        history = self._log.load(session, WorkloadHistory, workload.id)
        history.move_alias(alias, weights)
        self.keep(session, history, by)
        return self.alias(session, workload, alias)

    def delete_alias(self, session: Session, by: str, workload: WorkloadRow, alias: str) -> None:
        """Raises `Invalid` (`live`), `NotFound`."""
        history = self._log.load(session, WorkloadHistory, workload.id)
        history.delete_alias(alias)
        self.keep(session, history, by)

    def roll_back(self, session: Session, by: str, workload: WorkloadRow, to: int | None) -> AliasRow:
        """Raises `Conflict` (nothing to roll back to), `Invalid` (`to` is not ready)."""
        history = self._log.load(session, WorkloadHistory, workload.id)
        history.roll_back(to)
        self.keep(session, history, by)
        return self.alias(session, workload, LIVE)

    def publish(self, session: Session, by: str, workload: WorkloadRow) -> tuple[int, bool]:
        """The version that the latest revision is from now on, and whether it is a new one. Raises `Conflict`."""
        history = self._log.load(session, WorkloadHistory, workload.id)
        version = history.publish()
        new = bool(history.pending)
        self.keep(session, history, by)
        return version, new

    def delete_version(self, session: Session, by: str, workload: WorkloadRow, version: int) -> None:
        """Raises `NotFound`, `Conflict` (an alias has it)."""
        history = self._log.load(session, WorkloadHistory, workload.id)
        history.delete_version(version)
        self.keep(session, history, by)

    def versions(self, session: Session, workload_id: str) -> dict[int, int]:
        """Numbers of revisions by version."""
        return self._log.load(session, WorkloadHistory, workload_id).state.versions

    def settings(self, session: Session, workload_id: str) -> list[SettingRow]:
        return settings_store.list_settings(session, workload_id)

    def put_setting(self, session: Session, by: str, workload: WorkloadRow, qualifier: str, setting: Setting) -> None:
        """In place of the one of the same kind and qualifier."""
        history = self._log.load(session, WorkloadHistory, workload.id)
        history.put_setting(kind_of_setting(setting), qualifier)
        settings_store.put_setting(session, workload.id, qualifier, setting)
        self.keep(session, history, by)

    def remove_setting(
        self, session: Session, by: str, workload: WorkloadRow, qualifier: str, kind: type[Setting]
    ) -> None:
        """Raises `NotFound`."""
        name = kind_of_setting(kind)
        if not settings_store.delete_setting(session, workload.id, name, qualifier):
            raise NotFound(f"{workload.name!r} has no setting {name} for {qualifier or 'calls without a qualifier'!r}")
        history = self._log.load(session, WorkloadHistory, workload.id)
        history.remove_setting(name, qualifier)
        self.keep(session, history, by)

    def queue_steered(self, session: Session, by: str, workload: WorkloadRow, action: QueueAction, count: int) -> None:
        """Write down that somebody steered its queue."""
        history = self._log.load(session, WorkloadHistory, workload.id)
        history.steer_queue(action, count)
        self.keep(session, history, by)

    def overgrown(self, session: Session, *, more_than: int, after: str, limit: int) -> list[str]:
        """Ids of workloads with more revisions than that, by id, those after `after`."""
        return store.overgrown(session, more_than=more_than, after=after, limit=limit)

    def revision_ids(self, session: Session, workload_id: str) -> list[str]:
        """Of all revisions that a workload has."""
        return list(self._log.load(session, WorkloadHistory, workload_id).state.ids.values())

    def prune(
        self,
        session: Session,
        by: str,
        workload_id: str,
        *,
        keep_last: int,
        keep_days: float,
        in_use: Collection[str],
        dry_run: bool = False,
    ) -> tuple[list[int], int]:
        """Forget old revisions (see `policy.sweep`), but none of the ids `in_use`.

        Returns the numbers of those that went (or, `dry_run`, would), and how many stay.
        """
        history = self._log.load(session, WorkloadHistory, workload_id)
        dropped = history.prune(
            store.ages(session, workload_id),
            in_use,
            self._clock.time_ms(),
            keep_last=keep_last,
            keep_days=keep_days,
            dry_run=dry_run,
        )
        self.keep(session, history, by)
        return dropped, len(history.state.ids) - (len(dropped) if dry_run else 0)

    def delete(self, session: Session, by: str, workload: WorkloadRow) -> None:
        """With its revisions and aliases; its name is free at once."""
        history = self._log.load(session, WorkloadHistory, workload.id)
        told = policy.callable_numbers(history.state.states, history.held())
        history.delete()
        store.delete_workload(session, workload.id)
        settings_store.delete_settings(session, workload.id)
        for number in sorted(told):
            note_change(session, "revision", history.state.ids[number])
        note_change(session, "route", workload.id)
        self._log.save(session, history, by=by, namespace=workload.namespace)

    def alias(self, session: Session, workload: WorkloadRow, alias: str) -> AliasRow:
        """Raises `NotFound`."""
        found = store.find_alias(session, workload.id, alias)
        if found is None:
            raise NotFound(f"{workload.name!r} has no alias {alias[:100]!r}", alias=alias[:100])
        return found

    def revision(self, session: Session, workload_id: str, number: int) -> RevisionRow:
        """Without env. Raises `NotFound`."""
        return self._sealed(session, workload_id, number).row

    def env(self, session: Session, workload_id: str, number: int) -> dict[str, str]:
        """The variables that a revision was deployed with, in clear; none of its secrets. Raises `NotFound`."""
        return self._variables(self._sealed(session, workload_id, number))

    def spec(self, session: Session, revision_id: str) -> RevisionSpec:
        """All that a host needs, env included. Raises `NotFound`."""
        _, number, row = self._of_revision(session, revision_id)
        return self.opened(session, self._sealed(session, row.spec.workload_id, number))

    def moves_at_once(self, session: Session, revision_id: str) -> bool:
        """Whether `live` goes to it in one move once it is ready. Raises `NotFound`."""
        _, _, row = self._of_revision(session, revision_id)
        return rollout_policy.at_once(row.rollout)

    def opened(self, session: Session, sealed: store.SealedRevision) -> RevisionSpec:
        """The spec as hosts get it: its variables and the present values of its secrets, in clear.

        A secret that was removed by force is left out. Raises `Unavailable` under another master key.
        """
        spec = sealed.row.spec
        values = self._secrets.values(session, spec.namespace, set(spec.secrets.values()))
        taken = {variable: values[name] for variable, name in spec.secrets.items() if name in values}
        return msgspec.structs.replace(spec, env=self._variables(sealed) | taken)

    def _variables(self, sealed: store.SealedRevision) -> dict[str, str]:
        if sealed.env is None:
            return {}
        return msgspec.json.decode(self._vault.open(_seal, sealed.env, sealed.row.spec.id), type=dict[str, str])

    def _check_secrets(self, session: Session, namespace: str, spec: RevisionSpec) -> None:
        """Raises `Invalid`: one is not there, or all together are too large."""
        values = self._secrets.values(session, namespace, set(spec.secrets.values()))
        for variable, name in spec.secrets.items():
            if name not in values:
                raise Invalid(
                    f"secrets.{variable} is the secret {name!r}, which the namespace {namespace!r} does not have; "
                    f"`isotherm secrets set {name} -n {namespace}` makes it",
                    key=f"secrets.{variable}",
                    secret=name,
                )
        policy.check_env_size(spec.env | {variable: values[name] for variable, name in spec.secrets.items()})

    def _create(self, session: Session, kind: Kind, namespace: str, name: str) -> WorkloadHistory:
        history = WorkloadHistory(new_id("wl"))
        history.create(kind, namespace, name)
        now_ms = self._log.time_ms(session)
        row = WorkloadRow(
            id=history.id,
            kind=kind,
            namespace=namespace,
            name=name,
            version=history.version,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            public=False,
            live=[],
            latest=None,
        )
        store.insert_workload(session, row)
        return history

    def _again(self, session: Session, by: str, history: WorkloadHistory, plan: RolloutPlan) -> RevisionRow:
        """The latest revision was deployed again: `live` goes to it by the plan of now."""
        number = history.state.latest
        row = self.revision(session, history.id, number)
        if row.rollout != plan:
            row = msgspec.structs.replace(row, rollout=plan)
            store.update_revision(session, row)
        if row.state == "ready":
            _go_live(history, number, plan)
        self.keep(session, history, by)
        return row

    def _add_revision(
        self, session: Session, by: str, history: WorkloadHistory, draft: Draft, plan: RolloutPlan, fingerprint: str
    ) -> RevisionRow:
        revision_id = new_id("rev")
        number = history.deploy(revision_id, draft.spec.package, fingerprint, head=draft.head)
        env = draft.spec.env
        row = RevisionRow(
            spec=msgspec.structs.replace(
                draft.spec,
                id=revision_id,
                workload_id=history.id,
                namespace=history.state.namespace,
                name=history.state.name,
                number=number,
                head=draft.head,
                env={},
            ),
            public=draft.public,
            rate_per_s=draft.rate_per_s,
            burst=draft.burst,
            crons=draft.crons,
            env_names=sorted(env),
            fingerprint=fingerprint,
            rollout=plan,
            head=draft.head,
            notes=draft.notes,
            state="building",
            created_at_ms=self._log.time_ms(session),
        )
        sealed = self._vault.seal(_seal, msgspec.json.encode(env), revision_id) if env else None
        store.insert_revision(session, row, sealed)
        store.insert_secret_uses(session, row.spec)
        self.keep(session, history, by)
        return row

    def keep(self, session: Session, history: WorkloadHistory, by: str) -> None:
        """Append what was decided, and write what follows from it; nothing, where nothing was decided."""
        if not history.pending:
            return
        now_ms = self._log.time_ms(session)
        first = history.version - len(history.pending) + 1
        for version, fact in enumerate(history.pending, first):
            if isinstance(fact, RolloutFact):
                self._keep_rollout(session, history, fact, by, version)
            elif isinstance(fact, AliasMoved):
                store.put_alias(session, history.id, fact.alias, fact.weights)
            elif isinstance(fact, AliasDeleted):
                store.delete_alias(session, history.id, fact.alias)
                settings_store.delete_settings(session, history.id, fact.alias)
            elif isinstance(fact, VersionDeleted):
                settings_store.delete_settings(session, history.id, str(fact.version))
            elif isinstance(fact, RevisionDropped):
                store.delete_revision(session, fact.revision_id)
                note_change(session, "revision", fact.revision_id)
        store.update_workload(
            session,
            history.id,
            version=history.version,
            updated_at_ms=now_ms,
            latest=history.state.latest,
        )
        if any(isinstance(fact, _rerouting) for fact in history.pending):
            self._reroute(session, history)
        self._log.save(session, history, by=by, namespace=history.state.namespace)

    def _keep_rollout(
        self, session: Session, history: WorkloadHistory, fact: RolloutFact, by: str, version: int
    ) -> None:
        now_ms = self._log.time_ms(session)
        if isinstance(fact, RolloutStarted):
            row = started_row(history.id, history.state.namespace, history.state.name, fact, by, now_ms)
            rollout_store.insert_rollout(session, row, version)
            return
        found = rollout_store.find_rollout(session, fact.rollout_id)
        if found is not None:
            rollout_store.update_rollout(session, moved_row(found, fact, now_ms))

    def _reroute(self, session: Session, history: WorkloadHistory) -> None:
        """Bring the route and what is callable up to the history; note what hosts have to hear of."""
        state = history.state
        numbers = policy.callable_numbers(state.states, history.held())
        wanted = {state.ids[number] for number in numbers}
        told = store.callable_ids(session, history.id)
        for ids, callable_now in ((wanted - told, True), (told - wanted, False)):
            if ids:
                store.set_callable(session, ids, told=callable_now)
                for revision_id in sorted(ids):
                    note_change(session, "revision", revision_id)
        route = route_of(
            history.id,
            state,
            numbers,
            lambda number: self.revision(session, history.id, number),
            settings_store.list_settings(session, history.id),
        )
        if store.put_route(session, history.id, state.aliases.get(LIVE, []), route):
            note_change(session, "route", history.id)

    def _of_revision(self, session: Session, revision_id: str) -> tuple[WorkloadHistory, int, RevisionRow]:
        workload_id = store.workload_of_revision(session, revision_id)
        if workload_id is None:
            raise NotFound(f"there is no revision {revision_id[:100]!r}: it was deleted", revision=revision_id[:100])
        history = self._log.load(session, WorkloadHistory, workload_id)
        number = history.number_of(revision_id)
        if number is None:
            raise NotFound(f"there is no revision {revision_id[:100]!r}", revision=revision_id[:100])
        return history, number, self.revision(session, workload_id, number)

    def _sealed(self, session: Session, workload_id: str, number: int) -> store.SealedRevision:
        found = store.find_revision(session, workload_id, number)
        if found is None:
            raise NotFound(f"there is no revision {number}", number=number)
        return found


def _make_way(history: WorkloadHistory, plan: RolloutPlan, *, abort_rollout: bool) -> None:
    """Before a deploy: `live` must be free to move. Raises `Conflict`."""
    if LIVE in history.state.rollouts and abort_rollout:
        history.abort_rollout(LIVE)
    history.check_still(LIVE)
    if len(history.state.aliases.get(LIVE, ())) > 1 and not rollout_policy.at_once(plan):
        raise Conflict(
            f"{LIVE!r} is split between revisions, so no rollout can move it by steps; point it at one first: "
            "`isotherm alias set`, or deploy all at once"
        )


def _go_live(history: WorkloadHistory, number: int, plan: RolloutPlan) -> None:
    """Point `live` at a ready revision, or begin the rollout that will. One that is split stays as it is."""
    live = history.state.aliases.get(LIVE)
    if not live or rollout_policy.at_once(plan):
        history.make_live(number)
    elif LIVE not in history.state.rollouts and len(live) == 1 and live[0].number != number:
        history.start_rollout(new_id("roll"), LIVE, number, plan)
