"""From a name to the revision that takes the call: routes, aliases with weights, numbers. Compiled at first use."""

from collections.abc import Callable

from isotherm.base.errors import NotFound
from isotherm.gateway.limits import TokenBucket
from isotherm.gateway.names import Reference
from isotherm.pool.revision import RevisionPool
from isotherm.wire.desired import RevisionSpec, RouteSpec

__all__ = ["Route", "RouteTable", "Target"]

LIVE = "live"
GOLDEN = 0.6180339887498949  # steps of this ratio fill [0, 1) evenly, so weights hold over few calls already


class Target:
    """A route under one qualifier: the revisions that may take the call, by weight."""

    __slots__ = ("_bounds", "_point", "_revisions", "label", "route", "streams_bodies", "whole")

    def __init__(
        self, route: "Route", label: str, weighted: list[tuple[RevisionPool, float]], *, whole: bool = True
    ) -> None:
        self.route = route
        self.whole = whole  # False: some of its revisions are not known here yet
        self.label = label
        self._revisions = [revision for revision, _ in weighted]
        # While one of them takes its requests whole, all come whole: which takes one is not known before it is there.
        self.streams_bodies = all(revision.spec.request_body == "stream" for revision in self._revisions)
        total = sum(weight for _, weight in weighted) or 1.0
        self._bounds: list[float] = []
        running = 0.0
        for _, weight in weighted:
            running += weight / total
            self._bounds.append(running)
        self._point = 0.0

    def pick(self) -> RevisionPool:
        """The revision for the next call."""
        revisions = self._revisions
        if len(revisions) == 1:
            return revisions[0]
        self._point = point = (self._point + GOLDEN) % 1.0
        for revision, bound in zip(revisions, self._bounds, strict=True):
            if point < bound:
                return revision
        return revisions[-1]

    def stale(self) -> bool:
        """Whether one of its revisions was removed from this host meanwhile."""
        return any(revision.closing for revision in self._revisions)


class Route:
    """A function as it is reached."""

    __slots__ = ("limiter", "spec", "targets")

    def __init__(self, spec: RouteSpec, limiter: TokenBucket | None) -> None:
        self.spec = spec
        self.limiter = limiter
        self.targets: dict[str, Target] = {}


class RouteTable:
    """All routes of this host. `generation` changes with every change, so that what was derived can be dropped."""

    def __init__(
        self,
        revision_of: Callable[[str], RevisionSpec | None],
        pool_of: Callable[[RevisionSpec], RevisionPool],
        now: Callable[[], float],
    ) -> None:
        self.generation = 0
        self._revision_of = revision_of
        self._pool_of = pool_of
        self._now = now
        self._specs: dict[tuple[str, str], RouteSpec] = {}
        self._names: dict[str, tuple[str, str]] = {}
        self._compiled: dict[tuple[str, str], Route] = {}
        self._references: dict[str, int] = {}

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

    def renew(self) -> None:
        """Keys or revisions have changed: whatever was derived is made anew."""
        self.generation += 1

    def referenced(self, revision_id: str) -> bool:
        """Whether an alias points to this revision."""
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
            limiter = None if spec.rate_per_s is None else TokenBucket(spec.rate_per_s, spec.burst, self._now())
            found = self._compiled[key] = Route(spec, limiter)
        return found

    def target(self, route: Route, reference: Reference) -> Target:
        """Where a call of `route` under the reference's qualifier goes. Raises `NotFound`."""
        label = reference.qualifier or LIVE
        target = route.targets.get(label)
        if target is None or target.stale():
            target = self._target(route, label)
            if target.whole:
                route.targets[label] = target
        return target

    def resolve(self, namespace: str, name: str, qualifier: str | None) -> tuple[RevisionPool, str]:
        """The revision for the next asynchronous call, and the alias or number that led to it. Raises `NotFound`."""
        route = self.find(namespace, name)
        if route is None:
            raise NotFound(f"there is no function {namespace}/{name}", namespace=namespace, name=name)
        target = self.target(route, Reference(namespace, name, qualifier))
        return target.pick(), target.label

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
        return Target(route, label, found, whole=len(found) == len(weights))


def _referenced(spec: RouteSpec) -> set[str]:
    return {revision_id for alias in spec.aliases for revision_id, weight in alias.weights if weight > 0}
