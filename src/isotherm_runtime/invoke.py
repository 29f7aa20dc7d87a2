"""One call: from a REQUEST frame to the frame that answers it. On the hot path: measured, hence long functions."""

from __future__ import annotations

import time
from contextvars import Context as Variables
from contextvars import copy_context

from isotherm_runtime import values
from isotherm_runtime.answer import Outgoing, Pieces, Stepped, find_pieces
from isotherm_runtime.body import AsyncBody, Body
from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.context import Context, client_context, context_class
from isotherm_runtime.errors import describe, error_head, full_text
from isotherm_runtime.events import EventBuilder
from isotherm_runtime.flow import Bell, Flow, Flows, Gone, chunks
from isotherm_runtime.frames import ErrorKind, Flag, Kind, pack_frame
from isotherm_runtime.handler import Handler
from isotherm_runtime.logs import CallLog, Output, enter_call
from isotherm_runtime.responses import BadResponse, Responses
from isotherm_runtime.stream import Frame

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, Protocol

    class Waits(Protocol):
        """What a dispatcher does for threads whose calls have streamed bodies."""

        def wait(self, bell: Bell, ready: Callable[[], bool], until: float) -> None:
            """Return once `ready`, or at `until` (of time.monotonic())."""

        def look(self) -> None:
            """Take in what frames have come, where nobody else does; waits for none."""

        def settle(self) -> None:
            """Return once no thread that a call left behind reads for it any more."""


__all__ = ["BadRequest", "BodyInvoker", "Invoker", "cancelled"]

HTTP, MORE = int(Flag.HTTP), int(Flag.MORE)
RESPONSE = int(Kind.RESPONSE)
_monotonic = time.monotonic


class BadRequest(ValueError):
    """The event is not JSON, or the head is not what the protocol says."""


