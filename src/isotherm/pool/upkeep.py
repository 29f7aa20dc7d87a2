"""What the pool does about time and memory: keep-alives, spares, minimum instances, eviction, what it reports."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from isotherm.pool import policy
from isotherm.pool.connection import InstanceConnection
from isotherm.pool.model import Phase, PoolLimits
from isotherm.pool.revision import DRAIN_GRACE_S, RevisionPool
from isotherm.pool.templates import TemplateSlot
from isotherm.pool.tenants import Shortage, Tenant, Tenants
from isotherm.wire.telemetry import ColdCause, WorkloadState

__all__ = ["Estate", "Upkeep"]

LOOK_AGAIN_S = 0.01  # a namespace that is full is looked through for idle instances at most this often
SAMPLES_PER_TICK = 4  # instances and templates whose use is read in one tick: each takes tens of microseconds
MIB = 1024 * 1024
NEW_INSTANCE_BYTES = 8 * MIB  # what an instance is expected to take before one of its revision was measured


class Estate(Protocol):
    """The pool, as far as its upkeep needs it."""

    limits: PoolLimits
    tenants: Tenants
    held: set[RevisionPool]
    templates: dict[RevisionPool, TemplateSlot]

    def grow(self, revision: RevisionPool, count: int) -> int: ...

    def refill_now(self, revision: RevisionPool) -> None: ...

    def make_ahead(self, revision: RevisionPool) -> None: ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> object: ...


class Upkeep:
    """Looks at everything the pool holds; acts by what `policy` says."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate
        self._to_sample: list[InstanceConnection | TemplateSlot] = []

    def run(self, now_s: float, referenced: Callable[[str], bool]) -> None:
        """One round, about every second."""
        for revision in list(self._estate.held):
            if revision.closing:
                continue
            used = referenced(revision.spec.id)
            self._expire(revision, now_s, used)
            if revision.has_template and used:
                self._estate.refill_now(revision)
            missing = revision.least - len(revision.connections) - revision.starting
            if used and missing > 0 and now_s >= revision.retry_at_s:
                self._estate.grow(revision, missing)
            if used and revision.target is not None:
                self._estate.make_ahead(revision)
            if self.holds_nothing(revision):
                self._estate.held.discard(revision)
        for tenant in self._estate.tenants.all():
            if tenant.shortage(0) is not None:
                self._shrink(tenant)
        self._relieve()

    def holds_nothing(self, revision: RevisionPool) -> bool:
        """Whether there is nothing to look after until it is called, started or prepared again."""
        slot = self._estate.templates[revision]
        busy = revision.connections or revision.starting or revision.queue or revision.awake
        return not (busy or slot.template is not None or slot.building or revision.kept)

    def make_room(self, revision: RevisionPool, starting: int, now_s: float, *, ahead: bool) -> bool:
        """Whether one more instance may start: by count and by memory, evicting what is idle where that helps.

        `ahead`: nobody waits for it, so that nothing else has to make room.
        """
        limits = self._estate.limits
        if len(revision.connections) + revision.starting >= revision.spec.warm.max_instances:
            return False
        if self.shortage(revision, now_s, ahead=ahead) is not None:
            return False
        if self._count() + starting >= limits.max_instances:
            victims = [] if ahead else policy.evictions(1, 0, self._idle(but=revision))
            if not victims:
                return False
            self._evict(victims)
        expected = _mean_bytes(revision)
        over = self.used_bytes() + starting * expected + expected - limits.memory_bytes
        if over > 0:
            victims = [] if ahead else policy.evictions(over, 0, self._idle(but=revision))
            if not victims and self._count() + starting > 0:
                return False
            self._evict(victims)
        return True

    def shortage(self, revision: RevisionPool, now_s: float, *, ahead: bool = False) -> Shortage | None:
        """What the namespace has too little of for one more instance of this revision; None: there is room.

        Where it is full, its own idle instances make room; what they held is free once their processes are gone.
        """
        tenant, memory_mb = revision.tenant, revision.spec.memory_mb
        found = tenant.shortage(memory_mb)
        if found is not None and not ahead and now_s >= tenant.look_again_s:
            tenant.look_again_s = now_s + LOOK_AGAIN_S
            instances, memory_bytes = self._still_over(tenant, memory_mb)
            self._evict(policy.evictions_within(instances, memory_bytes, self._idle_of(tenant, but=revision)))
        return found

    def sample(self) -> None:
        """Look at a few instances and templates, all of them in turn."""
        if not self._to_sample:
            self._to_sample += [c for revision in self._estate.held for c in revision.connections.values()]
            slots = [self._estate.templates[revision] for revision in self._estate.held]
            self._to_sample += [slot for slot in slots if slot.template is not None]
        for _ in range(min(SAMPLES_PER_TICK, len(self._to_sample))):
            entry = self._to_sample.pop()
            if isinstance(entry, InstanceConnection):
                if entry.phase != Phase.LOST:
                    entry.used_bytes = entry.instance.memory_bytes()
                    entry.used_cpu_s = max(entry.used_cpu_s, entry.instance.cpu_s())
            elif entry.template is not None:
                entry.used_bytes = entry.template.memory_bytes()

    def used_bytes(self) -> int:
        """Memory of all instances and templates, as last measured."""
        return sum(
            self._estate.templates[revision].used_bytes
            + sum(connection.used_bytes for connection in revision.connections.values())
            for revision in self._estate.held
        )

    def states(self) -> list[WorkloadState]:
        found = []
        for revision in self._estate.held:
            slot = self._estate.templates[revision]
            if not revision.connections and slot.template is None and not revision.queue:
                continue
            connections = revision.connections.values()
            found.append(
                WorkloadState(
                    namespace=revision.spec.namespace,
                    name=revision.spec.name,
                    revision_id=revision.spec.id,
                    temperatures={
                        "hot": sum(1 for connection in connections if connection.calls or connection.stuck),
                        "warm": sum(1 for c in connections if c.phase == Phase.READY and not c.calls),
                        "spare": len(revision.spares),
                        "template": int(slot.template is not None),
                    },
                    memory_bytes=sum(connection.used_bytes for connection in connections) + slot.used_bytes,
                    cpu_s=revision.ended_cpu_s + sum(connection.used_cpu_s for connection in connections),
                    queued=len(revision.queue),
                    template_bytes=slot.used_bytes,
                    unfit=[] if slot.template is None else list(slot.template.info.unfit),
                    outdated=revision.outdated,
                )
            )
        return found

    # -- inside --------------------------------------------------------------------------------------------------------

    def _expire(self, revision: RevisionPool, now_s: float, referenced: bool) -> None:
        warm = revision.spec.warm
        for connection in list(revision.connections.values()):
            drained = connection.phase == Phase.DRAINING and not connection.calls
            if drained and now_s - connection.idle_since_s >= DRAIN_GRACE_S:
                connection.kill(None)
            elif connection.worn_out() and not connection.calls:
                revision.retire(connection, "replaced")
        target = revision.target if referenced else None
        keep_s = policy.keep_alive_s(warm.keep_alive_s, referenced=referenced)
        if target is not None and not target.instances:
            keep_s = policy.let_go_s(keep_s, now_s - revision.target_since_s)
        minimum = revision.kept if referenced else 0
        idle = sorted(
            (c for c in revision.connections.values() if c.phase == Phase.READY and not c.calls and not c.stuck),
            key=lambda connection: connection.idle_since_s,
        )
        over = policy.expired(
            [connection.idle_since_s for connection in idle],
            now_s,
            keep_s,
            keep_at_least=minimum,
            live=len(revision.connections),
        )
        for connection in idle[:over]:
            revision.retire(connection, "expired" if target is None else "let_go")
        slot = self._estate.templates[revision]
        template_keep_s = policy.keep_alive_s(warm.template_keep_alive_s, referenced=referenced)
        if target is not None and not target.template:
            template_keep_s = policy.let_go_s(template_keep_s, now_s - revision.target_since_s)
        lent = len(revision.connections) - len(revision.spares)
        unused = not revision.awake and now_s - revision.used_at_s >= template_keep_s
        wanted = minimum or (target is not None and target.template)
        if not lent and not revision.starting and not wanted and unused:
            self._close_template(revision, slot, "expired" if target is None else "let_go")

    def _close_template(self, revision: RevisionPool, slot: TemplateSlot, cause: ColdCause) -> None:
        if slot.template is None:
            return
        for spare in list(revision.spares):
            revision.retire(spare, cause)
        revision.has_template = False
        self._estate.spawn(slot.release(slot.template))

    def _relieve(self) -> None:
        used = self.used_bytes()
        if used > self._estate.limits.memory_bytes:
            self._evict(policy.evictions(used, self._estate.limits.memory_bytes, self._idle(but=None)))

    def _shrink(self, tenant: Tenant) -> None:
        """Its quota became less than it holds: idle instances go, as many as have to or there are; minimums, too."""
        for idle in (self._idle_of(tenant, but=None), self._idle_of(tenant, but=None, minimums=False)):
            instances, memory_bytes = self._still_over(tenant, 0)
            enough = policy.evictions_within(instances, memory_bytes, idle)
            self._evict(enough or [entry.key for entry in idle if instances > 0 or memory_bytes > 0])

    def _still_over(self, tenant: Tenant, memory_mb: int) -> tuple[int, int]:
        """`(instances, bytes)` that have to go before an instance of this size fits, beside those that are going."""
        instances, memory = tenant.over(memory_mb)
        for revision in self._of(tenant):
            going = sum(1 for connection in revision.connections.values() if connection.phase >= Phase.DRAINING)
            instances -= going
            memory -= going * revision.spec.memory_mb
        return instances, memory * MIB

    def _idle_of(self, tenant: Tenant, but: RevisionPool | None, *, minimums: bool = True) -> list[policy.Idle]:
        """The idle instances of a namespace, with the memory that they may take."""
        found = []
        for revision in self._of(tenant):
            if revision is but:
                continue
            replaced = but is not None and revision.spec.id == but.spec.id  # by its successor, with the same minimum
            minimum = revision.least if minimums and not replaced else 0
            allowed = len(revision.connections) - minimum
            idle = sorted(filter(_is_idle, revision.connections.values()), key=lambda each: each.idle_since_s)
            size = revision.spec.memory_mb * MIB
            found += [
                policy.Idle(id(each), each.idle_since_s, size, template=False) for each in idle[: max(0, allowed)]
            ]
        return found

    def _of(self, tenant: Tenant) -> list[RevisionPool]:
        return [revision for revision in self._estate.held if revision.tenant is tenant]

    def _count(self) -> int:
        return sum(len(revision.connections) for revision in self._estate.held)

    def _idle(self, but: RevisionPool | None) -> list[policy.Idle]:
        """Everything that may be evicted. Spares go with the idle instances, the templates last."""
        found = []
        for revision in self._estate.held:
            if revision is but:
                continue
            live = len(revision.connections)
            allowed = live - revision.least
            for connection in revision.connections.values():
                if allowed > 0 and _is_idle(connection):
                    allowed -= 1
                    found.append(
                        policy.Idle(id(connection), connection.idle_since_s, connection.used_bytes, template=False)
                    )
            slot = self._estate.templates[revision]
            if slot.template is not None and not live and not revision.starting and not revision.queue:
                found.append(policy.Idle(id(slot), revision.used_at_s, slot.used_bytes, template=True))
        return found

    def _evict(self, keys: list[int]) -> None:
        chosen = set(keys)
        for revision in self._estate.held:
            for connection in list(revision.connections.values()):
                if id(connection) in chosen:
                    connection.used_bytes = 0
                    revision.retire(connection, "evicted")
            slot = self._estate.templates[revision]
            if id(slot) in chosen:
                self._close_template(revision, slot, "evicted")


def _is_idle(connection: InstanceConnection) -> bool:
    return connection.phase in (Phase.SPARE, Phase.READY) and not connection.calls and not connection.stuck


def _mean_bytes(revision: RevisionPool) -> int:
    measured = [connection.used_bytes for connection in revision.connections.values() if connection.used_bytes]
    return sum(measured) // len(measured) if measured else NEW_INSTANCE_BYTES
