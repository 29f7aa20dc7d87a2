"""The verbs of functions' rollouts. Those of principals check their permission; all are thread-safe."""

from collections.abc import Callable

from sqlalchemy.orm import Session

from isotherm.base.etags import check_etag
from isotherm.db.pages import Page, clamp_limit, decode_cursor, encode_cursor
from isotherm.events.listeners import Listeners
from isotherm.events.service import EventLog
from isotherm.functions.finding import find_function
from isotherm.tenancy.model import Principal
from isotherm.tenancy.service import Tenancy
from isotherm.wire.desired import RevisionSpec
from isotherm.workloads import rollout_store
from isotherm.workloads.model import LIVE, WorkloadRow
from isotherm.workloads.rollout_model import Mark, Reading, RolloutPlan, RolloutRow, Rule
from isotherm.workloads.rollouts import Rollouts
from isotherm.workloads.service import SYSTEM, Workloads

__all__ = ["FunctionRollouts"]


class FunctionRollouts:
    """Start, see and steer rollouts; and what the controller does with those that are open."""

    def __init__(self, *, log: EventLog, tenancy: Tenancy, workloads: Workloads) -> None:
        self._log = log
        self._tenancy = tenancy
        self._workloads = workloads
        self._rollouts = Rollouts(log=log, workloads=workloads)
        self._steered: Listeners[[]] = Listeners("a rollout")

    # -- principals ----------------------------------------------------------------------------------------------------

    def start(
        self,
        principal: Principal,
        namespace: str,
        name: str,
        to: int,
        plan: RolloutPlan,
        *,
        alias: str = LIVE,
        if_match: str | None = None,
    ) -> RolloutRow:
        """Begin to move `alias` to revision `to`. Raises `Invalid` (the plan; `to` is not ready or has all calls),
        `Conflict` (the alias is being moved already, or is split), `NotFound`, `Forbidden`, `PreconditionFailed`."""
        self._tenancy.require(principal, "functions.deploy", namespace, name)
        with self._log.transaction() as session:
            workload = self._find(session, namespace, name)
            check_etag(if_match, workload.etag)
            row = self._rollouts.start(session, principal.id, workload, alias, to, plan)
        self._steered.tell()
        return row

    def page(
        self, principal: Principal, namespace: str, name: str, *, limit: int = 100, cursor: str | None = None
    ) -> Page[RolloutRow]:
        """The newest first. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace, name)
        below = None if cursor is None else decode_cursor(cursor, tuple[int])[0]
        with self._log.database.read() as session:
            workload = self._find(session, namespace, name)
            rows = rollout_store.list_rollouts(session, workload.id, below=below, limit=clamp_limit(limit) + 1)
        found = rows[:limit]
        return Page([row for _, row in found], encode_cursor(found[-1][0]) if len(rows) > limit else None)

    def get(self, principal: Principal, namespace: str, name: str, rollout_id: str) -> RolloutRow:
        """Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace, name)
        with self._log.database.read() as session:
            return self._rollouts.find(session, self._find(session, namespace, name), rollout_id)

    def pause(self, principal: Principal, namespace: str, name: str, rollout_id: str) -> RolloutRow:
        """Stay at this step; the gate goes on watching. Raises `Conflict` (it has ended), `NotFound`, `Forbidden`."""
        return self._steer(principal, namespace, name, rollout_id, self._rollouts.pause)

    def resume(self, principal: Principal, namespace: str, name: str, rollout_id: str) -> RolloutRow:
        """Raises as `pause`."""
        return self._steer(principal, namespace, name, rollout_id, self._rollouts.resume)

    def abort(self, principal: Principal, namespace: str, name: str, rollout_id: str) -> RolloutRow:
        """All calls go back to the revision that had them. Raises as `pause`."""
        return self._steer(principal, namespace, name, rollout_id, self._rollouts.abort)

    def on_steered(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after a rollout began or was steered, on that command's thread; it must not block. Returns
        what takes it off again."""
        return self._steered.add(callback)

    # -- the controller ------------------------------------------------------------------------------------------------

    def open(self) -> list[RolloutRow]:
        """Every rollout that has not ended."""
        with self._log.database.read() as session:
            return rollout_store.list_open(session)

    def spec(self, rollout: RolloutRow, number: int) -> RevisionSpec:
        """What a host needs of a revision of the same function, env included. Raises `NotFound`."""
        with self._log.database.read() as session:
            row = self._workloads.revision(session, rollout.workload_id, number)
            return self._workloads.spec(session, row.spec.id)

    def step(self, rollout_id: str, step: int, mark: Mark, reading: Reading | None) -> RolloutRow:
        """Go on to a step. Raises `Conflict` (it has ended, is paused, or is elsewhere), `NotFound`."""
        with self._log.transaction() as session:
            return self._rollouts.step(session, rollout_id, step, mark, reading)

    def finish(self, rollout_id: str, reading: Reading | None) -> RolloutRow:
        """Raises `Conflict` (it has ended), `NotFound`."""
        with self._log.transaction() as session:
            return self._rollouts.finish(session, rollout_id, reading)

    def roll_back(self, rollout_id: str, rule: Rule, reading: Reading | None) -> RolloutRow:
        """Raises `Conflict` (it has ended), `NotFound`."""
        with self._log.transaction() as session:
            return self._rollouts.abort(session, SYSTEM, rollout_id, rule, reading)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _steer(
        self,
        principal: Principal,
        namespace: str,
        name: str,
        rollout_id: str,
        verb: Callable[[Session, str, str], RolloutRow],
    ) -> RolloutRow:
        self._tenancy.require(principal, "functions.deploy", namespace, name)
        with self._log.transaction() as session:
            self._rollouts.find(session, self._find(session, namespace, name), rollout_id)
            row = verb(session, principal.id, rollout_id)
        self._steered.tell()
        return row

    def _find(self, session: Session, namespace: str, name: str) -> WorkloadRow:
        return find_function(session, self._tenancy, self._workloads, namespace, name)
