"""Carries out what control orders: prepare a revision, forget one, say what is held, look at the queue."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, Literal

import msgspec

from isotherm.base.errors import Invalid, IsothermError, TimedOut, TooManyRequests
from isotherm.host.materials import MaterialStore
from isotherm.pool.service import Pool
from isotherm.queue.desk import QueueDesk
from isotherm.telemetry.logging import get_logger
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.link import FromHost, Order, Progress, Reply

__all__ = ["OrderDesk"]

MAX_ORDERS = 1000
State = Literal["running", "done", "failed", "cached"]
states: dict[str, State] = {"running": "running", "done": "done", "failed": "failed", "cached": "cached"}


class OrderDesk:
    """Runs orders side by side; the pool and the materials see to it that nothing is built twice."""

    def __init__(
        self, pool: Pool, materials: MaterialStore, queue: QueueDesk, send: Callable[[FromHost], None]
    ) -> None:
        self._pool = pool
        self._materials = materials
        self._queue = queue
        self._send = send
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = get_logger("orders")

    def take(self, order: Order) -> None:
        """Begin an order; its reply is sent in any case."""
        if len(self._tasks) >= MAX_ORDERS:
            error = TooManyRequests(f"this host has {MAX_ORDERS} orders to do", retry_after_s=5.0)
            self._send(Reply(order_id=order.id, problem=error.problem()))
            return
        task = asyncio.create_task(self._carry_out(order), name=f"order {order.verb}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry_out(self, order: Order) -> None:
        try:
            async with asyncio.timeout(order.timeout_s):
                reply = Reply(order_id=order.id, result=await self._result(order))
        except TimeoutError:
            late = TimedOut(f"{order.verb} was not done within {order.timeout_s:g} s", verb=order.verb)
            reply = Reply(order_id=order.id, problem=late.problem())
        except IsothermError as error:
            reply = Reply(order_id=order.id, problem=error.problem())
        except Exception as exc:  # noqa: BLE001 -- a bug here must not leave control waiting; it is logged whole
            self._log.exception("an order failed", verb=order.verb)
            bug = IsothermError(f"{order.verb} failed on this host: {type(exc).__name__}: {exc}")
            reply = Reply(order_id=order.id, problem=bug.problem())
        self._send(reply)

    async def _result(self, order: Order) -> dict[str, Any]:
        if order.verb == "states":
            return {"states": [msgspec.to_builtins(state) for state in self._pool.states()]}
        if order.verb == "queue":
            if order.queue is None:
                raise Invalid("an order about the queue needs to say what")
            return {"answer": msgspec.to_builtins(await self._queue.take(order.queue))}
        if order.revision is None:
            raise Invalid(f"an order to {order.verb} needs a revision")
        if order.verb == "forget":
            await self._pool.forget(order.revision.id)
            return {}
        return await self._prepare(order, order.revision)

    async def _prepare(self, order: Order, revision: RevisionSpec) -> dict[str, Any]:
        steps = Steps(order.id, self._send)
        try:
            await self._materials.prepare(revision, steps.step)
            steps.step("import", "running", "")
            template = await self._pool.prepare_template(revision)
            steps.step("import", "done", f"imported in {template.info.import_ms:.0f} ms")
            steps.step("start", "running", "")
            await self._pool.prepare_instances(revision, order.instances)
            steps.step("start", "done", "")
        except IsothermError as error:
            steps.fail(error.message)
            raise
        return {"template": revision.warm.template and not template.info.unfit, "unfit": list(template.info.unfit)}


class Steps:
    """Reports the steps of one order, with the time since each began."""

    def __init__(self, order_id: str, send: Callable[[FromHost], None]) -> None:
        self._order_id = order_id
        self._send = send
        self._step = "unpack"
        self._began_s = monotonic()

    def step(self, step: str, state: str, message: str) -> None:
        if step != self._step:
            self._step = step
            self._began_s = monotonic()
        self._send(
            Progress(
                order_id=self._order_id,
                step=step,
                state=states.get(state, "running"),
                message=message,
                elapsed_ms=(monotonic() - self._began_s) * 1000.0,
            )
        )

    def fail(self, message: str) -> None:
        self.step(self._step, "failed", message[:2000])
