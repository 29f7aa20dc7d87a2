"""The board: what each host last said of itself. Written on the event loop; may be read from any thread."""

from collections import Counter, deque
from typing import Any

import msgspec

from isotherm.wire.link import Hello
from isotherm.wire.telemetry import Batch, NamespaceUse, WorkloadState

__all__ = ["HostBoard", "HostEntry"]

_rate_window_ms = 10_000  # over which calls a second are averaged


class HostEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One host as it was last seen."""

    host_id: str
    boot_id: str
    connected: bool
    isotherm_version: str
    probes: dict[str, Any]  # by driver: does it work here, and if not, why
    runtimes: list[str]
    last_seen_ms: int
    desired_version: int  # last version of the desired state that was sent to it
    report: dict[str, Any]  # memory, cpu, versions, as the host tells them
    dropped: dict[str, int]  # telemetry that the host's bounds made it drop, by kind, since its boot


class HostBoard:
    """Entries are replaced whole, never changed, so a reader on another thread sees a consistent one."""

    def __init__(self, *, max_hosts: int = 1000) -> None:
        self._hosts: dict[str, HostEntry] = {}
        self._states: dict[str, dict[tuple[str, str], list[WorkloadState]]] = {}
        self._uses: dict[str, dict[str, NamespaceUse]] = {}
        self._calls: dict[str, deque[tuple[int, Counter[str]]]] = {}  # by host: (when they were told, by namespace)
        self._max_hosts = max_hosts

    def host_connected(self, hello: Hello, now_ms: int) -> None:
        before = self._hosts.get(hello.host_id)
        same_boot = before is not None and before.boot_id == hello.boot_id
        self._make_room(hello.host_id)
        self._hosts[hello.host_id] = HostEntry(
            host_id=hello.host_id,
            boot_id=hello.boot_id,
            connected=True,
            isotherm_version=hello.isotherm_version,
            probes=hello.probes,
            runtimes=hello.runtimes,
            last_seen_ms=now_ms,
            desired_version=hello.version,
            report=before.report if before is not None else {},
            dropped=before.dropped if before is not None and same_boot else {},
        )
        if not same_boot:
            self._forget(hello.host_id)

    def host_gone(self, host_id: str, now_ms: int) -> None:
        entry = self._hosts.get(host_id)
        if entry is not None:
            self._hosts[host_id] = msgspec.structs.replace(entry, connected=False, last_seen_ms=now_ms)
        self._forget(host_id)

    def desired_sent(self, host_id: str, version: int) -> None:
        entry = self._hosts.get(host_id)
        if entry is not None:
            self._hosts[host_id] = msgspec.structs.replace(entry, desired_version=version)

    def telemetry_came(self, batch: Batch, now_ms: int) -> None:
        entry = self._hosts.get(batch.host_id)
        if entry is None:
            return
        dropped = dict(entry.dropped)
        for kind, count in batch.dropped.items():
            dropped[kind] = dropped.get(kind, 0) + count
        self._hosts[batch.host_id] = msgspec.structs.replace(
            entry, last_seen_ms=now_ms, report=batch.host or entry.report, dropped=dropped
        )
        if batch.boot_id != entry.boot_id:
            return
        self._count_calls(batch, now_ms)
        if batch.uses is not None:
            self._uses[batch.host_id] = {use.namespace: use for use in batch.uses}
        if batch.states is not None:
            by_workload: dict[tuple[str, str], list[WorkloadState]] = {}
            for state in batch.states:
                by_workload.setdefault((state.namespace, state.name), []).append(state)
            self._states[batch.host_id] = by_workload

    def hosts(self) -> list[HostEntry]:
        return sorted(self._hosts.copy().values(), key=lambda entry: entry.host_id)

    def states(self, namespace: str, name: str) -> list[WorkloadState]:
        """What the hosts hold of a workload now, all its revisions."""
        return [state for held in self._states.copy().values() for state in held.get((namespace, name), ())]

    def states_of(self, host_id: str) -> list[WorkloadState]:
        """What one host holds now."""
        return [state for states in self._states.get(host_id, {}).values() for state in states]

    def use(self, namespace: str) -> NamespaceUse:
        """What a namespace uses now of the host where it uses most; refusals are those of all."""
        uses = [use for held in self._uses.copy().values() if (use := held.get(namespace)) is not None]
        refused: Counter[str] = Counter()
        for use in uses:
            refused.update(use.refused)
        return NamespaceUse(
            namespace=namespace,
            instances=max((use.instances for use in uses), default=0),
            memory_mb=max((use.memory_mb for use in uses), default=0),
            disk_bytes=max((use.disk_bytes for use in uses), default=0),
            refused=dict(refused),
        )

    def rate_per_s(self, namespace: str, now_ms: int) -> float:
        """Calls a second of a namespace in the last ten seconds, on the host that has most of them."""
        recent = [list(told) for told in self._calls.copy().values()]
        counts = [
            sum(counted[namespace] for at_ms, counted in told if at_ms > now_ms - _rate_window_ms) for told in recent
        ]
        return max(counts, default=0) * 1000 / _rate_window_ms

    def held_revisions(self) -> set[str]:
        """Ids of the revisions of which a host holds an instance that has served."""
        return {
            state.revision_id
            for held in self._states.copy().values()
            for states in held.values()
            for state in states
            if state.temperatures.get("hot") or state.temperatures.get("warm") or state.queued
        }

    def live_instances(self, host_id: str, namespace: str, name: str, revision_id: str | None = None) -> int:
        """Instances that serve or could at once, on one host, as it last said: of a revision, or of the one of the
        workload that has the most."""
        held = self._states.get(host_id, {}).get((namespace, name), ())
        counts = [
            state.temperatures.get("hot", 0) + state.temperatures.get("warm", 0)
            for state in held
            if revision_id in (None, state.revision_id)
        ]
        return max(counts, default=0)

    def instance_counts(self) -> dict[str, int]:
        """Instances by temperature, on all hosts."""
        counts: dict[str, int] = {}
        for held in self._states.copy().values():
            for states in held.values():
                for state in states:
                    for temperature, count in state.temperatures.items():
                        counts[temperature] = counts.get(temperature, 0) + count
        return counts

    def _make_room(self, host_id: str) -> None:
        if host_id in self._hosts or len(self._hosts) < self._max_hosts:
            return
        oldest = min(self._hosts.values(), key=lambda entry: (entry.connected, entry.last_seen_ms))
        self._hosts.pop(oldest.host_id)
        self._forget(oldest.host_id)

    def _forget(self, host_id: str) -> None:
        for told in (self._states, self._uses, self._calls):
            told.pop(host_id, None)

    def _count_calls(self, batch: Batch, now_ms: int) -> None:
        told = self._calls.setdefault(batch.host_id, deque(maxlen=1000))
        counted: Counter[str] = Counter()
        for minute in batch.minutes:
            counted[minute.namespace] += minute.count
        if counted:
            told.append((now_ms, counted))
        while told and told[0][0] <= now_ms - _rate_window_ms:
            told.popleft()
