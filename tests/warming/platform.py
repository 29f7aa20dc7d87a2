"""A platform as the live policy sees it: workloads, calls second by second, and a host that does as it is told."""

from collections.abc import Callable, Iterable
from typing import Any

from isotherm.warming.receipt import Receipt
from isotherm.warming.service import Options, Warming
from isotherm.wire.desired import AliasSpec, CronSpec, Desired, Item, RevisionSpec, RouteSpec, WarmSpec
from isotherm.wire.quota import Quota, QuotaSpec
from isotherm.wire.telemetry import Batch, MinuteAggregate, WorkloadState
from isotherm.wire.warmth import Warmth

MINUTE_MS = 60_000
BEGIN = 29_000_000  # minutes since 1970
MB = 1_000_000
Calls = Callable[[int], Iterable[tuple[str, float]]]  # minute → (name, second)


def revision(name: str, number: int = 1, **more: Any) -> RevisionSpec:
    return RevisionSpec(
        id=f"rev_{name}_{number}",
        workload_id=f"wl_{name}",
        namespace=more.pop("namespace", "default"),
        name=name,
        number=number,
        runtime="python3.11",
        handler="app.handler",
        package="0" * 64,
        warm=WarmSpec(**more.pop("warm", {})),
        **more,
    )


def route(spec: RevisionSpec, weights: list[tuple[str, float]] | None = None, **more: Any) -> RouteSpec:
    return RouteSpec(
        workload_id=spec.workload_id,
        namespace=spec.namespace,
        name=spec.name,
        aliases=[AliasSpec("live", weights or [(spec.id, 1.0)])],
        **more,
    )


def cron(schedule: str, **more: Any) -> CronSpec:
    return CronSpec(name="nightly", schedule=schedule, **more)


class FakePlatform:
    """Time goes on by `run`. `warm` [name]: instances now, as hosts were told; `cold`: (minute, name) of calls that
    found none."""

    def __init__(self, options: Options | None = None, warming: Warming | None = None, begin: int = BEGIN) -> None:
        self.warming = warming or Warming(options or Options())
        self.now_ms = float(begin * MINUTE_MS)
        self.version = 0
        self.specs: dict[str, RevisionSpec] = {}
        self.told: dict[str, tuple[int, bool]] = {}
        self.started: set[str] = set()  # revisions with an instance that a call has started, until it is let go
        self.cold: list[tuple[int, str]] = []
        self.served = 0
        self.receipts: list[Receipt] = []
        self.messages: list[Warmth] = []
        self.sequence = 0

    def deploy(
        self,
        *specs: RevisionSpec,
        routes: list[RouteSpec] | None = None,
        quotas: dict[str, str] | None = None,
        fresh: bool = False,
    ) -> None:
        """`fresh` False: as if it had been deployed long ago."""
        self.specs |= {spec.name: spec for spec in specs}
        self.version += 1
        items = [Item(revision=spec) for spec in specs]
        items += [Item(route=each) for each in (routes if routes is not None else [route(spec) for spec in specs])]
        items += [
            Item(quota=QuotaSpec(namespace=name, quota=Quota(warm_budget=text)))
            for name, text in (quotas or {}).items()
        ]
        self.warming.apply(Desired(epoch="e", version=self.version, full=False, items=items))
        if not fresh:
            for each in self.warming.catalog:
                each.fresh_until = None

    def take(self, warmth: Warmth | None) -> None:
        if warmth is None:
            return
        self.messages.append(warmth)
        if warmth.full:
            self.told.clear()
        for each in warmth.released:
            self.told.pop(each, None)
        for target in warmth.targets:
            self.told[target.revision_id] = (target.instances, target.template)
            if not target.instances:
                self.started.discard(target.revision_id)

    def instances(self, name: str) -> int:
        told = self.told.get(self.specs[name].id, (0, False))[0]
        return max(told, int(self.specs[name].id in self.started))

    def run(self, minutes: int, calls: Calls = lambda _: (), turn_s: int = 5) -> None:
        for _ in range(minutes):
            minute = int(self.now_ms // MINUTE_MS)
            by_second: dict[int, list[str]] = {}
            for name, second in calls(minute):
                by_second.setdefault(int(second), []).append(name)
            for second in range(60):
                for name in by_second.get(second, ()):
                    self._call(minute, name)
                self.now_ms += 1000
                if by_second.get(second):
                    self._tell(minute, by_second[second])
                if second % turn_s == turn_s - 1:
                    turn = self.warming.turn(self.now_ms - 200)
                    self.take(turn.warmth)
                    self.receipts += turn.receipts

    def _call(self, minute: int, name: str) -> None:
        self.served += 1
        if not self.instances(name):
            self.cold.append((minute, name))
        self.started.add(self.specs[name].id)

    def _tell(self, minute: int, names: list[str]) -> None:
        self.sequence += 1
        counts = {name: names.count(name) for name in names}
        aggregates = [
            MinuteAggregate(
                namespace=self.specs[name].namespace,
                name=name,
                revision_id=self.specs[name].id,
                minute=minute,
                count=count,
                outcomes={"ok": count},
                cold={},
                latency=[],
                total_ms=20.0 * count,
                run_ms=20.0 * count,
                queue_ms=0.0,
            )
            for name, count in counts.items()
        ]
        batch = Batch(host_id="h", boot_id="b", sequence=self.sequence, sent_at_ms=int(self.now_ms), minutes=aggregates)
        self.warming.take(batch, self.now_ms)

    def hold(self, name: str, *, instance_mb: float, template_mb: float) -> None:
        """What a host measured of it."""
        spec = self.specs[name]
        state = WorkloadState(
            namespace=spec.namespace,
            name=name,
            revision_id=spec.id,
            temperatures={"warm": 1, "template": 1},
            memory_bytes=int((instance_mb + template_mb) * MB),
            cpu_s=0.0,
            queued=0,
            template_bytes=int(template_mb * MB),
        )
        self.warming.saw_states([state])
