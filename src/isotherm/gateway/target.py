"""A function as it is reached: its route, and the target of each qualifier, which picks a revision by weight."""

from isotherm.gateway.rates import RateLimit
from isotherm.pool.call import Call
from isotherm.pool.revision import RevisionPool
from isotherm.wire.desired import RevisionSpec, RouteSpec, UrlSpec

__all__ = ["GOLDEN", "HEAD", "LIVE", "Route", "Target"]

LIVE = "live"
HEAD = "$LATEST"

GOLDEN = 0.6180339887498949  # steps of this ratio fill [0, 1) evenly, so weights hold over few calls already


class Target:
    """A route under one qualifier: the revisions that may take the call, by weight."""

    __slots__ = ("_bounds", "_point", "_revisions", "_versions", "label", "route", "streams_bodies", "whole")

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
        self._versions: dict[str, str] = {}

    def version_of(self, spec: RevisionSpec) -> str:
        """What a caller is told that took the call, as AWS has it: `$LATEST` of a function's mutable head."""
        if not spec.head:
            return str(spec.number)
        found = self._versions.get(spec.id)
        if found is None:
            if self.label == LIVE or self.label.isdigit():
                found = HEAD if self.label == LIVE else self.label
            else:
                found = next((str(n) for n, revision_id in self.route.spec.versions if revision_id == spec.id), HEAD)
            self._versions[spec.id] = found
        return found

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

    __slots__ = ("_urls", "limiter", "spec", "targets")

    def __init__(self, spec: RouteSpec, limiter: RateLimit | None) -> None:
        self.spec = spec
        self.limiter = limiter
        self.targets: dict[str, Target] = {}
        self._urls = {url.qualifier: url for url in spec.urls}

    def url_of(self, qualifier: str | None) -> UrlSpec | None:
        """What is set of the URL under this qualifier."""
        return self._urls.get(qualifier or LIVE)
