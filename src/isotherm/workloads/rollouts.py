"""The verbs of rollouts, each within the transaction of its caller, who has checked permissions.

`before` and `to` stay callable and warm as long as a rollout is open. The controller steps; whoever comes second (a
former control process, a user who aborted meanwhile) gets `Conflict` and changes nothing.
"""

from sqlalchemy.orm import Session

from isotherm.base.errors import Conflict, NotFound
from isotherm.base.ids import new_id
from isotherm.events.service import EventLog
from isotherm.workloads import rollout_policy, rollout_store
from isotherm.workloads.history import WorkloadHistory
from isotherm.workloads.model import WorkloadRow
from isotherm.workloads.rollout_model import Mark, Reading, RolloutPlan, RolloutRow, Rule
from isotherm.workloads.service import SYSTEM, Workloads

__all__ = ["Rollouts"]


class Rollouts:
    """Moving aliases of whatever kind of workload."""

    def __init__(self, *, log: EventLog, workloads: Workloads) -> None:
        self._log = log
        self._workloads = workloads

    def start(
        self, session: Session, by: str, workload: WorkloadRow, alias: str, to: int, plan: RolloutPlan
    ) -> RolloutRow:
        """Open a rollout; nothing moves yet. Raises `Invalid` (the plan; `to` is not ready or has all calls),
        `NotFound` (no such alias), `Conflict` (the alias is being moved, or is split)."""
        rollout_policy.check_plan(plan)
        history = self._log.load(session, WorkloadHistory, workload.id)
        rollout_id = new_id("roll")
        history.start_rollout(rollout_id, alias, to, plan)
        self._workloads.keep(session, history, by)
        return self._found(session, rollout_id)

    def find(self, session: Session, workload: WorkloadRow, rollout_id: str) -> RolloutRow:
        """Raises `NotFound`."""
        found = rollout_store.find_rollout(session, rollout_id)
        if found is None or found.workload_id != workload.id:
            raise NotFound(f"{workload.name!r} has no rollout {rollout_id[:100]!r}", rollout_id=rollout_id[:100])
        return found

    def pause(self, session: Session, by: str, rollout_id: str) -> RolloutRow:
        """Stay at this step; the gate goes on watching. Raises `Conflict` where it has ended, `NotFound`."""
        history, row = self._open(session, rollout_id)
        history.pause_rollout(row.alias)
        return self._keep(session, history, by, row)

    def resume(self, session: Session, by: str, rollout_id: str) -> RolloutRow:
        """Raises as `pause`."""
        history, row = self._open(session, rollout_id)
        history.resume_rollout(row.alias)
        return self._keep(session, history, by, row)

    def abort(
        self, session: Session, by: str, rollout_id: str, rule: Rule = "asked", reading: Reading | None = None
    ) -> RolloutRow:
        """All calls go back to the revision that had them. Raises as `pause`."""
        history, row = self._open(session, rollout_id)
        history.abort_rollout(row.alias, rule, reading)
        return self._keep(session, history, by, row)

    def step(self, session: Session, rollout_id: str, step: int, mark: Mark, reading: Reading | None) -> RolloutRow:
        """Go to stage `step`; the last one also ends it, where there is nothing to watch for afterwards.

        Raises `Conflict` where it has ended, is paused, or is not in the step before; `NotFound`.
        """
        history, row = self._open(session, rollout_id)
        if row.paused or row.step != step - 1:
            raise Conflict(f"rollout {rollout_id} is in step {row.step}{' and paused' * row.paused}, not {step - 1}")
        history.step_rollout(row.alias, step, mark, reading)
        all_stages = rollout_policy.stages(row.plan)
        if step == len(all_stages) and all_stages[-1].least_s == 0:
            history.finish_rollout(row.alias, reading)
        return self._keep(session, history, SYSTEM, row)

    def finish(self, session: Session, rollout_id: str, reading: Reading | None) -> RolloutRow:
        """It has all the calls and is as good. Raises as `pause`."""
        history, row = self._open(session, rollout_id)
        history.finish_rollout(row.alias, reading)
        return self._keep(session, history, SYSTEM, row)

    def _open(self, session: Session, rollout_id: str) -> tuple[WorkloadHistory, RolloutRow]:
        row = self._found(session, rollout_id)
        if row.state != "open":
            state = row.state.replace("_", " ")
            raise Conflict(f"rollout {rollout_id} has ended already: {state}", rollout_id=rollout_id, state=row.state)
        return self._log.load(session, WorkloadHistory, row.workload_id), row

    def _keep(self, session: Session, history: WorkloadHistory, by: str, row: RolloutRow) -> RolloutRow:
        self._workloads.keep(session, history, by)
        return self._found(session, row.id)

    def _found(self, session: Session, rollout_id: str) -> RolloutRow:
        found = rollout_store.find_rollout(session, rollout_id)
        if found is None:
            raise NotFound(f"there is no rollout {rollout_id[:100]!r}: its workload was deleted")
        return found
