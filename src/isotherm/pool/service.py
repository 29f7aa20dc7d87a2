"""The pool of one host: all revisions on it, their starts, what is evicted, and the driver that comes and goes."""

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

from isotherm.base.clock import Clock
from isotherm.base.errors import IsothermError
from isotherm.base.ids import request_ids
from isotherm.invocations.recorder import Recorder
from isotherm.pool import policy
from isotherm.pool.ahead import Ahead
from isotherm.pool.connection import InstanceConnection
from isotherm.pool.egress import EgressBook
from isotherm.pool.model import Phase, PoolLimits
from isotherm.pool.outcome import Outcomes
from isotherm.pool.renewal import Renewals
from isotherm.pool.revision import RevisionPool
from isotherm.pool.starts import OWN_END_S, forks, start_instance, warm_up
from isotherm.pool.templates import DriverSlot, Materials, TemplateSlot
from isotherm.pool.tenants import Place, Tenants
from isotherm.pool.upkeep import Upkeep
from isotherm.sandbox.port import Driver, Template
from isotherm.telemetry.logging import get_logger
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.telemetry import WorkloadState
from isotherm.wire.warmth import Warmth

__all__ = ["Pool"]

BURIAL_WAIT_S = 2.0  # an instance whose stream is gone gets this long for the kernel to say how it ended
PLACE_WAIT_S = 5.0  # a deploy or a renewal waits this long for room within the quota; then it is tried again
PREPARE_WAIT_S = 30.0  # further instances that are asked for ahead of traffic; those under way go on
REFILL_DELAY_S = 0.02  # spares are forked after the first answer is out, not beside it


