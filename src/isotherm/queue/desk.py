"""Looks at a queue and steers it, for operators: states, lists, pause, purge, redrive."""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from isotherm.base.errors import Invalid, NotFound
from isotherm.queue.model import AsyncCall, CallRow, CallState, Counts
from isotherm.queue.port import QueueStore
from isotherm.queue.service import Queue
from isotherm.wire.queue import CallDetail, CallPage, QueueChanged, QueuedCall, QueueOrder, QueueOverview, QueueState

__all__ = ["QueueDesk"]

MAX_PAGE = 1000
AT_ONCE = 500  # calls that one transaction purges or redrives, so that calls that come get their turn
SHOWN_IDS = 100
states = {
    "queued": CallState.QUEUED,
    "running": CallState.CLAIMED,
    "succeeded": CallState.SUCCEEDED,
    "dead": CallState.DEAD,
    "redriven": CallState.REDRIVEN,
}
decode = msgspec.json.Decoder().decode
Answer = QueueOverview | CallPage | CallDetail | QueueChanged | None


class QueueDesk:
    """One per queue; on the loop. Reads go to a thread, one at a time."""

    def __init__(self, queue: Queue, store: QueueStore) -> None:
        self._queue = queue
        self._store = store
        self._reading = asyncio.Lock()

    async def take(self, order: QueueOrder) -> Answer:
        """Do what is asked. Raises `Invalid`, `NotFound`, `Unavailable`."""
        if order.action == "overview":
            return await self._overview(order.namespace)
        if order.action == "call":
            return await self._call(order)
        if order.namespace is None:
            raise Invalid(f"a namespace is needed to see or change queues ({order.action})")
        if order.action == "calls":
            return await self._page(order, order.namespace)
        if order.name is None:
            raise Invalid(f"a function is needed to {order.action} its queue")
        if order.action == "purge":
            state = CallState.DEAD if order.state == "dead" else CallState.QUEUED
            return await self._purge(order.namespace, order.name, state)
        if order.action == "redrive":
            return await self._redrive(order, order.namespace, order.name)
        return await self._pause(order.namespace, order.name, paused=order.action == "pause")

    # -- looking -------------------------------------------------------------------------------------------------------

    async def _overview(self, namespace: str | None) -> QueueOverview:
        async with self._reading:
            found = await asyncio.to_thread(self._store.counts, namespace)
        return QueueOverview(
            queues=[self._state(counts) for counts in found],
            used_bytes=self._queue.used_bytes,
            limit_bytes=self._queue.limits.max_bytes,
        )

    def _state(self, counts: Counts) -> QueueState:
        """What was claimed and does not run waits in memory."""
        lane = self._queue.lanes.get((counts.namespace, counts.name))
        running = min(counts.claimed, 0 if lane is None else lane.in_flight)
        return QueueState(
            namespace=counts.namespace,
            name=counts.name,
            queued=counts.queued + counts.claimed - running,
            running=running,
            succeeded=counts.succeeded,
            dead=counts.dead,
            paused=counts.paused,
            oldest_ms=counts.oldest_ms,
        )

    async def _call(self, order: QueueOrder) -> CallDetail | None:
        if not order.ids:
            raise Invalid("the id of a call is needed")
        async with self._reading:
            row = await asyncio.to_thread(self._store.find, order.ids[0])
        if row is None or row.call.namespace != order.namespace:
            return None
        result = None if row.outcome is None else row.outcome.result
        event, value = await asyncio.to_thread(lambda: [decode(each or b"null") for each in (row.call.event, result)])
        return CallDetail(call=self._shown(row), event=event, result=value)

    async def _page(self, order: QueueOrder, namespace: str) -> CallPage:
        limit = max(1, min(order.limit, MAX_PAGE))
        state = None if order.state is None else states[order.state]
        async with self._reading:
            rows = await asyncio.to_thread(self._store.page, namespace, order.name, state, order.below, limit + 1)
        return CallPage(
            calls=[self._shown(row) for _, row in rows[:limit]],
            next_below=rows[limit - 1][0] if len(rows) > limit else None,
        )

    def _shown(self, row: CallRow) -> QueuedCall:
        call, outcome = row.call, row.outcome
        running = row.state == CallState.CLAIMED and call.id in self._queue.running
        state = next(name for name, known in states.items() if known == row.state)
        return QueuedCall(
            id=call.id,
            namespace=call.namespace,
            name=call.name,
            qualifier=call.qualifier,
            source=call.source,
            state="running" if running else "queued" if row.state < CallState.SUCCEEDED else state,  # type: ignore[arg-type]
            accepted_at_ms=call.accepted_at_ms,
            due_at_ms=call.due_at_ms,
            attempts=call.attempts,
            finished_at_ms=row.finished_at_ms,
            condition=None if outcome is None else outcome.condition or None,
            status=None if outcome is None else outcome.status,
            error_code=None if outcome is None else outcome.error_code,
            error_type=None if outcome is None else outcome.error_type,
            error_message=None if outcome is None else outcome.error_message,
            origin=call.origin,
            redriven_to=row.redriven_to,
        )

    # -- steering ------------------------------------------------------------------------------------------------------

    async def _pause(self, namespace: str, name: str, *, paused: bool) -> QueueChanged:
        await self._queue.writer.write(lambda store: store.pause(namespace, name, paused=paused))
        lane = self._queue.lane(namespace, name)
        lane.paused = paused
        self._queue.pump(lane)
        return QueueChanged(count=0)

    async def _purge(self, namespace: str, name: str, state: CallState) -> QueueChanged:
        """Delete what waits, or dead letters; what runs goes on."""
        lane = self._queue.lane(namespace, name)
        total = 0
        while True:
            held: list[str] = []
            if state == CallState.QUEUED:
                held = [call.id for call in lane.ready]
                lane.ready.clear()
            count: int = await self._queue.writer.write(partial(_purge, namespace, name, state, held))
            total += count
            if not count:
                return QueueChanged(count=total)

    async def _redrive(self, order: QueueOrder, namespace: str, name: str) -> QueueChanged:
        """Raises `NotFound` where one of the ids is no dead letter of the function."""
        self._queue.check_room()
        made: list[str] = []
        if order.ids is not None:
            async with self._reading:
                rows = [await asyncio.to_thread(self._store.find, one) for one in order.ids]
            dead = [row for row in rows if row is not None and (row.call.namespace, row.call.name) == (namespace, name)]
            missing = set(order.ids) - {row.call.id for row in dead if row.state == CallState.DEAD}
            if missing:
                raise NotFound(f"{min(missing)[:100]!r} is no dead letter of {namespace}/{name}")
            made = await self._make_anew(dead, order.principal_id)
        else:
            below: int | None = None  # what dies again meanwhile is left for the next redrive
            while True:
                async with self._reading:
                    page = await asyncio.to_thread(self._store.page, namespace, name, CallState.DEAD, below, AT_ONCE)
                below = page[0][0] + 1 if page and below is None else below
                fresh = await self._make_anew([row for _, row in page], order.principal_id)
                made += fresh
                if not fresh:
                    break
        return QueueChanged(count=len(made), ids=made[:SHOWN_IDS])

    async def _make_anew(self, rows: Sequence[CallRow], principal_id: str | None) -> list[str]:
        """New calls of dead letters, in one transaction; their ids."""
        now_ms = self._queue.clock.time_ms()
        pairs = [(row, self._queue.redriven(row.call, now_ms, principal_id)) for row in rows]

        def work(store: QueueStore) -> list[AsyncCall]:
            return [call for row, call in pairs if store.redrive(row, call)]

        calls: list[AsyncCall] = await self._queue.writer.write(work)
        for call in calls:
            self._queue.placed(call)
        return [call.id for call in calls]


def _purge(namespace: str, name: str, state: CallState, held: Sequence[str], store: QueueStore) -> int:
    return store.purge(namespace, name, state, held, AT_ONCE)
