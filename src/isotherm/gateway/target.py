"""A function as it is reached: its route, and the target of each qualifier, which picks a revision by weight."""

from isotherm.gateway.rates import RateLimit
from isotherm.pool.call import Call
from isotherm.pool.revision import RevisionPool
from isotherm.wire.desired import RouteSpec

__all__ = ["GOLDEN", "Route", "Target"]

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

    def pick(self, _call: Call | None = None) -> RevisionPool:
        """The revision for the next call; None: of a call that will not be made."""
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

    def __init__(self, spec: RouteSpec, limiter: RateLimit | None) -> None:
        self.spec = spec
        self.limiter = limiter
        self.targets: dict[str, Target] = {}
