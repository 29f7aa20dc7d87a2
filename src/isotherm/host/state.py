"""Makes the desired state effective: keys, users, routes, revisions and quotas go where they are used."""

from collections.abc import Iterable

from isotherm.gateway.keys import KeyRing
from isotherm.gateway.routes import RouteTable
from isotherm.host.desired import Change, DesiredStore
from isotherm.host.disk import DiskBook
from isotherm.invocations.recorder import Recorder
from isotherm.pool.service import Pool
from isotherm.queue.triggers import Triggers
from isotherm.wire.desired import Desired, Item

__all__ = ["HostState"]


class HostState:
    """The one place that applies updates. `routes` and `keys` count from the next request on."""

    def __init__(
        self,
        store: DesiredStore,
        routes: RouteTable,
        keys: KeyRing,
        pool: Pool,
        triggers: Triggers,
        recorder: Recorder,
        disk: DiskBook,
    ) -> None:
        self.store = store
        self._disk = disk
        self._recorder = recorder
        self._routes = routes
        self._keys = keys
        self._pool = pool
        self._triggers = triggers
        self._kept_warm: set[str] = set()  # revisions with a minimum of instances
        self._provisioned: dict[str, set[str]] = {}  # revisions with instances that their workload asks for

    def start(self) -> None:
        """Serve what the store has."""
        self._put(self.store.items())

    def apply(self, desired: Desired) -> None:
        """Take an update from control. Costs what changed, not what is there."""
        change = self.store.apply(desired)
        self._remove(change)
        self._put(change.items)

    def keep_warm(self) -> None:
        """Make sure that revisions with a minimum of instances are known to the pool, which then starts them."""
        provisioned = {revision_id for each in self._provisioned.values() for revision_id in each}
        for revision_id in self._kept_warm | provisioned:
            if revision_id not in self._pool.revisions and self._routes.referenced(revision_id):
                spec = self.store.revision(revision_id)
                if spec is not None:
                    self._pool.revision(spec)

    def _put(self, items: Iterable[Item]) -> None:
        for item in items:
            if item.key is not None:
                self._keys.put(item.key)
            elif item.user is not None:
                self._keys.put_user(item.user)
            elif item.token_key is not None:
                self._keys.put_token_key(item.token_key)
            elif item.route is not None:
                self._routes.put(item.route)
                self._provision(item.route.workload_id, item.route.provisioned)
                self._triggers.put(item.route)
            elif item.quota is not None:
                self._pool.tenants.put(item.quota.namespace, item.quota.quota)
                self._quota_changed(item.quota.namespace)
            elif item.revision is not None:
                self._disk.know(item.revision)
                if item.revision.warm.min_instances:
                    self._kept_warm.add(item.revision.id)
                self._pool.renew(item.revision, self._routes.renew)
        self._routes.renew()

    def _provision(self, workload_id: str, wanted: list[tuple[str, int]]) -> None:
        before = self._provisioned.pop(workload_id, set())
        for revision_id in before - {revision_id for revision_id, _ in wanted}:
            self._pool.provision(revision_id, 0)
        for revision_id, instances in wanted:
            self._pool.provision(revision_id, instances)
        if wanted:
            self._provisioned[workload_id] = {revision_id for revision_id, _ in wanted}

    def _remove(self, change: Change) -> None:
        for kind, key in change.removed:
            if kind == "key":
                self._keys.remove(key)
            elif kind == "user":
                self._keys.remove_user(key)
            elif kind == "token_key":
                self._keys.remove_token_key(key)
            elif kind == "route":
                self._routes.remove(key)
                self._provision(key, [])
                self._triggers.remove(key)
            elif kind == "quota":
                self._pool.tenants.remove(key)
                self._quota_changed(key)
            else:
                self._kept_warm.discard(key)
                self._disk.forget(key)
                self._pool.spawn(self._pool.forget(key))

    def _quota_changed(self, namespace: str) -> None:
        """The pool looks at the quota itself; who keeps something of it by namespace is told."""
        self._routes.quota_changed(namespace)
        self._recorder.limit_logs(namespace, self._pool.tenants.of(namespace).quota.log_kb_per_s)
