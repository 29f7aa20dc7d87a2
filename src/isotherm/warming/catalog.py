"""What there is to be kept warm: workloads with their revisions, schedules and budgets, from the desired state."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from isotherm.base.cron import Schedule, parse_schedule
from isotherm.base.errors import Invalid
from isotherm.warming.budgets import Budget, namespace_budget, workload_budget
from isotherm.wire.desired import Desired, RevisionSpec, RouteSpec, WarmSpec

__all__ = ["Catalog", "Entry", "Revision"]

LIVE = "live"
SHARE_KEPT = 0.8  # of what is known of the shares of revisions, with each minute that has calls


@dataclass(frozen=True, slots=True)
class Revision:
    """What the policy has to know of one: no code, no environment."""

    id: str
    warm: WarmSpec
    concurrency: int
    development: bool = False

    @property
    def steered(self) -> bool:
        """Whether the policy may decide about it: not about what somebody works on."""
        return self.warm.policy == "foresight" and not self.development


@dataclass(slots=True)
class Entry:
    """A workload that can be called. `row`: its place in the policy's arrays."""

    row: int
    route: RouteSpec
    schedules: list[tuple[Schedule, int]] = field(default_factory=list)  # with the jitter, ms
    revisions: dict[str, Revision] = field(default_factory=dict)  # those that an alias points to
    shares: dict[str, float] = field(default_factory=dict)  # of its calls that go to each of them
    main: Revision | None = None  # the one that most go to
    fresh_until: int | None = None  # the minute up to which what its deploy has made ready waits for a first call
    _went: dict[str, float] = field(default_factory=dict)  # shares of the calls of late

    @property
    def key(self) -> tuple[str, str]:
        return self.route.namespace, self.route.name

    @property
    def steered(self) -> bool:
        """Whether the policy decides about it. What a deploy or a rollout has made ready stays: until a first call, or
        as long as the rollout moves an alias."""
        return self.main is not None and self.main.steered and not self.route.standby and self.fresh_until is None

    def saw(self, counts: dict[str, int]) -> bool:
        """The calls of a minute, by revision; whether they changed where calls are taken to go."""
        if (
            len(self.revisions) == 1
            and self._went.keys() <= self.revisions.keys()
            and counts.keys() <= self.revisions.keys()
        ):
            return False
        total = sum(counts.values())
        for revision_id in self._went.keys() | counts.keys():
            before, now = self._went.get(revision_id, 0.0), counts.get(revision_id, 0) / max(1, total)
            self._went[revision_id] = SHARE_KEPT * before + (1 - SHARE_KEPT) * now
        self._went = {each: share for each, share in self._went.items() if share > 0.01}
        return self.point()

    def point(self, revisions: dict[str, Revision] | None = None) -> bool:
        """Aliases point to these revisions now: calls go as `live` says, or more where more of them went of late.
        Whether that is another thing than before."""
        before = self.shares, self.main, self.revisions
        self.revisions = self.revisions if revisions is None else revisions
        live = next((dict(alias.weights) for alias in self.route.aliases if alias.name == LIVE), {})
        self.shares = {each: max(live.get(each, 0.0), self._went.get(each, 0.0)) for each in self.revisions}
        self.main = max(self.revisions.values(), key=lambda each: self.shares[each.id], default=None)
        return before != (self.shares, self.main, self.revisions)

    def budget(self) -> Budget | None:
        """Its own; None where it has none."""
        main = self.main
        return None if main is None or main.warm.budget is None else workload_budget(main.warm.budget)

    def next_due(self, after_ms: int) -> int | None:
        """The first time after that at which a schedule is due."""
        times = [at for schedule, _ in self.schedules if (at := schedule.following(after_ms)) is not None]
        return min(times, default=None)

    def is_due(self, begin_ms: int, end_ms: int) -> bool:
        """Whether a schedule calls it in [begin, end): its jitter may put the call off until then."""
        for schedule, jitter_ms in self.schedules:
            at = schedule.following(begin_ms - jitter_ms - 1)
            if at is not None and at < end_ms:
                return True
        return False


class Catalog:
    """All entries, each in a row of its own; rows of what is gone are used again."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}  # by workload id
        self.by_key: dict[tuple[str, str], Entry] = {}
        self.namespaces: dict[str, Budget] = {}
        self.pointed: list[Entry] = []  # those whose revisions changed with the last update
        self.epoch: str | None = None
        self.version = 0
        self._revisions: dict[str, Revision] = {}
        self._free: list[int] = []
        self._rows = 0

    @property
    def rows(self) -> int:
        """How many were ever needed at once."""
        return self._rows

    def apply(self, desired: Desired) -> list[int]:
        """Take an update; rows that are free now, for whom what was known of them has to be forgotten."""
        gone: list[int] = []
        removed = [(each.kind, each.id) for each in desired.removed]
        if desired.full:
            kept = {item.route.workload_id for item in desired.items if item.route is not None}
            removed += [("route", workload_id) for workload_id in self.entries if workload_id not in kept]
            self._revisions.clear()
            self.namespaces.clear()
        for kind, key in removed:
            if kind == "route":
                gone += self._remove(key)
            elif kind == "revision":
                self._revisions.pop(key, None)
            elif kind == "quota":
                self.namespaces.pop(key, None)
        for item in desired.items:
            if item.revision is not None:
                self._revisions[item.revision.id] = _lite(item.revision)
            elif item.quota is not None:
                self._put_namespace(item.quota.namespace, item.quota.quota.warm_budget)
        for item in desired.items:
            if item.route is not None:
                self._put(item.route)
        self._refresh()
        self.epoch, self.version = desired.epoch, desired.version
        return gone

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def _put(self, route: RouteSpec) -> None:
        entry = self.entries.get(route.workload_id)
        if entry is None:
            row = self._free.pop() if self._free else self._rows
            self._rows = max(self._rows, row + 1)
            entry = self.entries[route.workload_id] = Entry(row, route)
        self.by_key.pop(entry.key, None)
        entry.route = route
        entry.schedules = list(_schedules(route))
        self.by_key[entry.key] = entry

    def _remove(self, workload_id: str) -> list[int]:
        entry = self.entries.pop(workload_id, None)
        if entry is None:
            return []
        if self.by_key.get(entry.key) is entry:
            del self.by_key[entry.key]
        self._free.append(entry.row)
        return [entry.row]

    def _refresh(self) -> None:
        """Which revisions aliases point to: they may be told of before or after the route."""
        self.pointed = []
        for entry in self.entries.values():
            ids = {revision_id for alias in entry.route.aliases for revision_id, weight in alias.weights if weight > 0}
            if entry.point({each: self._revisions[each] for each in ids if each in self._revisions}):
                self.pointed.append(entry)

    def _put_namespace(self, namespace: str, text: str | None) -> None:
        if text is None:
            self.namespaces.pop(namespace, None)
        else:
            self.namespaces[namespace] = namespace_budget(text)


def _lite(spec: RevisionSpec) -> Revision:
    return Revision(spec.id, spec.warm, spec.concurrency, spec.development)


def _schedules(route: RouteSpec) -> Iterator[tuple[Schedule, int]]:
    for cron in route.crons:
        try:
            yield parse_schedule(cron.schedule, cron.timezone), round(cron.jitter_s * 1000)
        except Invalid:  # a time zone that this machine does not know: the host says so, too
            continue
