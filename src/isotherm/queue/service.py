"""The queue of one host: takes calls once they are durable, delivers them at least once, settles what came of them."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from random import random
from time import monotonic

import msgspec

from isotherm.base.clock import Clock, ForwardClock
from isotherm.base.errors import InvalidResponse, IsothermError, TooManyRequests, Unavailable
from isotherm.base.ids import request_ids
from isotherm.pool.call import Call
from isotherm.pool.revision import RevisionPool
from isotherm.queue import policy
from isotherm.queue.delivery import Delivery
from isotherm.queue.followup import failure, follow_up
from isotherm.queue.lane import Lane
from isotherm.queue.model import AsyncCall, CallState, News, Outcome, QueueLimits, Waiting
from isotherm.queue.port import Invoker, QueueStore
from isotherm.queue.writer import Work, Writer
from isotherm.telemetry.logging import get_logger
from isotherm.wire.desired import AsyncSpec, RevisionSpec

__all__ = ["Accepted", "Queue", "json_value"]

Accepted = Callable[[IsothermError | None], None]  # None: the call is durable
LOOK_EVERY = 5  # ticks
SWEEP_EVERY_S = 30.0
SWEEP_AT_ONCE = 1000
REWRITE_S = 0.5  # what could not be written is written again this often
MEASURE_EVERY_S = 1.0
ADOPT_AT_ONCE = 500  # calls of hosts that are gone
LOCKED_MS = 50  # calls that are due, but in another host's hands for a moment, are looked for again after that
json_value = msgspec.json.Decoder(msgspec.Raw)  # checks, and makes nothing


class Queue:
    """Made and used on the host's loop; the store is for the writer's thread."""

    def __init__(
        self,
        store: QueueStore,
        invoker: Invoker,
        limits: QueueLimits,
        clock: Clock,
        region: str,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self.limits = limits
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.running: set[str] = set()
        self.held = False  # deliveries are held back: it is not known yet what there is to call
        self.accepted = 0
        self.adopted = 0  # calls that were taken over from hosts that are gone
        self.retried = 0
        self.over = {"succeeded": 0, "dead": 0}
        self.used_bytes = 0
        self.writer = Writer(store)
        self.clock = clock  # until it is open; then one that never runs back
        self.store = store
        self._invoker = invoker
        self._region = region
        self._now = now
        self._new_id = request_ids()
        self._unwritten: list[tuple[Work, Callable[[], None]]] = []
        self._open = False
        self._stopping = False
        self._ticks = 0
        self._measured_s = self._swept_s = self._rewritten_s = 0.0
        self._log = get_logger("queue")

    # -- start and stop ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store; what waits in it is delivered from now on. Raises `Unavailable`."""
        waiting = await asyncio.to_thread(self.store.open)
        latest_ms = await asyncio.to_thread(self.store.latest_ms)
        paused = await asyncio.to_thread(self.store.paused)
        self.used_bytes = await asyncio.to_thread(self.store.used_bytes)
        self.clock = ForwardClock(self.store.clock(self.clock), latest_ms)
        self._hold_back(set(paused))
        self._take_over(waiting)
        self.writer.start()
        self._open = True

    def stop(self) -> None:
        """Take nothing and begin nothing from now on; what runs may end."""
        self._stopping = True

    async def close(self) -> None:
        """Write down what has ended. What has not is delivered again at the next start."""
        self.stop()
        self._write_again()
        if self._open:
            await self.writer.close()
            await asyncio.to_thread(self.store.close)
        self._open = False

    # -- calls in ------------------------------------------------------------------------------------------------------

    def accept(self, call: AsyncCall, done: Accepted) -> None:
        """Keep the call; `done` is told once it is durable, or why not. Raises `TooManyRequests`, `Unavailable`."""
        self.check_room()
        call.accepted_at_ms = call.due_at_ms = self.clock.time_ms()
        lane = self.lane(call.namespace, call.name)
        claimed = lane.takes(call.due_at_ms, self.limits.max_held)
        lane.incoming += claimed

        def written(_: object, error: IsothermError | None) -> None:
            lane.incoming -= claimed
            if error is None:
                self.accepted += 1
                if claimed:
                    lane.ready.append(call)
                    self.pump(lane)
                else:
                    self.placed(call)
            done(error)  # last: whatever becomes of the client, the call is made

        self.writer.submit(lambda store: store.insert(call, claimed=claimed), written)

    def check_room(self) -> None:
        """Raises `TooManyRequests` where the queue is full, `Unavailable` where it takes nothing now."""
        if not self._open or self._stopping:
            raise Unavailable("this host takes no asynchronous calls now; try again", retry_after_s=1.0, begun=False)
        if self._unwritten:
            raise Unavailable("the queue cannot be written now; try again", retry_after_s=1.0)
        if len(self.writer) >= self.limits.max_unwritten:
            raise TooManyRequests("more asynchronous calls come than can be written down; try again", retry_after_s=1.0)
        if self.used_bytes >= self.limits.max_bytes:
            raise TooManyRequests(
                f"the queue has {self.used_bytes >> 20} MB, its limit is {self.limits.max_bytes >> 20} MB: calls are "
                "taken again once others are done, or where queue_mb is raised",
                retry_after_s=5.0,
                limit_bytes=self.limits.max_bytes,
            )

    def lane(self, namespace: str, name: str) -> Lane:
        key = (namespace, name)
        found = self.lanes.get(key)
        if found is None:
            found = self.lanes[key] = Lane(namespace, name)
        return found

    # -- time ----------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Every 20 ms."""
        self._ticks += 1
        if not self._open or self._ticks % LOOK_EVERY:
            return
        now_s = self._now()
        if self._unwritten and now_s - self._rewritten_s >= REWRITE_S:
            self._rewritten_s = now_s
            self._write_again()
        for key, lane in list(self.lanes.items()):
            if lane.forgettable():
                del self.lanes[key]
            elif lane.ready or lane.next_due_ms is not None:
                self.pump(lane)
        if now_s - self._measured_s >= MEASURE_EVERY_S:
            self._measured_s = now_s
            self.writer.submit(lambda store: store.used_bytes(), self._measured)
            self._ask_for_news()
        if now_s - self._swept_s >= SWEEP_EVERY_S:
            self._swept_s = now_s
            self._sweep(CallState.SUCCEEDED, self.limits.keep_results_ms)
            self._sweep(CallState.DEAD, self.limits.keep_dead_ms)
            self._sweep(CallState.REDRIVEN, self.limits.keep_dead_ms)

    def _measured(self, size: int, error: IsothermError | None) -> None:
        if error is None:
            self.used_bytes = size

    def _ask_for_news(self) -> None:
        def heard(news: News | None, error: IsothermError | None) -> None:
            if error is not None or news is None:
                return
            self.adopted += news.adopted
            self._take_over(news.waiting)
            if news.paused is not None:
                self._hold_back(news.paused)
            if news.adopted >= ADOPT_AT_ONCE:
                self._ask_for_news()

        adopt = not (self.held or self._stopping)
        self.writer.submit(lambda store: store.news(ADOPT_AT_ONCE, adopt=adopt), heard)

    def _take_over(self, waiting: Iterable[Waiting]) -> None:
        for found in waiting:
            lane = self.lane(found.namespace, found.name)
            lane.note_due(found.next_due_ms)
            self.pump(lane)

    def _hold_back(self, paused: Collection[tuple[str, str]]) -> None:
        """These, and no others."""
        for namespace, name in paused:
            self.lane(namespace, name).paused = True
        for key, lane in list(self.lanes.items()):
            if lane.paused and key not in paused:
                lane.paused = False
                self.pump(lane)

    def _sweep(self, state: CallState, keep_ms: int) -> None:
        before_ms = self.clock.time_ms() - keep_ms

        def swept(count: int, error: IsothermError | None) -> None:
            if error is None and count == SWEEP_AT_ONCE:
                self._sweep(state, keep_ms)

        self.writer.submit(lambda store: store.sweep(state, before_ms, SWEEP_AT_ONCE), swept)

    # -- deliveries ----------------------------------------------------------------------------------------------------

    def pump(self, lane: Lane) -> None:
        """Begin as many deliveries as there is room for, and fetch more from disk."""
        if lane.pumping or self._stopping or self._unwritten or self.held or not self.store.may_begin():
            return
        lane.pumping = True
        now_ms = self.clock.time_ms()
        while (
            lane.ready
            and not lane.paused
            and lane.in_flight < lane.limit
            and len(self.running) < self.limits.max_in_flight
            and now_ms >= lane.blocked_until_ms
        ):
            call = lane.ready.popleft()
            if not self.store.stale(call):
                self._deliver(lane, call, now_ms)
        lane.pumping = False
        if lane.wants(now_ms, self.limits.max_held):
            self._load(lane, now_ms)

    def _load(self, lane: Lane, now_ms: int) -> None:
        lane.loading = True
        room = self.limits.max_held - len(lane.ready)

        def loaded(found: tuple[list[AsyncCall], int | None] | None, error: IsothermError | None) -> None:
            lane.loading = False
            if error is None and found is not None:
                calls, lane.next_due_ms = found
                lane.ready.extend(calls)
                if not calls and lane.next_due_ms is not None:
                    lane.next_due_ms = max(lane.next_due_ms, now_ms + LOCKED_MS)
                self.pump(lane)

        self.writer.submit(lambda store: store.claim(lane.namespace, lane.name, now_ms, room), loaded)

    def _deliver(self, lane: Lane, call: AsyncCall, now_ms: int) -> None:
        try:
            revision, alias = self._invoker.resolve(call.namespace, call.name, call.qualifier)
        except IsothermError as error:
            self.failed(lane, call, None, error)
            return
        spec = revision.spec
        rules = spec.asynchronous
        lane.limit = rules.concurrency or spec.warm.max_instances * spec.concurrency
        if now_ms - call.accepted_at_ms >= rules.max_age_s * 1000:
            self._bury(lane, call, spec, Outcome(condition="EventAgeExceeded", error_code="expired", status=504))
            return
        self._submit(lane, call, revision, alias)

    def _submit(self, lane: Lane, call: AsyncCall, revision: RevisionPool, alias: str) -> None:
        lane.in_flight += 1
        self.running.add(call.id)
        now_s = self._now()
        head = f'["{call.id}",{call.client_context}]'.encode()
        made = Call(call.id, 0, head, call.event, Delivery(self, lane, call, revision.spec), now_s)
        made.alias = alias
        made.source = call.source
        made.principal_id = call.principal_id
        revision.submit(made, now_s)

    def placed(self, call: AsyncCall) -> None:
        """A call is durable, and waits on disk."""
        lane = self.lane(call.namespace, call.name)
        lane.note_due(call.due_at_ms)
        self.pump(lane)

    def redriven(self, dead: AsyncCall, now_ms: int, principal_id: str | None) -> AsyncCall:
        """The new call that a dead letter is made."""
        return replace(
            dead,
            id=self._new_id(),
            source="redrive",
            principal_id=principal_id,
            accepted_at_ms=now_ms,
            due_at_ms=now_ms,
            attempts=0,
            hops=0,
            origin=dead.id,
        )

    # -- what came of them ---------------------------------------------------------------------------------------------

    def ended(self, lane: Lane, call: AsyncCall) -> None:
        """An attempt is over, however."""
        lane.in_flight -= 1
        self.running.discard(call.id)

    def succeeded(self, lane: Lane, call: AsyncCall, spec: RevisionSpec, body: bytes) -> None:
        try:
            json_value.decode(body)
        except msgspec.MsgspecError as exc:
            self.failed(lane, call, spec, InvalidResponse(f"the function's answer is not JSON: {exc}"))
            return
        lane.refusals = 0
        result = body if len(body) <= self.limits.max_result_bytes else None
        outcome = Outcome(version=str(spec.number), result=result)
        self._finish(lane, call, CallState.SUCCEEDED, outcome, self._follow_up(call, spec, outcome))

    def failed(self, lane: Lane, call: AsyncCall, spec: RevisionSpec | None, error: IsothermError) -> None:
        rules = AsyncSpec() if spec is None else spec.asynchronous
        age_ms = self.clock.time_ms() - call.accepted_at_ms
        if self._stopping and error.code == "instance_crashed":
            return  # we ended it; the call is still claimed, and queued again by the next start
        verdict = policy.judge(error.code, call.attempts + 1, age_ms, rules, random())  # noqa: S311 -- spreads retries
        if verdict.action == "again":
            lane.ready.appendleft(call)
            lane.refusals += 1
            lane.blocked_until_ms = self.clock.time_ms() + policy.throttle_ms(lane.refusals, random())  # noqa: S311
            return
        lane.refusals = 0
        call.attempts += verdict.condition != "Undeliverable"  # then it never ran
        outcome = failure(error, spec, verdict.condition)
        if verdict.action == "dead":
            self._bury(lane, call, spec, outcome)
            return
        self.retried += 1
        call.due_at_ms = self.clock.time_ms() + verdict.wait_ms
        self._write(lambda store: store.postpone(call, outcome), lambda: self.placed(call))
        self.pump(lane)

    def _bury(self, lane: Lane, call: AsyncCall, spec: RevisionSpec | None, outcome: Outcome) -> None:
        self._log.warning(
            "dead letter", namespace=call.namespace, name=call.name, id=call.id, condition=outcome.condition,
            attempts=call.attempts, error=outcome.error_code,
        )  # fmt: skip
        following = None if spec is None else self._follow_up(call, spec, outcome)
        self._finish(lane, call, CallState.DEAD, outcome, following)

    def _finish(
        self, lane: Lane, call: AsyncCall, state: CallState, outcome: Outcome, following: AsyncCall | None
    ) -> None:
        now_ms = self.clock.time_ms()
        self.over["succeeded" if state == CallState.SUCCEEDED else "dead"] += 1

        def work(store: QueueStore) -> None:
            store.finish(call, state, now_ms, outcome, following)

        def written() -> None:
            if following is not None:
                self.placed(following)

        self._write(work, written)
        self.pump(lane)

    def _follow_up(self, call: AsyncCall, spec: RevisionSpec, outcome: Outcome) -> AsyncCall | None:
        """The call of the destination, where there is one."""
        found = follow_up(call, spec, outcome, call_id=self._new_id(), now_ms=self.clock.time_ms(), region=self._region)
        if found is not None and found.hops > self.limits.max_hops:
            self._log.warning(
                "a chain of destinations was cut", namespace=call.namespace, name=call.name, hops=call.hops
            )
            return None
        return found

    # -- writes that must not be lost ----------------------------------------------------------------------------------

    def _write(self, work: Work, written: Callable[[], None]) -> None:
        """Write, however often it takes; nothing new is begun before it is done."""

        def done(_: object, error: IsothermError | None) -> None:
            if error is None:
                written()
            else:
                self._unwritten.append((work, written))

        self.writer.submit(work, done)

    def _write_again(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        for work, written in unwritten:
            self._write(work, written)
