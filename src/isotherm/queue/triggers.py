"""What calls functions by itself: schedules now; object events and streams by the same port, `Triggers.deliver`.

What a trigger calls and how far it has come are written in one transaction: each due time is queued exactly once.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from isotherm.base.clock import Clock
from isotherm.base.cron import Schedule, parse_schedule
from isotherm.base.errors import Conflict, Invalid, IsothermError
from isotherm.base.ids import request_ids
from isotherm.queue import policy
from isotherm.queue.model import AsyncCall
from isotherm.queue.port import QueueStore
from isotherm.queue.service import Queue
from isotherm.telemetry.logging import get_logger
from isotherm.wire.desired import CronSpec, RouteSpec

__all__ = ["CronTrigger", "Triggers"]

MAX_AHEAD_MS = 25 * 3_600_000  # a clock that was set back by less waits until its times come again
Delivered = Callable[[IsothermError | None], None]


class CronTrigger:
    """One schedule of one function. Its key changes with its schedule, which so begins anew."""

    def __init__(self, route: RouteSpec, spec: CronSpec) -> None:
        """Raises `Invalid`."""
        self.route = route
        self.spec = spec
        self.schedule: Schedule = parse_schedule(spec.schedule, spec.timezone)
        text = f"{route.workload_id}\0{spec.name}\0{spec.schedule}\0{spec.timezone}"
        self.key = f"cron {hashlib.sha256(text.encode()).hexdigest()[:32]}"
        self.position_ms: int | None = None  # up to here its times are dealt with; None: not known yet
        self.next_ms: int | None = None
        self.busy = False  # something of it is being written

    def call(self, call_id: str, at_ms: int, region: str) -> AsyncCall:
        """The call of one due time; spread by the jitter, the same after a restart."""
        share = int.from_bytes(hashlib.sha256(f"{self.key}{at_ms}".encode()).digest()[:4], "big") / 2**32
        event = self.spec.event
        if event is None:
            event = policy.scheduled_event(
                self.route.namespace, self.route.name, self.spec.name, call_id, at_ms, region
            )
        return AsyncCall(
            id=call_id,
            namespace=self.route.namespace,
            name=self.route.name,
            qualifier=self.spec.qualifier,
            source="cron",
            event=msgspec.json.encode(event),
            due_at_ms=at_ms + round(share * self.spec.jitter_s * 1000),
        )


class Triggers:
    """All triggers of this host. On the loop."""

    def __init__(self, queue: Queue, clock: Clock, region: str) -> None:
        self._queue = queue
        self._clock = clock
        self._region = region
        self._crons: dict[str, list[CronTrigger]] = {}  # by workload
        self._new_id = request_ids()
        self._log = get_logger("triggers")

    def put(self, route: RouteSpec) -> None:
        """Take a function's triggers, in place of those that it had."""
        known = {trigger.key: trigger for trigger in self._crons.pop(route.workload_id, ())}
        found = []
        for spec in route.crons:
            try:
                trigger = CronTrigger(route, spec)
            except Invalid as error:  # a time zone that control knows and this machine does not
                self._log.error(
                    "a schedule cannot be kept", namespace=route.namespace, name=route.name, why=error.message
                )
                continue
            before = known.get(trigger.key)
            if before is not None:
                trigger.position_ms, trigger.next_ms, trigger.busy = before.position_ms, before.next_ms, False
            found.append(trigger)
        if found:
            self._crons[route.workload_id] = found

    def remove(self, workload_id: str) -> None:
        self._crons.pop(workload_id, None)

    def tick(self) -> None:
        """About every second."""
        now_ms = self._clock.time_ms()
        for triggers in list(self._crons.values()):
            for trigger in triggers:
                if trigger.busy:
                    continue
                if trigger.position_ms is None:
                    self._look_up(trigger)
                elif trigger.position_ms - now_ms > MAX_AHEAD_MS:
                    self._begin_anew(trigger, now_ms)
                elif trigger.next_ms is not None and trigger.next_ms <= now_ms:
                    self._fire(trigger, trigger.position_ms, now_ms)

    def sweep(self) -> None:
        """Forget how far triggers had come that are no more. Call it once all that there are is known."""
        kept = [trigger.key for triggers in self._crons.values() for trigger in triggers]
        self._queue.writer.submit(lambda store: store.forget_triggers(kept), lambda _, __: None)

    def deliver(self, key: str, calls: Sequence[AsyncCall], position: int, before: int | None, done: Delivered) -> None:
        """Queue calls of a trigger and note how far it has come: both, or neither.

        Neither, and `done` is told `Conflict`, where it is not at `before`: another host of this queue was first.
        Raises as `Queue.check_room`.
        """
        self._queue.check_room()
        now_ms = self._queue.clock.time_ms()
        for call in calls:
            call.accepted_at_ms = now_ms
            call.due_at_ms = max(call.due_at_ms, now_ms)

        def work(store: QueueStore) -> bool:
            moved = store.move(key, position, before)
            for call in calls if moved else ():
                store.insert(call, claimed=False)
            return moved

        def written(moved: Any, error: IsothermError | None) -> None:
            if moved:
                for call in calls:
                    self._queue.placed(call)
            done(error if moved or error is not None else Conflict(f"another host has moved the trigger {key}"))

        self._queue.writer.submit(work, written)

    # -- schedules -----------------------------------------------------------------------------------------------------

    def _look_up(self, trigger: CronTrigger) -> None:
        """How far it had come before this process; one that is new begins now."""

        def work(store: QueueStore) -> int | None:
            position = store.position(trigger.key)
            if position is not None:
                return position
            now_ms = self._clock.time_ms()
            return now_ms if store.move(trigger.key, now_ms, None) else None

        def found(position: int | None, error: IsothermError | None) -> None:
            trigger.busy = False
            if error is None and position is not None:
                trigger.position_ms = position
                trigger.next_ms = trigger.schedule.following(position)

        trigger.busy = True
        self._queue.writer.submit(work, found)

    def _fire(self, trigger: CronTrigger, position_ms: int, now_ms: int) -> None:
        due = policy.due_times(trigger.schedule.following, position_ms, now_ms, trigger.spec.missed)
        if due.dropped:
            self._log.warning(
                "times of a schedule were missed", namespace=trigger.route.namespace, name=trigger.route.name,
                trigger=trigger.spec.name, dropped=due.dropped, missed=trigger.spec.missed,
            )  # fmt: skip

        def done(error: IsothermError | None) -> None:
            trigger.busy = False
            if isinstance(error, Conflict):
                trigger.position_ms = None  # it is looked up again
            elif error is None:
                trigger.position_ms, trigger.next_ms = due.position_ms, due.next_ms

        calls = [trigger.call(self._new_id(), at_ms, self._region) for at_ms in due.times_ms]
        trigger.busy = True
        try:
            self.deliver(trigger.key, calls, due.position_ms, position_ms, done)
        except IsothermError as error:  # no room now: it is tried again in a second
            done(error)

    def _begin_anew(self, trigger: CronTrigger, now_ms: int) -> None:
        """The clock had been far ahead: the schedule would not be due for as long."""
        self._log.warning(
            "a schedule begins anew: the clock was set back", namespace=trigger.route.namespace,
            name=trigger.route.name, trigger=trigger.spec.name,
        )  # fmt: skip
        before_ms, trigger.position_ms = trigger.position_ms, None  # it is looked up again, whoever moves it
        self._queue.writer.submit(lambda store: store.move(trigger.key, now_ms, before_ms), lambda _, __: None)