class Pool:
    """Owns every instance of this host. All methods are for the loop's thread."""

    def __init__(
        self,
        limits: PoolLimits,
        recorder: Recorder,
        materials: Materials,
        drivers: DriverSlot,
        clock: Clock,
        now: Callable[[], float] = monotonic,
        *,
        tenants: Tenants | None = None,
    ) -> None:
        self.limits = limits
        self.tenants = tenants or Tenants()
        self.revisions: dict[str, RevisionPool] = {}
        self.held: set[RevisionPool] = set()  # what holds anything, or is about to: few of very many
        self.templates: dict[RevisionPool, TemplateSlot] = {}
        self.drivers = drivers
        self._recorder = recorder
        self._materials = materials
        self._outcomes = Outcomes(recorder, limits, clock)
        self.egress = EgressBook(self._outcomes)
        self._now = now
        self._builds = asyncio.Semaphore(limits.max_builds)
        self._starts = asyncio.Semaphore(limits.max_starts)
        self._awake: set[RevisionPool] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._starting = 0
        self._provisioned: dict[str, int] = {}  # instances to keep, by revision
        self._by_workload: dict[str, set[RevisionPool]] = {}
        self._refills: set[RevisionPool] = set()
        self._upkeep = Upkeep(self)
        self._ahead = Ahead(self, now)
        self._renewals = Renewals(self, now)
        self._new_id = request_ids()
        self._log = get_logger("pool")

    # -- revisions ---------------------------------------------------------------------------------------------------

    def revision(self, spec: RevisionSpec) -> RevisionPool:
        """The pool of a revision, made at first use."""
        found = self.revisions.get(spec.id)
        if found is None or found.closing:
            found = self.make(spec)
            self.instate(found)
        return found

    def renew(self, spec: RevisionSpec, on_switched: Callable[[], None]) -> None:
        """Control says that the revision is as `spec` now. Where another one of it runs, a successor is made, and
        `on_switched` called once it takes the calls."""
        self._renewals.begin(spec, on_switched)

    def provision(self, revision_id: str, instances: int) -> None:
        """From now on so many instances of the revision are kept, beside what its configuration says; 0: none."""
        if instances:
            self._provisioned[revision_id] = instances
        else:
            self._provisioned.pop(revision_id, None)
        revision = self.revisions.get(revision_id)
        if revision is not None:
            revision.provisioned = instances
            self._hold(revision)

    def steer(self, warmth: Warmth, spec_of: Callable[[str], RevisionSpec | None]) -> None:
        """What control's policy wants of revisions. `spec_of` gives one that the pool has not met; None: it is gone."""
        named = {target.revision_id: target for target in warmth.targets}
        changed = self._ahead.take(warmth.targets, warmth.released, full=warmth.full, valid_s=warmth.valid_s)
        for revision_id in changed:
            target = named.get(revision_id)
            if target is not None and (target.instances or target.template) and revision_id not in self.revisions:
                spec = spec_of(revision_id)
                if spec is not None:
                    self.revision(spec)
            self._aim(revision_id)

    def under_way(self, workload_id: str) -> int:
        """Calls of all revisions of a workload that are not answered yet."""
        return sum(revision.under_way() for revision in self._by_workload.get(workload_id, ()))

    async def prepare_template(self, spec: RevisionSpec) -> Template:
        """Build the revision's template, whatever failed before. Raises what `Materials` and `Driver.prepare` raise."""
        if self.revision(spec).spec != spec:  # a secret has changed since it was prepared before
            await self._renewals.replace(spec)
        revision = self.revision(spec)
        self._hold(revision)
        revision.failures, revision.retry_at_s = 0, 0.0
        revision.used_at_s = self._now()
        return await self.templates[revision].get()

    async def prepare_instances(self, spec: RevisionSpec, count: int) -> None:
        """Have `count` instances that are started and warmed: one in any case, more as far as quota, limits and memory
        let it.

        Raises for the one what `start_instance` raises, and `TooManyRequests` where the quota of its namespace has no
        room for it.
        """
        revision = self.revision(spec)
        if not _up(revision):
            await self.start_one(revision)
        until_s = self._now() + PREPARE_WAIT_S
        await self._poll(until_s, lambda: not revision.starting)  # what is being started counts twice for the limit
        self.grow(revision, count - _up(revision) - revision.starting)
        await self._poll(until_s, lambda: not revision.starting)

    async def forget(self, revision_id: str) -> None:
        """Stop a revision: it takes no new calls, those in it run to their ends, then all of it is ended."""
        revision = self.revisions.get(revision_id)
        if revision is None:
            return
        revision.closing = True
        revision.refuse_queue(self._now())
        await self.end(revision)

    def states(self) -> list[WorkloadState]:
        """What is held of each revision that has anything."""
        return self._upkeep.states()

    # -- the driver ----------------------------------------------------------------------------------------------------

    def attach(self, driver: Driver) -> None:
        """A driver is there: what waits for a template goes on."""
        self.drivers.put(driver)

    def detach(self) -> Driver | None:
        """The driver is gone; its templates and instances report their ends themselves."""
        return self.drivers.take()

    # -- time ----------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Every 20 ms: deadlines, waits, growth."""
        now_s = self._now()
        self._upkeep.sample()
        for revision in list(self._awake):
            if not revision.tick(now_s):
                revision.awake = False
                self._awake.discard(revision)

    def maintain(self, referenced: Callable[[str], bool]) -> None:
        """Every second: keep-alives, spares, minimum instances, memory. `referenced`: does an alias point to it?"""
        for revision_id in self._ahead.lapse(self._now()):
            self._aim(revision_id)
        self._upkeep.run(self._now(), referenced)

    async def drain(self, timeout_s: float) -> None:
        """Wait for running calls, at most `timeout_s`; then end everything."""
        await self._poll(
            self._now() + timeout_s,
            lambda: (
                not any(
                    revision.queue or any(connection.calls for connection in revision.connections.values())
                    for revision in self.templates
                )
            ),
        )
        await self.close()

    async def close(self) -> None:
        """End all templates and instances."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=BURIAL_WAIT_S)
        for revision in self.templates:
            revision.closing = True
            revision.refuse_queue(self._now())
        await asyncio.gather(*(slot.close() for slot in self.templates.values()), return_exceptions=True)

    # -- what revisions ask of their host ------------------------------------------------------------------------------

    def grow(self, revision: RevisionPool, count: int, *, ahead: bool = False) -> int:
        begun = 0
        while begun < count and self._upkeep.make_room(revision, self._starting, self._now(), ahead=ahead):
            self._begin_start(revision)
            begun += 1
        return begun

    def refill(self, revision: RevisionPool) -> None:
        if not self._refills:
            asyncio.get_running_loop().call_later(REFILL_DELAY_S, self._refill_all)
        self._refills.add(revision)

    def make_ahead(self, revision: RevisionPool) -> None:
        self._ahead.want(revision)

    def calls_wait(self) -> bool:
        return any(revision.queue for revision in self._awake)

    def room_ahead(self, revision: RevisionPool) -> bool:
        return self._upkeep.make_room(revision, self._starting, self._now(), ahead=True)

    async def start_ahead(self, revision: RevisionPool) -> None:
        self._count_start(revision, 1)
        try:
            await self._start(revision, Place(revision.tenant, revision.spec.memory_mb))
        finally:
            self._count_start(revision, -1)

    def wake(self, revision: RevisionPool) -> None:
        if not revision.awake:
            revision.awake = True
            self._awake.add(revision)
            self._hold(revision)

    def lost(self, revision: RevisionPool, connection: InstanceConnection) -> None:
        self.spawn(self._bury(revision, connection))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[Any]:
        """Run something that the pool owns and ends with it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- what renewals ask of it ---------------------------------------------------------------------------------------

    def make(self, spec: RevisionSpec) -> RevisionPool:
        """A pool for a revision, not yet the one that calls find."""
        stats = self._recorder.stats(spec.namespace, spec.name, spec.id)
        tenant = self.tenants.of(spec.namespace)
        made = RevisionPool(spec, self, tenant, self.limits, stats, self._outcomes, self._now)
        made.provisioned = self._provisioned.get(spec.id, 0)
        made.aim(self._ahead.target_of(spec.id), self._now())
        self._by_workload.setdefault(spec.workload_id, set()).add(made)
        self.templates[made] = TemplateSlot(
            spec,
            self._materials,
            self.drivers,
            self._builds,
            lambda report: self.egress.take(made, spec, report),
            lambda reason: self._template_gone(made, reason),
        )
        return made

    def instate(self, revision: RevisionPool) -> None:
        """From now on it is the one that calls find."""
        self.revisions[revision.spec.id] = revision
        self.held.add(revision)

    def holds_nothing(self, revision: RevisionPool) -> bool:
        return self._upkeep.holds_nothing(revision)

    async def start_one(self, revision: RevisionPool) -> None:
        """One instance, warmed and parked.

        Raises what its template, or `start_instance`, fails with, and `TooManyRequests` where the quota has no room.
        """
        self._count_start(revision, 1)  # so that no upkeep takes its template away meanwhile
        try:
            await self.templates[revision].get()  # it may take long, and needs no room in the quota
            await self._start(revision, await self._place(revision))
        finally:
            self._count_start(revision, -1)

    async def end(self, revision: RevisionPool) -> None:
        """What closes: wait for the calls in it, as long as they may run; then end all of it."""

        def quiet() -> bool:
            revision.end_idle()
            return not any(connection.calls for connection in revision.connections.values())

        await self._poll(self._now() + revision.spec.timeout_s + BURIAL_WAIT_S, quiet)
        slot = self.templates.get(revision)
        if slot is None:
            return  # it was asked for twice
        await slot.close()
        self._awake.discard(revision)
        self.held.discard(revision)
        self.templates.pop(revision, None)
        mine = self._by_workload.get(revision.spec.workload_id, set())
        mine.discard(revision)
        if not mine:
            self._by_workload.pop(revision.spec.workload_id, None)
        if self.revisions.get(revision.spec.id) is revision:  # it may have been prepared anew meanwhile
            del self.revisions[revision.spec.id]
            self._recorder.retire(revision.spec.id)

    def _aim(self, revision_id: str) -> None:
        revision = self.revisions.get(revision_id)
        if revision is not None:
            revision.aim(self._ahead.target_of(revision_id), self._now())
            self._hold(revision)
            self._ahead.want(revision)

    def _hold(self, revision: RevisionPool) -> None:
        """From now on upkeep looks at it, unless it was forgotten meanwhile."""
        if self.revisions.get(revision.spec.id) is revision:
            self.held.add(revision)

    async def _poll(self, until_s: float, quiet: Callable[[], bool]) -> None:
        while self._now() < until_s and not quiet():  # noqa: ASYNC110 -- spans all calls; an event per call would cost
            await asyncio.sleep(0.02)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _begin_start(self, revision: RevisionPool) -> None:
        self._count_start(revision, 1)
        self.spawn(self._start_counted(revision, Place(revision.tenant, revision.spec.memory_mb)))

    async def _start_counted(self, revision: RevisionPool, place: Place) -> None:
        try:
            await self._start(revision, place)
        except IsothermError as error:
            self._log.warning(
                "start failed", namespace=revision.spec.namespace, name=revision.spec.name, code=error.code,
                detail=error.message,
            )  # fmt: skip
            revision.start_failed(error, self._now())
        finally:
            self._count_start(revision, -1)

    def _count_start(self, revision: RevisionPool, change: int) -> None:
        revision.starting += change
        self._starting += change
        self._hold(revision)

    async def _place(self, revision: RevisionPool) -> Place:
        """Room for an instance that nobody waits for in the queue. Raises `TooManyRequests`."""
        until_s = self._now() + PLACE_WAIT_S
        while (shortage := self._upkeep.shortage(revision, self._now())) is not None:
            if self._now() >= until_s:
                name = f"{revision.spec.namespace}/{revision.spec.name}"
                why = f"no instance of revision {revision.spec.number} of {name} can be started"
                raise revision.tenant.refusal(shortage, why, PLACE_WAIT_S)
            await asyncio.sleep(0.02)
        return Place(revision.tenant, revision.spec.memory_mb)

    async def _start(self, revision: RevisionPool, place: Place) -> None:
        try:
            await self._start_in(revision, place)
        finally:
            if not place.occupied:
                place.give_back()

    async def _start_in(self, revision: RevisionPool, place: Place) -> None:
        template = await self.templates[revision].get()
        revision.has_template = True
        # An import is the tenant's code and may take a minute: it must not stand before the forks of others.
        async with self._starts if forks(revision.spec, template) else self._builds:
            with revision.hiding():
                connection = await start_instance(
                    revision, template, place, max_body_bytes=self.limits.max_body_bytes, now=self._now
                )
        if not revision.queue:
            await warm_up(revision, connection, self._new_id(), self._now)
        if connection.phase == Phase.STARTING and not revision.closing:
            revision.admit(connection, self._now())
            self.wake(revision)
            self.refill(revision)

    def _refill_all(self) -> None:
        revisions, self._refills = self._refills, set()
        busy = self._builds.locked() or self._starts.locked()
        for revision in revisions:
            if busy:
                self.refill(revision)  # calls wait for what is under way; spares can wait
            else:
                self._refill(revision)

    def _refill(self, revision: RevisionPool) -> None:
        if revision.closing or self._now() < revision.retry_at_s or not revision.has_template:
            return
        wanted = policy.spares_wanted(
            spare=revision.spec.warm.spare,
            parked=len(revision.spares),
            starting=revision.starting,
            live=len(revision.connections),
            limit=revision.spec.warm.max_instances,
        )
        if wanted:
            self.grow(revision, wanted, ahead=True)

    def refill_now(self, revision: RevisionPool) -> None:
        """Park spares where some are missing."""
        if not (self._builds.locked() or self._starts.locked()):
            self._refill(revision)

    async def _bury(self, revision: RevisionPool, connection: InstanceConnection) -> None:
        """A lost stream: end what is left of the instance, learn how it ended, answer its calls."""
        exited = connection.instance.exited
        await asyncio.wait([exited], timeout=OWN_END_S)
        if not exited.done():
            connection.instance.kill()
            await asyncio.wait([exited], timeout=BURIAL_WAIT_S)
        revision.buried(connection, self._now())
        self.wake(revision)

    def _template_gone(self, revision: RevisionPool, reason: str) -> None:
        revision.has_template = False
        for connection in revision.connections.values():
            connection.kill_reason = connection.kill_reason or f"the sandbox of the revision is gone: {reason}"
        if not revision.closing and revision.connections:
            revision.loss = revision.loss or "replaced"
            self._log.warning(
                "template gone", namespace=revision.spec.namespace, name=revision.spec.name, reason=reason
            )


def _up(revision: RevisionPool) -> int:
    """Instances that are idle or serve."""
    return sum(1 for each in revision.connections.values() if each.phase in (Phase.SPARE, Phase.READY))
