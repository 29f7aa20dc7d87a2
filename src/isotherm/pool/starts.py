"""Starting one instance: from its template to a stream that has said hello, warmed where the revision says how."""

import asyncio
from collections.abc import Callable

import msgspec

from isotherm.base.errors import ImportFailed, InstanceCrashed, IsothermError, TimedOut, Unavailable
from isotherm.pool.call import WARM, Answer, Call
from isotherm.pool.connection import InstanceConnection
from isotherm.pool.output import OutputReader
from isotherm.pool.policy import death_error
from isotherm.pool.revision import RevisionPool
from isotherm.pool.tenants import Place
from isotherm.sandbox.model import Exit
from isotherm.sandbox.port import Template
from isotherm.wire.desired import RevisionSpec

__all__ = ["OWN_END_S", "WarmSink", "forks", "start_instance", "warm_up"]

HELLO_TIMEOUT_S = 10.0
EXIT_WAIT_S = 2.0
OWN_END_S = 0.2  # what is lost gets this long to end by itself, so that it is known how it would have ended


class WarmSink:
    """Waits for a call that the platform makes itself, and drops what it answers."""

    def __init__(self) -> None:
        self.done: asyncio.Future[IsothermError | None] = asyncio.get_running_loop().create_future()
        self._answer: Answer | None = None

    def answered(self, _call: Call, _flags: int, _head: bytes, _body: bytes, _now_s: float) -> int:
        return self._set(None, 200)

    def failed(self, _call: Call, error: IsothermError, _now_s: float) -> int:
        return self._set(error, error.status)

    def begun(self, _call: Call, answer: Answer, _flags: int, _head: bytes, _now_s: float) -> "WarmSink":
        self._answer = answer
        return self

    def piece(self, body: bytes) -> None:
        if self._answer is not None:
            self._answer.taken(len(body))

    def ended(self, _call: Call, _now_s: float) -> int:
        return self._set(None, 200)

    def _set(self, error: IsothermError | None, status: int) -> int:
        if not self.done.done():
            self.done.set_result(error)
        return status


def forks(spec: RevisionSpec, template: Template) -> bool:
    """Whether a new instance finds the user's code imported; otherwise it imports it itself."""
    return spec.warm.template and not template.info.unfit


async def start_instance(
    revision: RevisionPool, template: Template, place: Place, *, max_body_bytes: int, now: Callable[[], float]
) -> InstanceConnection:
    """Start an instance in its place and wait for its hello.

    Raises `ImportFailed`, `OutOfMemory`, `Unavailable`, `TimedOut`.
    """
    spec = revision.spec
    limit_s = HELLO_TIMEOUT_S if forks(spec, template) else spec.init_timeout_s + HELLO_TIMEOUT_S
    began_s = now()
    try:
        async with asyncio.timeout(limit_s):
            instance = await template.start()
    except TimeoutError as exc:
        raise Unavailable(f"the sandbox driver did not start an instance within {limit_s:g} s") from exc
    connection = InstanceConnection(
        instance,
        revision,
        place,
        capacity=spec.concurrency,
        timeout_s=spec.timeout_s,
        max_body_bytes=max_body_bytes,
        debug=spec.debug,
        now=now,
    )
    revision.connections[connection.id] = connection
    output = OutputReader(
        instance.output,
        lambda line: revision.printed(instance.id, line),
        revision.outcomes.dropped,
        now,
    )
    instance.exited.add_done_callback(lambda exited: _exited(connection, output, exited))
    try:
        async with asyncio.timeout(limit_s):
            await asyncio.get_running_loop().create_unix_connection(lambda: connection, sock=instance.stream)
            await connection.hello
    except (TimeoutError, ImportFailed, InstanceCrashed, asyncio.CancelledError, OSError) as exc:
        raise await _failed(revision, connection, exc, limit_s) from exc
    connection.start_ms = (now() - began_s) * 1000.0
    connection.used_bytes = instance.memory_bytes()
    return connection


def _exited(connection: InstanceConnection, output: OutputReader, exited: "asyncio.Future[Exit]") -> None:
    if not exited.cancelled() and exited.exception() is None:
        connection.exit = exited.result()
    output.close()


async def _failed(
    revision: RevisionPool, connection: InstanceConnection, exc: BaseException, limit_s: float
) -> BaseException:
    """End what did not start, and say why it did not."""
    instance = connection.instance
    if isinstance(exc, asyncio.CancelledError):  # its stream ended: it is about to say how
        await asyncio.wait([instance.exited], timeout=OWN_END_S)
    instance.kill()
    if connection.transport is not None:
        connection.transport.abort()
    else:
        instance.stream.close()
        revision.disconnected(connection)
    task = asyncio.current_task()
    if isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling():
        return exc
    await asyncio.wait([instance.exited], timeout=EXIT_WAIT_S)
    if isinstance(exc, IsothermError):
        return exc
    if isinstance(exc, TimeoutError):
        return TimedOut(f"the instance did not say hello within {limit_s:g} s")
    return connection.last_error or death_error(connection.exit, None, revision.spec.memory_mb, "before it took calls")


async def warm_up(
    revision: RevisionPool, connection: InstanceConnection, call_id: str, now: Callable[[], float]
) -> None:
    """Call the handler with the revision's `warm_event`, before the instance is given to anyone."""
    event = revision.spec.warm.warm_event
    if event is None:
        return
    sink = WarmSink()
    call = Call(call_id, 0, msgspec.json.encode([call_id, None]), msgspec.json.encode(event), sink, now())
    call.source = WARM
    connection.send(call, call.arrived_s)
    async with asyncio.timeout(revision.spec.timeout_s + HELLO_TIMEOUT_S):
        error = await sink.done
    connection.served = 0
    connection.warmed = True
    if error is not None:
        revision.outcomes.line(
            revision.spec, connection.id, f"the warm_event failed: {error.message}", level="warning", stream="platform"
        )
