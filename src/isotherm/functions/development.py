"""Development functions: those of somebody's inner loop. They go by themselves once nobody looks after them."""

import threading

import structlog

from isotherm.base.clock import Clock
from isotherm.base.errors import Conflict, NotFound
from isotherm.events.service import EventLog
from isotherm.tenancy.model import SYSTEM
from isotherm.workloads import store as workload_store
from isotherm.workloads.model import WorkloadRow
from isotherm.workloads.service import Workloads

__all__ = ["KEEP_S", "Leases", "check_kind"]

KEEP_S = 900.0  # one that nobody has deployed or looked at for so long is deleted
_log = structlog.get_logger(__name__)


class Leases:
    """When each development function was last seen. In memory: a new process gives each its time anew. Thread-safe.

    `isotherm dev` looks at its function every minute, so that one whose terminal was killed does not stay.
    """

    def __init__(self, *, log: EventLog, workloads: Workloads, clock: Clock) -> None:
        self._log = log
        self._workloads = workloads
        self._clock = clock
        self._lock = threading.Lock()
        self._seen_s: dict[str, float] | None = None  # by workload id; None: not read from the database yet

    def touch(self, workload_id: str) -> None:
        """Somebody looks after it."""
        with self._lock:
            if self._seen_s is not None:
                self._seen_s[workload_id] = self._clock.monotonic_s()

    def sweep(self) -> int:
        """Delete those that nobody has looked after for `KEEP_S`; how many. Call it every minute."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            if self._seen_s is None:
                self._seen_s = dict.fromkeys(self._all(), now_s)
            over = [one for one, seen_s in self._seen_s.items() if now_s - seen_s >= KEEP_S]
            for one in over:
                del self._seen_s[one]
        return sum(self._delete(one) for one in over)

    def _all(self) -> list[str]:
        with self._log.database.read() as session:
            return workload_store.list_development(session)

    def _delete(self, workload_id: str) -> bool:
        with self._log.transaction() as session:
            try:
                workload = self._workloads.by_id(session, workload_id)
            except NotFound:
                return False  # its owner was faster
            self._workloads.delete(session, SYSTEM.id, workload)
        _log.info("a development function was left behind", namespace=workload.namespace, name=workload.name)
        return True


def check_kind(workload: WorkloadRow | None, *, development: bool) -> None:
    """A function is of development with all its revisions or with none, so that none of them gets the calls of
    another's users. Raises `Conflict`."""
    if workload is None or workload.latest is None or workload.latest.spec.development == development:
        return
    name = workload.name
    raise Conflict(
        f"{name} is deployed for production; give the development function another name: `isotherm dev --name`"
        if development
        else f"{name} is a development function of `isotherm dev` or `isotherm test`; end that, or choose another name",
        name=name,
    )
