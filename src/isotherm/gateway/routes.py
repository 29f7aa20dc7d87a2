"""From a name to the revision that takes the call: routes, aliases with weights, numbers. Compiled at first use."""

from collections.abc import Callable

import msgspec

from isotherm.base.buckets import TokenBucket
from isotherm.base.errors import NotFound
from isotherm.base.ids import request_ids
from isotherm.gateway.names import Reference
from isotherm.gateway.rates import RateLimit
from isotherm.gateway.shadow import ShadowedTarget
from isotherm.gateway.target import LIVE, Route, Target
from isotherm.pool.revision import RevisionPool
from isotherm.pool.tenants import Tenants
from isotherm.wire.desired import AsyncRules, RevisionSpec, RouteSpec

__all__ = ["RouteTable"]


class RouteTable:
    """All routes of this host. `generation` changes with every change, so that what was derived can be dropped."""

    def __init__(
        self,
        revision_of: Callable[[str], RevisionSpec | None],
        pool_of: Callable[[RevisionSpec], RevisionPool],
        now: Callable[[], float],
        tenants: Tenants,
        under_way: Callable[[str], int],
    ) -> None:
        self.generation = 0
        self._under_way = under_way
        self._tenants = tenants
        self._shared: dict[str, TokenBucket] = {}  # of namespaces with a rate
        self._revision_of = revision_of
        self._pool_of = pool_of
        self._now = now
        self._specs: dict[tuple[str, str], RouteSpec] = {}
        self._names: dict[str, tuple[str, str]] = {}
        self._compiled: dict[tuple[str, str], Route] = {}
        self._references: dict[str, int] = {}
        self._new_id = request_ids()

    def put(self, spec: RouteSpec) -> None:
        """Add or replace a route."""
        self.remove(spec.workload_id)
        name = (spec.namespace, spec.name)
        self._specs[name] = spec
        self._names[spec.workload_id] = name
        for revision_id in _referenced(spec):
            self._references[revision_id] = self._references.get(revision_id, 0) + 1

    def remove(self, workload_id: str) -> None:
        self.generation += 1
        name = self._names.pop(workload_id, None)
        if name is None:
            return
        spec = self._specs.pop(name)
        self._compiled.pop(name, None)
        for revision_id in _referenced(spec):
            self._references[revision_id] -= 1
            if not self._references[revision_id]:
                del self._references[revision_id]

    def quota_changed(self, namespace: str) -> None:
        """The rate of a namespace is another one from now on."""
        self._shared.pop(namespace, None)
        for name in [name for name in self._compiled if name[0] == namespace]:
            del self._compiled[name]
        self.renew()

    def renew(self) -> None:
        """Keys or revisions have changed: whatever was derived is made anew."""
        self.generation += 1

    def referenced(self, revision_id: str) -> bool:
        """Whether an alias points to this revision, or a rollout moves one between it and another."""
        return revision_id in self._references

    def __len__(self) -> int:
        return len(self._specs)

    def find(self, namespace: str, name: str) -> Route | None:
        """The route of a function, or None."""
        key = (namespace, name)
        found = self._compiled.get(key)
        if found is None:
            spec = self._specs.get(key)
            if spec is None:
                return None
            found = self._compiled[key] = Route(spec, self._limiter(spec))
        return found

    def _limiter(self, spec: RouteSpec) -> RateLimit | None:
        """None where neither the function nor its namespace has a limit: then a call costs nothing more."""
        tenant = self._tenants.of(spec.namespace)
        own = None if spec.rate_per_s is None else TokenBucket(spec.rate_per_s, spec.burst, self._now())
        shared = self._shared.get(spec.namespace)
        if shared is None and tenant.quota.rate_per_s is not None:
            shared = TokenBucket(tenant.quota.rate_per_s, tenant.quota.burst, self._now())
            self._shared[spec.namespace] = shared
        if own is None and shared is None and spec.reserved is None:
            return None
        return RateLimit(spec, own, tenant, shared, self._under_way)

    def target(self, route: Route, reference: Reference) -> Target:
        """Where a call of `route` under the reference's qualifier goes. Raises `NotFound`."""
        label = reference.qualifier or LIVE
        target = route.targets.get(label)
        if target is None or target.stale():
            target = self._target(route, label)
            if target.whole:
                route.targets[label] = target
        return target

    def resolve(self, namespace: str, name: str, qualifier: str | None) -> tuple[RevisionPool, str, RevisionSpec]:
        """The revision for the next asynchronous call, the alias or number that led to it, and its spec with what is
        set of that qualifier. Raises `NotFound`."""
        route = self.find(namespace, name)
        if route is None:
            raise NotFound(f"there is no function {namespace}/{name}", namespace=namespace, name=name)
        target = self.target(route, Reference(namespace, name, qualifier))
        revision = target.pick()
        rules = next((each for each in route.spec.rules if each.qualifier == target.label), None)
        return revision, target.label, revision.spec if rules is None else _ruled(revision.spec, rules)

    def admit(self, namespace: str, name: str) -> None:
        """Raises `TooManyRequests` where as many calls of the function are under way as may be."""
        route = self.find(namespace, name)
        if route is not None and route.limiter is not None:
            route.limiter.check_room()

    def _target(self, route: Route, label: str) -> Target:
        spec = route.spec
        weights = [(rid, 1.0) for number, rid in spec.versions if str(number) == label] or [
            weight for alias in spec.aliases if alias.name == label for weight in alias.weights
        ]
        weights = [(revision_id, weight) for revision_id, weight in weights if weight > 0]
        specs = [(self._revision_of(revision_id), weight) for revision_id, weight in weights]
        found = [(self._pool_of(spec), weight) for spec, weight in specs if spec is not None]
        if not found:
            what = "has no revision that is ready" if label == LIVE else f"has no alias or revision `{label}`"
            raise NotFound(f"function {spec.namespace}/{spec.name} {what}", namespace=spec.namespace, name=spec.name)
        return self._shadowed(route, label, found, whole=len(found) == len(weights))

    def _shadowed(self, route: Route, label: str, found: list[tuple[RevisionPool, float]], *, whole: bool) -> Target:
        """The target, which copies calls where the route says so and the revision for them is known here."""
        shadow = next((each for each in route.spec.shadows if each.alias == label), None)
        if shadow is None:
            return Target(route, label, found, whole=whole)
        spec = self._revision_of(shadow.revision_id)
        if spec is None:
            return Target(route, label, found, whole=False)
        return ShadowedTarget(
            route,
            label,
            found,
            whole=whole,
            shadow=self._pool_of(spec),
            share=shadow.share,
            new_id=self._new_id,
        )


def _ruled(spec: RevisionSpec, rules: AsyncRules) -> RevisionSpec:
    """With what is set of asynchronous calls in place of what the revision says."""
    values = {
        "retries": rules.retries,
        "max_age_s": rules.max_age_s,
        "on_success": rules.on_success,
        "on_failure": rules.on_failure,
    }
    given = {name: value for name, value in values.items() if value is not None}
    return msgspec.structs.replace(spec, asynchronous=msgspec.structs.replace(spec.asynchronous, **given))


def _referenced(spec: RouteSpec) -> set[str]:
    named = {revision_id for alias in spec.aliases for revision_id, weight in alias.weights if weight > 0}
    return named | set(spec.standby) | {revision_id for revision_id, _ in spec.provisioned}
