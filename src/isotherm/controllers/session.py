"""One host's connection: frames in and out, its orders, its telemetry, what it was sent of the desired state."""

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import structlog

from isotherm.base.errors import TimedOut, TooManyRequests, Unavailable
from isotherm.base.ids import new_id
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.link import (
    MAX_MESSAGE_BYTES,
    Ack,
    FromControl,
    FromHost,
    Hello,
    LinkError,
    Order,
    Progress,
    Reply,
    Telemetry,
    decode_from_host,
    encode,
)
from isotherm.wire.queue import QueueOrder
from isotherm.wire.telemetry import Batch

__all__ = ["HostSession", "OnProgress", "Verb", "read_message"]

OnProgress = Callable[[Progress], None]
Verb = Literal["prepare", "forget", "states", "queue"]

_log = structlog.get_logger(__name__)
_length = struct.Struct("<I")
_write_timeout_s = 30.0
_batch_limit = 16  # batches read ahead of the one that is being stored; beyond it the host's socket waits
_order_limit = 1000
_order_grace_s = 5.0  # beyond an order's own limit, which the host keeps; then its reply is given up


@dataclass(frozen=True, slots=True)
class _Pending:
    reply: asyncio.Future[Reply]
    on_progress: OnProgress | None


class HostSession:
    """Made once the host has said hello. `run` returns or raises when the connection is over."""

    def __init__(self, hello: Hello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hello = hello
        self.epoch = hello.epoch
        self.version = hello.version
        self.pushing = False
        self.sent = asyncio.Event()  # set with each state that was sent, and at the end
        self.applied = 0  # a version that the host is known to work by
        self._reader = reader
        self._writer = writer
        self._pending: dict[str, _Pending] = {}
        self._batches: asyncio.Queue[Batch] = asyncio.Queue(_batch_limit)
        self.over = False

    async def run(self, store: Callable[[Batch], Awaitable[None]]) -> None:
        """Read until the host leaves. `store` is awaited per batch, in order, and its return acknowledges the batch."""
        storing = asyncio.create_task(self._store_batches(store), name=f"telemetry of {self.hello.host_id}")
        reading = asyncio.create_task(self._read(), name=f"link of {self.hello.host_id}")
        try:
            done, _ = await asyncio.wait({storing, reading}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (storing, reading):
                task.cancel()
            await asyncio.gather(storing, reading, return_exceptions=True)
            self.close()

    def close(self) -> None:
        """Drop the connection; whoever waits for a reply gets `Unavailable`."""
        self.over = True
        self.sent.set()
        self._writer.close()
        for pending in self._pending.values():
            if not pending.reply.done():
                pending.reply.set_exception(self._gone())

    async def send(self, message: FromControl) -> None:
        """Raises `ConnectionError` where the host is gone or takes nothing for 30 s."""
        await self.send_encoded(encode(message))

    async def send_encoded(self, frame: bytes) -> None:
        if self.over:
            raise ConnectionResetError("the host has left")
        self._writer.write(frame)
        try:
            async with asyncio.timeout(_write_timeout_s):
                await self._writer.drain()
        except TimeoutError as exc:
            self.close()
            raise ConnectionAbortedError(f"the host took nothing for {_write_timeout_s:.0f} s") from exc

    async def order(
        self,
        verb: Verb,
        *,
        timeout_s: float,
        revision: RevisionSpec | None = None,
        queue: QueueOrder | None = None,
        instances: int = 1,
        on_progress: OnProgress | None = None,
    ) -> Reply:
        """Have the host do something once. Raises `Unavailable` where it leaves meanwhile, `TimedOut`."""
        if self.over:
            raise self._gone()
        if len(self._pending) >= _order_limit:
            raise TooManyRequests(
                f"host {self.hello.host_id} has {_order_limit} orders to do; try again later", retry_after_s=5.0
            )
        order = Order(
            id=new_id("order"), verb=verb, timeout_s=timeout_s, revision=revision, instances=instances, queue=queue
        )
        pending = _Pending(asyncio.get_running_loop().create_future(), on_progress)
        self._pending[order.id] = pending
        try:
            await self.send(order)
            async with asyncio.timeout(timeout_s + _order_grace_s):
                return await pending.reply
        except TimeoutError as exc:
            raise TimedOut(
                f"host {self.hello.host_id} did not finish {verb} within {timeout_s:.0f} s",
                host_id=self.hello.host_id,
                verb=verb,
            ) from exc
        except ConnectionError as exc:
            raise self._gone() from exc
        finally:
            del self._pending[order.id]
            if pending.reply.done() and not pending.reply.cancelled():
                pending.reply.exception()  # seen, so that the loop does not report it

    async def _read(self) -> None:
        while True:
            message = await read_message(self._reader)
            if isinstance(message, Telemetry):
                await self._batches.put(message.batch)
            elif isinstance(message, Reply):
                self._take_reply(message)
            elif isinstance(message, Progress):
                self._take_progress(message)
            else:
                raise LinkError("a second hello on one connection")

    def _take_reply(self, reply: Reply) -> None:
        pending = self._pending.get(reply.order_id)
        if pending is not None and not pending.reply.done():
            pending.reply.set_result(reply)

    def _take_progress(self, progress: Progress) -> None:
        pending = self._pending.get(progress.order_id)
        if pending is not None and pending.on_progress is not None:
            pending.on_progress(progress)

    async def _store_batches(self, store: Callable[[Batch], Awaitable[None]]) -> None:
        while True:
            batch = await self._batches.get()
            await store(batch)
            with contextlib.suppress(ConnectionError):
                await self.send(Ack(boot_id=batch.boot_id, sequence=batch.sequence))

    def _gone(self) -> Unavailable:
        return Unavailable(
            f"host {self.hello.host_id} left during the order; it is given again when it is back",
            retry_after_s=1.0,
            host_id=self.hello.host_id,
        )


async def read_message(reader: asyncio.StreamReader) -> FromHost:
    """The next message of a host. Raises `LinkError`, or `asyncio.IncompleteReadError` at the end."""
    (length,) = _length.unpack(await reader.readexactly(4))
    if length > MAX_MESSAGE_BYTES:
        raise LinkError(f"message of {length} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    return decode_from_host(await reader.readexactly(length))