class Invoker:
    """Calls one handler. Any thread may use it at any time. `waits` is set by the dispatcher that uses it."""

    waits: Waits

    def __init__(self, handler: Handler, config: RuntimeConfig, output: Output) -> None:
        self.function = handler.function
        self.output = output
        self.flows = Flows()
        self._context = context_class(config)
        self._events = EventBuilder(config)
        self._responses = Responses()
        self._limit_bytes = config.max_response_bytes
        self._timeout_s = config.timeout_ms / 1000
        self._variables = copy_context()  # what the module set at import; each call gets a copy

    def run(self, frame: Frame, arrived: float) -> bytes:
        """Call a sync handler; the frame to send. Never raises because of the user's code."""
        stream = frame[2]
        log = CallLog(self.output, stream)
        try:
            event, context, variables = self.begin(frame, arrived)
            result = variables.run(self._enter, log, event, context)
            answer = self.finish(stream, frame[1], result)
        except Pieces as pieces:
            answer = self._send_pieces(frame, pieces, context, variables, log)
        except BaseException as exc:  # noqa: BLE001 - whatever the user's code raised ends this call alone
            answer = self.fail(stream, exc, log)
        log.close()
        return answer

    def _send_pieces(self, frame: Frame, pieces: Pieces, context: Context, variables: Variables, log: CallLog) -> bytes:
        """Send an answer piece by piece; the frame that ends it."""
        _, flags, stream, *_ = frame
        flow, out = self.flows.open(stream), self.outgoing(stream, flags)
        try:
            variables.run(self._feed, pieces, out, flow, context._deadline)
            answer = out.end()
        except Gone as gone:
            answer = cancelled(stream, str(gone), begun=out.begun)
        except BaseException as exc:  # noqa: BLE001 - as above
            answer = self.fail(stream, exc, log, begun=out.begun)
        self.flows.close(stream)
        return answer

    def _feed(self, pieces: Pieces, out: Outgoing, flow: Flow, deadline: float) -> None:
        """Each item goes out before the next is asked for. Raises `Gone`, and what the handler raises."""
        source: Any = Stepped(pieces.source) if pieces.is_async else pieces.source  # type: ignore[arg-type]  # it is one
        send, waits = self.output.stream.send, self.waits
        try:
            if pieces.head is not None:
                send(out.begin(pieces.head))
            for item in source:
                before, data = (b"", out.data(item)) if out.begun else out.begin_with(item)
                if not data:
                    send(before)
                for chunk in chunks(flow, data):
                    if chunk is not None:
                        send(before + chunk)
                        before = b""
                        continue
                    waits.wait(flow.room, flow.may_send, deadline)
                    if not flow.may_send():
                        raise Gone("the time limit was reached")
                waits.look()
                if flow.gone is not None:
                    raise Gone(flow.gone)
        finally:
            if hasattr(source, "close"):
                source.close()  # in a generator: GeneratorExit at its yield, unless it has ended

    def outgoing(self, stream: int, flags: int) -> Outgoing:
        """What makes the frames of an answer in pieces."""
        return Outgoing(stream, self._responses.head if flags & HTTP else None)

    def _enter(self, log: CallLog, event: object, context: Context) -> object:
        enter_call(log)
        return self.function(event, context)

    def begin(self, frame: Frame, arrived: float) -> tuple[object, Context, Variables]:
        """`(event, context, context variables)` of a call. Raises `BadRequest`."""
        _, flags, _, deadline_ms, raw_head, body = frame
        called: list[str] = []
        try:
            if flags & HTTP:
                request_id, event = self._events.build(raw_head, body)
                client = None
            else:
                head = values.decode(raw_head)
                request_id, client, *called = head if len(head) > 1 else (head[0], None)  # type: ignore[arg-type, index, misc]  # as above
                event = values.decode(body) if body else {}  # type: ignore[assignment]  # any JSON value
        except RecursionError:
            raise BadRequest("the event is nested too deeply") from None
        except (ValueError, TypeError, LookupError, AttributeError) as exc:
            raise BadRequest(f"the event is not JSON: {exc}") from None
        context = self._context(request_id, arrived + (deadline_ms / 1000 if deadline_ms else self._timeout_s))
        if client is not None:
            context.client_context = client_context(client)
        if called:
            context.call_by(*called)
        return event, context, self._variables.copy()

    def finish(self, stream: int, flags: int, result: object) -> bytes:
        """The frame that holds what the handler returned.

        Raises `BadResponse` and `values.NotJson`, and `Pieces` where it is a generator or an iterator.
        """
        try:
            if flags & HTTP:
                return self._responses.pack(stream, result, self._limit_bytes)
            body = values.encode(result)
        except (values.NotJson, BadResponse):  # asked only where a whole answer never comes
            pieces = find_pieces(result)
            if pieces is None:
                raise
            raise pieces from None
        if len(body) > self._limit_bytes:
            raise BadResponse(f"the answer has {len(body)} bytes; the limit is {self._limit_bytes}")
        return pack_frame(RESPONSE, stream, b"", body)

    def fail(self, stream: int, exc: BaseException, log: CallLog, *, begun: bool = False) -> bytes:
        """The ERROR frame for what was raised (END where the answer has `begun`); the log gets the whole traceback."""
        frame = Kind.END if begun else Kind.ERROR
        if isinstance(exc, BadRequest):
            return _error(frame, stream, ErrorKind.REQUEST, "Runtime.UnmarshalError", str(exc))
        if isinstance(exc, (values.NotJson, BadResponse)):
            message = str(exc)
            if isinstance(exc, values.NotJson):
                message = f"the handler's return value cannot be sent as JSON: {message}"
            log.emit(message, "ERROR")
            return _error(frame, stream, ErrorKind.RESPONSE, "Runtime.MarshalError", message)
        try:
            error_type, message, trace = describe(exc)
            log.emit(full_text(exc).rstrip("\n"), "ERROR")
        except BaseException as broken:  # noqa: BLE001 - the user's exception may break its own description
            error_type, message, trace = type(exc).__name__, f"(not describable: {type(broken).__name__})", []
        if isinstance(exc, SystemExit):
            message = f"the handler called sys.exit({exc.code!r})"
            return _error(frame, stream, ErrorKind.EXIT, "Runtime.ExitError", message, trace)
        return _error(frame, stream, ErrorKind.HANDLER, error_type, message, trace)


class BodyInvoker(Invoker):
    """Calls a handler that gets its request's body as a stream: `context.body`."""

    # How an async handler waits; None: it is a sync one.
    awaits: Callable[[Bell], Awaitable[None]] | None = None

    def run(self, frame: Frame, arrived: float) -> bytes:
        try:
            return super().run(frame, arrived)
        finally:
            self.flows.close(frame[2])
            self.waits.settle()

    def begin(self, frame: Frame, arrived: float) -> tuple[object, Context, Variables]:
        """As `Invoker.begin`. The event has no body where there is a `context.body`."""
        kind, flags, stream, deadline_ms, head, body = frame
        bare = (kind, flags, stream, deadline_ms, head, b"") if flags & HTTP else frame
        event, context, variables = super().begin(bare, arrived)
        flow = self.flows.open(stream)
        if flags & HTTP and body:
            flow.parts.appendleft(body)  # what came with the request is the first of it
        if not flags & MORE:
            flow.whole = True
        send = self.output.stream.send
        if self.awaits is None:
            context.body = Body(flow, send, self.waits.wait, context._deadline)
        else:
            context.body = AsyncBody(flow, send, self.awaits, context._deadline)
        return event, context, variables


def cancelled(stream: int, why: str, *, begun: bool = False) -> bytes:
    """The frame that ends a call which was cancelled, or never begun."""
    return _error(Kind.END if begun else Kind.ERROR, stream, ErrorKind.CANCELLED, "Runtime.Cancelled", why)


def _error(frame: Kind, stream: int, kind: str, error_type: str, message: str, trace: list[str] | None = None) -> bytes:
    return pack_frame(frame, stream, error_head(kind, error_type, message, trace))
