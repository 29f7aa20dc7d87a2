"""One revision on this host: its instances, its queue, and who gets which. No waiting here: all of it is callbacks.

`submit` and `answered` are the hot path and are measured; what is rare stands in `outcome.py` and `starts.py`.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import random
from time import monotonic
from typing import Protocol

from isotherm.base.errors import InvalidResponse, IsothermError, TooManyRequests, Unavailable
from isotherm.invocations.aggregates import RevisionStats
from isotherm.pool import policy
from isotherm.pool.call import WARM, Call, UploadCall
from isotherm.pool.connection import InstanceConnection
from isotherm.pool.deadlines import MAX_PAUSE_S, check_deadlines
from isotherm.pool.faults import error_of
from isotherm.pool.masking import mask_of
from isotherm.pool.model import Phase, PoolLimits
from isotherm.pool.outcome import Outcomes
from isotherm.pool.stream import AnswerStream
from isotherm.pool.templates import TemplateSlot
from isotherm.pool.tenants import Tenant
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.telemetry import ColdCause
from isotherm.wire.warmth import Target

__all__ = ["Host", "RevisionPool"]

READY = Phase.READY
DRAIN_GRACE_S = 2.0  # an instance that was told to drain and has no calls left gets this long to exit by itself
PATIENCE = 3  # starts that the platform itself could not do, before those who wait are told
SCALE_INTERVAL_S = 0.002  # how often a growing queue asks for more instances


class Host(Protocol):
    """The pool, as far as a revision needs it."""

    def grow(self, revision: "RevisionPool", count: int) -> int:
        """Begin up to `count` starts; returns how many there was room for."""

    def refill(self, revision: "RevisionPool") -> None:
        """Park spares again soon, off the path of the call that took one."""

    def wake(self, revision: "RevisionPool") -> None:
        """The revision has something that the tick must look after."""

    def lost(self, revision: "RevisionPool", connection: InstanceConnection) -> None:
        """The stream of an instance is gone; `revision.buried` is called once it is known how it ended."""


class RevisionPool:
    """The instances and the queue of one revision."""

    def __init__(
        self,
        spec: RevisionSpec,
        host: Host,
        tenant: Tenant,
        limits: PoolLimits,
        stats: RevisionStats,
        outcomes: Outcomes,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self.spec = spec
        self.tenant = tenant
        self.target: Target | None = None  # what control's policy wants of it; None: its keep-alives decide
        self.target_since_s = 0.0
        self.provisioned = 0  # instances that are kept because a version or alias of the function asks for them
        self.stats = stats
        self.connections: dict[str, InstanceConnection] = {}
        self.free: list[InstanceConnection] = []  # those with room; the last was used last
        self.spares: list[InstanceConnection] = []
        self.queue: deque[Call] = deque()
        self.starting = 0
        self.has_template = False
        self.loss: ColdCause | None = None  # how the last of its instances went
        self.failures = 0  # starts that failed in a row
        self.retry_at_s = 0.0
        self.used_at_s = now()
        self.ended_cpu_s = 0.0  # of instances that are gone
        self.closing = False
        self.successor: RevisionPool | None = None  # who takes the calls now, where its secrets have changed
        self.outdated: str | None = None  # why it has no successor, though its secrets have changed
        self.mask = mask_of(spec)
        self.awake = False
        self.outcomes = outcomes
        self._host = host
        self._limits = limits
        self._now = now
        self._next_scale_s = 0.0
        self._slow_ms = limits.slow_ms
        self._sample_rate = 1.0 if spec.record_events == "all" else limits.sample_rate

    @property
    def least(self) -> int:
        """Instances that are kept even when idle."""
        return max(self.spec.warm.min_instances, self.provisioned)

    @property
    def kept(self) -> int:
        """Instances that are not let go for having been idle."""
        return self.least if self.target is None else max(self.least, self.target.instances)

    def aim(self, target: Target | None, now_s: float) -> None:
        """From now on control's policy wants that of it; None: its keep-alives decide."""
        self.target, self.target_since_s = target, now_s

    def lacking(self) -> int:
        """Instances that its target wants ready and that are neither there nor on their way."""
        return self._short() - self.starting

    def lacks(self, slot: TemplateSlot) -> bool:
        """Whether its target wants anything that is not there."""
        if self.target is None or self.closing:
            return False
        return (
            self.lacking() > 0
            or (bool(self.spares) and self._short() > 0)
            or (self.target.template and slot.template is None and not slot.building)
        )

    def promote(self) -> bool:
        """Make a parked spare ready for calls, as one that is warm; whether there was one, and it was needed."""
        if not self.spares or self._short() <= 0:
            return False
        connection = self.spares.pop()
        connection.phase = READY
        connection.idle_since_s = self._now()
        self.list(connection)
        return True

    def under_way(self) -> int:
        """Calls that it has taken and not answered yet."""
        return len(self.queue) + sum(len(connection.calls) for connection in self.connections.values())

    # -- calls in ----------------------------------------------------------------------------------------------------

    def submit(self, call: Call, now_s: float) -> None:
        """Lend an instance to the call, or queue it, or turn it away. Its sink hears of it."""
        free = self.free
        if free:
            connection = free[-1]
            index = -1
            if connection.calls and len(free) > 1 and len(free[-2].calls) < len(connection.calls):
                index = -2  # of the two used last, the less busy one
                connection = free[-2]
            if len(connection.calls) + 1 >= connection.capacity:  # before it is sent: a stream that is full unlists it
                del free[index]
                connection.listed = False
            connection.send(call, now_s)
            if not self.awake:
                self.used_at_s = now_s
                self._host.wake(self)
            return
        self._wait(call, now_s)

    def abandon(self, call: Call) -> None:
        """The caller went away. A call that was not sent is forgotten, one that was sent is cancelled."""
        call.sink = None
        if call.carrier is not None:
            call.carrier.cancel(call)
        else:
            try:
                self.queue.remove(call)
            except ValueError:
                if self.successor is not None:
                    self.successor.abandon(call)

    def _wait(self, call: Call, now_s: float) -> None:
        """No instance has room: a spare, else the queue."""
        if self.successor is not None:
            self.successor.submit(call, now_s)
            return
        if not self.awake:
            self._host.wake(self)
            self.used_at_s = now_s
        if self.closing:
            self.fail(call, _ending(), now_s)
            return
        if self.spares:
            connection = self.spares.pop()
            call.cold_hint = "spare"
            connection.phase = READY
            self.lend(connection, call, now_s)
            self.list(connection)
            self._host.refill(self)
            return
        if len(self.queue) >= max(self.spec.queue_limit, self._startable()):
            self.fail(call, self.turned_away("its queue is full"), now_s)
            return
        call.cold_hint = self._cold_hint()
        self.queue.append(call)
        if now_s >= self._next_scale_s:
            self.scale(now_s)

    def _startable(self) -> int:
        """Calls that instances could take which may yet be started: a call that wakes a function has to wait for it."""
        return (self.spec.warm.max_instances - len(self.connections)) * self.spec.concurrency

    def lend(self, connection: InstanceConnection, call: Call, now_s: float) -> None:
        """Send a call that waited."""
        if connection.served == 0 and not connection.calls:
            call.cold_cause = call.cold_hint
        connection.send(call, now_s)
        if isinstance(call, UploadCall):
            call.feeder.opened()

    def serve_queue(self, connection: InstanceConnection, now_s: float) -> None:
        """Give the instance as many of the waiting calls as it has room for; then it stands with the free ones."""
        queue = self.queue
        while queue:
            if not connection.room():
                return
            call = queue.popleft()
            if call.sink is not None:
                self.lend(connection, call, now_s)
        self.list(connection)

    def refuse_queue(self, now_s: float) -> None:
        """Turn away all who wait: the revision is being removed."""
        while self.queue:
            self.fail(self.queue.popleft(), _ending(), now_s)

    def scale(self, now_s: float) -> None:
        """Start instances for those who wait, as many as the policy says and the host has room for."""
        self._next_scale_s = now_s + SCALE_INTERVAL_S
        if not self.queue or now_s < self.retry_at_s or self.closing:
            return
        mean_run_s = self.mean_run_s()
        wanted = policy.starts_wanted(
            queued=len(self.queue),
            starting=self.starting,
            live=len(self.connections),
            limit=self.spec.warm.max_instances,
            concurrency=self.spec.concurrency,
            mean_run_s=mean_run_s,
            held=0 if mean_run_s is None else self._held(now_s - policy.patience_s(mean_run_s)),
        )
        if wanted:
            self._host.grow(self, wanted)

    # -- answers -----------------------------------------------------------------------------------------------------

    def answered(
        self, connection: InstanceConnection, call: Call, flags: int, head: bytes, body: bytes, now_s: float
    ) -> None:
        connection.served += 1
        if self.queue:
            self.serve_queue(connection, now_s)
        elif not connection.listed:
            self.list(connection)
        if not connection.calls:
            connection.idle_since_s = now_s
        sink = call.sink
        if sink is None:
            self.outcomes.left(self.stats, call, now_s)
            return
        call.sink = None
        try:
            status = sink.answered(call, flags, head, body, now_s)
        except InvalidResponse as error:
            connection.answered_twice(call)
            self.outcomes.failed(self.spec, self.stats, call, sink.failed(call, error, now_s), error, now_s)
            return
        if call.source is WARM:
            return
        total_ms = (now_s - call.arrived_s) * 1000.0
        sampled = random() < self._sample_rate  # noqa: S311 -- chooses a sample, no secret
        if total_ms < self._slow_ms and call.cold_cause is None and not sampled:
            run_ms = (now_s - call.sent_s) * 1000.0
            self.stats.ok(total_ms, run_ms, call.request_bytes, len(body))
            if total_ms != run_ms:
                self.stats.window.queue_ms += total_ms - run_ms
        else:
            self.outcomes.answered(self.spec, self.stats, call, status, len(body), now_s, sampled)

    def began(
        self,
        connection: InstanceConnection,
        call: Call,
        answer: AnswerStream,
        flags: int,
        head: bytes,
        body: bytes,
        now_s: float,
    ) -> None:
        """An answer in pieces has begun. Where nobody waits for them the instance is told, perhaps again."""
        try:
            sink = answer.begin(call, flags, head, now_s)
        except InvalidResponse as error:
            self._break_off(connection, call, error, now_s)
            return
        if sink is None:
            connection.cancel(call)
        elif body:
            self.piece(connection, call, answer, body, now_s)

    def piece(
        self, connection: InstanceConnection, call: Call, answer: AnswerStream, body: bytes, now_s: float
    ) -> None:
        sink = answer.sink
        if sink is None or call.sink is None:
            return
        limit = self._limits.max_stream_bytes
        try:
            if answer.total_bytes > limit:
                raise InvalidResponse(f"the function's answer is over the limit of {limit} bytes", limit_bytes=limit)
            sink.piece(body)
        except InvalidResponse as error:
            self._break_off(connection, call, error, now_s)

    def ended(
        self, connection: InstanceConnection, call: Call, answer: AnswerStream, head: bytes, now_s: float
    ) -> None:
        """The last of an answer in pieces; `head` says why, where it broke off."""
        self._returned(connection, now_s)
        sink = answer.sink
        if sink is None or call.sink is None:
            self.outcomes.left(self.stats, call, now_s, answer.total_bytes)
            return
        if head:
            self.fail(call, self._told(head), now_s)
            return
        try:
            status = sink.ended(call, now_s)
        except InvalidResponse as error:
            self.fail(call, error, now_s)
            return
        call.sink = None
        if call.source is not WARM:
            sampled = random() < self._sample_rate  # noqa: S311 -- as above
            self.outcomes.answered(self.spec, self.stats, call, status, answer.total_bytes, now_s, sampled)

    def _told(self, head: bytes) -> IsothermError:
        """The error that an instance tells of, without the values of secrets."""
        error = error_of(head)
        if self.mask is not None:
            self.mask.error(error)
        return error

    def _break_off(self, connection: InstanceConnection, call: Call, error: InvalidResponse, now_s: float) -> None:
        """An answer in pieces that may not go on: its call fails, its instance stops it."""
        self.fail(call, error, now_s)
        connection.cancel(call)

    def errored(self, connection: InstanceConnection, call: Call | None, head: bytes, now_s: float) -> None:
        error = self._told(head)
        if call is None:
            connection.last_error = error
            if not connection.hello.done():
                connection.hello.set_exception(error)
            return
        self._returned(connection, now_s)
        self.fail(call, error, now_s)

    def spoiled(self, connection: InstanceConnection, call: Call, error: InvalidResponse, now_s: float) -> None:
        self._returned(connection, now_s)
        self.fail(call, error, now_s)

    def logged(self, connection: InstanceConnection, call: Call | None, flags: int, head: bytes, body: bytes) -> None:
        if self.mask is not None:
            body = self.mask.bytes(body)
        self.outcomes.logged(self.spec, connection.id, call, flags, head, body)

    @contextmanager
    def hiding(self) -> Iterator[None]:
        """Errors that leave it have no secret in them."""
        try:
            yield
        except IsothermError as error:
            if self.mask is not None:
                self.mask.error(error)
            raise

    def printed(self, instance_id: str, line: str) -> None:
        """A line of an instance's raw output."""
        text = line if self.mask is None else self.mask.text(line)
        self.outcomes.line(self.spec, instance_id, text, stream="stdout")

    def freed(self, connection: InstanceConnection, now_s: float) -> None:
        if not connection.calls:
            connection.idle_since_s = now_s
        self.serve_queue(connection, now_s)

    def blocked(self, connection: InstanceConnection) -> None:
        self.unlist(connection)

    def disconnected(self, connection: InstanceConnection) -> None:
        self.unlist(connection)
        if connection in self.spares:
            self.spares.remove(connection)
        self._host.lost(self, connection)

    def buried(self, connection: InstanceConnection, now_s: float) -> None:
        """It is known how a lost instance ended: answer the calls that were in it, make room for another."""
        self.connections.pop(connection.id, None)
        connection.place.give_back()
        (self.successor or self).ended_cpu_s += connection.used_cpu_s
        unused = connection.served == 0 and not connection.calls and not connection.stuck and connection.start_ms > 0
        if connection.calls:
            error = connection.last_error or policy.death_error(
                connection.exit, connection.kill_reason, self.spec.memory_mb
            )
            for call in list(connection.calls.values()):
                self.fail(call, error, now_s)
            connection.calls.clear()
        asked = connection.exit is not None and connection.exit.asked
        if not asked:
            self.loss = "replaced"
            if unused:
                self.start_failed(None, now_s)
        if not self.closing:
            self.scale(now_s)

    # -- free instances ------------------------------------------------------------------------------------------------

    def list(self, connection: InstanceConnection) -> None:
        """Put it with the free ones, where it has room."""
        if not connection.listed and connection.room():
            connection.listed = True
            self.free.append(connection)

    def unlist(self, connection: InstanceConnection) -> None:
        """It gets no new calls for now."""
        if connection.listed:
            connection.listed = False
            self.free.remove(connection)

    def admit(self, connection: InstanceConnection, now_s: float) -> None:
        """A started instance: for those who wait, else a spare, else idle."""
        self.failures = 0
        self.loss = None
        connection.idle_since_s = now_s
        if not self.queue and len(self.spares) < self.spec.warm.spare and self._short() <= 0:
            connection.phase = Phase.SPARE
            self.spares.append(connection)
            return
        connection.phase = READY
        self.serve_queue(connection, now_s)

    def start_failed(self, error: IsothermError | None, now_s: float) -> None:
        """A start failed, or an instance died before its first call: leave the revision alone for a while."""
        self.failures += 1
        self.retry_at_s = now_s + policy.retry_delay_s(self.failures)
        if error is None or self._alive():
            return
        if isinstance(error, Unavailable) and self.failures < PATIENCE:
            return  # it may pass; those who wait do so within their limit
        while self.queue:
            self.fail(self.queue.popleft(), error, now_s)

    def retire(self, connection: InstanceConnection, cause: ColdCause) -> None:
        """End an idle instance; a call that comes later is told the cause."""
        self.unlist(connection)
        if connection in self.spares:
            self.spares.remove(connection)
        connection.kill(None)
        if not self._alive():
            self.loss = cause

    # -- a successor ---------------------------------------------------------------------------------------------------

    def hand_over(self, successor: "RevisionPool", now_s: float) -> None:
        """From now on `successor` takes the calls, those that wait here included; those that run here run to their
        ends."""
        self.closing = True
        self.successor = successor
        successor.ended_cpu_s += self.ended_cpu_s
        self.ended_cpu_s = 0.0
        for connection in self.connections.values():
            self.unlist(connection)
            if Phase.STARTING < connection.phase < Phase.DRAINING:
                connection.phase = Phase.DRAINING
        self.spares.clear()
        self.end_idle()
        while self.queue:
            call = self.queue.popleft()
            if call.sink is not None:
                successor.submit(call, now_s)

    def end_idle(self) -> None:
        """End what drains and has no calls left."""
        for connection in list(self.connections.values()):
            if connection.phase == Phase.DRAINING and not connection.calls and not connection.stuck:
                connection.kill(None)

    # -- time ----------------------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> bool:
        """Deadlines of calls and waits. False: there is nothing to look after until `wake`."""
        queue = self.queue
        while queue and now_s - queue[0].arrived_s >= self.spec.queue_wait_s and not self._paused(now_s):
            self.fail(queue.popleft(), self.turned_away(f"it waited {self.spec.queue_wait_s:g} s in the queue"), now_s)
        if queue:
            self.scale(now_s)
        active = bool(queue or self.starting)
        for connection in list(self.connections.values()):
            if connection.calls or connection.stuck:
                active = True
                check_deadlines(self, connection, now_s)
        if active:
            self.used_at_s = now_s
        return active

    def debugged(self) -> InstanceConnection | None:
        """The instance to attach a debugger to; None where none is ready."""
        ready = (each for each in self.connections.values() if each.phase in (Phase.READY, Phase.SPARE))
        return next(ready, None)

    def _paused(self, now_s: float) -> bool:
        """Whether those who wait do so for somebody at a breakpoint."""
        return self.spec.debug and any(0.0 < each.paused_s(now_s) < MAX_PAUSE_S for each in self.connections.values())

    def _held(self, since_s: float) -> int:
        """Instances that are busy with a call since before `since_s`, or are stuck."""
        return sum(
            1
            for connection in self.connections.values()
            if connection.stuck or (connection.calls and next(iter(connection.calls.values())).sent_s < since_s)
        )

    # -- small things --------------------------------------------------------------------------------------------------

    def fail(self, call: Call, error: IsothermError, now_s: float) -> None:
        """Answer a call with an error and count it; a caller that has gone hears nothing."""
        sink = call.sink
        if sink is None:
            self.outcomes.left(self.stats, call, now_s)
            return
        call.sink = None
        status = sink.failed(call, error, now_s)
        if call.source is not WARM:
            self.outcomes.failed(self.spec, self.stats, call, status, error, now_s)

    def mean_run_s(self) -> float | None:
        """How long a call runs, of late; None where too few have run to say."""
        window = self.stats.window if self.stats.window.count >= 20 else self.stats.total
        return window.run_ms / window.count / 1000.0 if window.count >= 20 else None

    def _short(self) -> int:
        """Instances that its target wants beyond those that are ready."""
        if self.target is None:
            return 0
        ready = sum(1 for each in self.connections.values() if each.phase in (READY, Phase.STUCK))
        return min(self.target.instances, self.spec.warm.max_instances) - ready

    def _alive(self) -> bool:
        """Whether an instance is there that takes calls, or soon will."""
        return any(connection.phase <= Phase.STUCK for connection in self.connections.values())

    def _returned(self, connection: InstanceConnection, now_s: float) -> None:
        connection.served += 1
        self.freed(connection, now_s)

    def turned_away(self, why: str) -> TooManyRequests:
        slots = max(1, len(self.connections)) * self.spec.concurrency
        message = f"{self.spec.namespace}/{self.spec.name} has no room for another call: {why}"
        retry_after_s = policy.retry_after_s(len(self.queue), slots, self.mean_run_s())
        shortage = self.tenant.shortage(self.spec.memory_mb)
        if shortage is None or len(self.connections) >= self.spec.warm.max_instances:
            return TooManyRequests(message, retry_after_s=retry_after_s)
        return self.tenant.refusal(shortage, message, retry_after_s)

    def _cold_hint(self) -> ColdCause:
        for connection in self.connections.values():  # on the path of every call that waits, so no generator
            if connection.phase <= Phase.STUCK:
                return "scale_out"
        if self.loss is not None:
            return self.loss
        return "template" if self.has_template else "first"


def _ending() -> Unavailable:
    return Unavailable("the revision is ending on this host; try again", retry_after_s=1.0)
