"""Old revisions are forgotten: by the platform's policy as time goes by, or when someone asks. Thread-safe."""

from collections.abc import Callable, Collection

from isotherm.base.clock import Clock
from isotherm.events.service import EventLog
from isotherm.functions.finding import find_function
from isotherm.functions.model import Pruned
from isotherm.tenancy.model import SYSTEM, Principal
from isotherm.tenancy.service import Tenancy
from isotherm.workloads.service import Workloads

__all__ = ["InUse", "Pruning"]

InUse = Callable[[Collection[str], int], Collection[str]]  # (revision ids, since when, ms) → those that were called
CALLED_WITHIN_S = 86_400.0  # a revision that was called by its number, or by an alias that is gone, stays for a day
_workloads_at_once = 100


class Pruning:
    """`keep_last` and `keep_days` are the policy; `in_use` says which of some revisions were called of late."""

    def __init__(
        self,
        *,
        log: EventLog,
        tenancy: Tenancy,
        workloads: Workloads,
        clock: Clock,
        keep_last: int,
        keep_days: float,
        in_use: InUse,
    ) -> None:
        self._log = log
        self._tenancy = tenancy
        self._workloads = workloads
        self._clock = clock
        self._keep_last = keep_last
        self._keep_days = keep_days
        self._in_use = in_use
        self._after = ""  # where the last sweep stopped

    def prune(
        self, principal: Principal, namespace: str, name: str, *, keep: int | None = None, dry_run: bool = False
    ) -> Pruned:
        """Forget the old revisions of a function: by the policy, or all but the newest `keep`, whatever their age.

        What an alias points to, what an open rollout moves between, the newest ready one, what is building and what was
        called within the last day stays.
        `dry_run`: only say which. Raises `NotFound`, `Forbidden`.
        """
        self._tenancy.require(principal, "functions.deploy", namespace, name)
        with self._log.database.read() as session:
            workload = find_function(session, self._tenancy, self._workloads, namespace, name)
        keep_last, keep_days = (self._keep_last, self._keep_days) if keep is None else (keep, 0.0)
        dropped, kept = self._prune(principal.id, workload.id, keep_last, keep_days, dry_run=dry_run)
        return Pruned(dropped=dropped, kept=kept, dry_run=dry_run)

    def sweep(self) -> int:
        """Apply the policy to some of the functions that have more revisions than it keeps, in turn; how many went.

        A function is a transaction of its own. Call it after deploys and hourly.
        """
        with self._log.database.read() as session:
            ids = self._workloads.overgrown(
                session, more_than=self._keep_last, after=self._after, limit=_workloads_at_once
            )
        self._after = ids[-1] if len(ids) == _workloads_at_once else ""
        return sum(len(self._prune(SYSTEM.id, one, self._keep_last, self._keep_days, dry_run=False)[0]) for one in ids)

    def _prune(
        self, by: str, workload_id: str, keep_last: int, keep_days: float, *, dry_run: bool
    ) -> tuple[list[int], int]:
        since_ms = self._clock.time_ms() - round(CALLED_WITHIN_S * 1000)
        with self._log.transaction() as session:
            ids = self._workloads.revision_ids(session, workload_id)
            return self._workloads.prune(
                session,
                by,
                workload_id,
                keep_last=keep_last,
                keep_days=keep_days,
                in_use=self._in_use(ids, since_ms),
                dry_run=dry_run,
            )
