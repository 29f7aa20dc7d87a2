"""One call: from a REQUEST frame to the frame that answers it. On the hot path: measured, hence long functions."""

from __future__ import annotations

import time
from contextvars import Context as Variables
from contextvars import copy_context

from isotherm_runtime import values
from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.context import Context, client_context, context_class
from isotherm_runtime.errors import describe, error_head, full_text
from isotherm_runtime.events import EventBuilder
from isotherm_runtime.frames import ErrorKind, Flag, Kind, pack_frame
from isotherm_runtime.handler import Handler
from isotherm_runtime.logs import CallLog, Output, enter_call
from isotherm_runtime.responses import BadResponse, Responses
from isotherm_runtime.stream import Frame

__all__ = ["BadRequest", "Invoker", "cancelled"]

HTTP = int(Flag.HTTP)
RESPONSE = int(Kind.RESPONSE)
_monotonic = time.monotonic


class BadRequest(ValueError):
    """The event is not JSON, or the head is not what the protocol says."""


class Invoker:
    """Calls one handler. Any thread may use it at any time."""

    def __init__(self, handler: Handler, config: RuntimeConfig, output: Output) -> None:
        self.function = handler.function
        self.output = output
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
        except BaseException as exc:  # noqa: BLE001 - whatever the user's code raised ends this call alone
            answer = self.fail(stream, exc, log)
        log.close()
        return answer

    def _enter(self, log: CallLog, event: object, context: Context) -> object:
        enter_call(log)
        return self.function(event, context)

    def begin(self, frame: Frame, arrived: float) -> tuple[object, Context, Variables]:
        """`(event, context, context variables)` of a call. Raises `BadRequest`."""
        _, flags, _, deadline_ms, raw_head, body = frame
        try:
            if flags & HTTP:
                request_id, event = self._events.build(raw_head, body)
                client = None
            else:
                head = values.decode(raw_head)
                request_id, client = head if len(head) == 2 else (head[0], None)  # type: ignore[arg-type, index, misc]  # as above
                event = values.decode(body) if body else {}  # type: ignore[assignment]  # any JSON value
        except RecursionError:
            raise BadRequest("the event is nested too deeply") from None
        except (ValueError, TypeError, LookupError, AttributeError) as exc:
            raise BadRequest(f"the event is not JSON: {exc}") from None
        context = self._context(request_id, arrived + (deadline_ms / 1000 if deadline_ms else self._timeout_s))
        if client is not None:
            context.client_context = client_context(client)
        return event, context, self._variables.copy()

    def finish(self, stream: int, flags: int, result: object) -> bytes:
        """The frame that holds what the handler returned. Raises `BadResponse` and `values.NotJson`."""
        if flags & HTTP:
            return self._responses.pack(stream, result, self._limit_bytes)
        body = values.encode(result)
        if len(body) > self._limit_bytes:
            raise BadResponse(f"the answer has {len(body)} bytes; the limit is {self._limit_bytes}")
        return pack_frame(RESPONSE, stream, b"", body)

    def fail(self, stream: int, exc: BaseException, log: CallLog) -> bytes:
        """The ERROR frame for what was raised; the log gets the whole traceback."""
        if isinstance(exc, BadRequest):
            return _error(stream, ErrorKind.REQUEST, "Runtime.UnmarshalError", str(exc))
        if isinstance(exc, (values.NotJson, BadResponse)):
            message = str(exc)
            if isinstance(exc, values.NotJson):
                message = f"the handler's return value cannot be sent as JSON: {message}"
            log.emit(message, "ERROR")
            return _error(stream, ErrorKind.RESPONSE, "Runtime.MarshalError", message)
        try:
            error_type, message, trace = describe(exc)
            log.emit(full_text(exc).rstrip("\n"), "ERROR")
        except BaseException as broken:  # noqa: BLE001 - the user's exception may break its own description
            error_type, message, trace = type(exc).__name__, f"(not describable: {type(broken).__name__})", []
        if isinstance(exc, SystemExit):
            message = f"the handler called sys.exit({exc.code!r})"
            return _error(stream, ErrorKind.EXIT, "Runtime.ExitError", message, trace)
        return _error(stream, ErrorKind.HANDLER, error_type, message, trace)


def cancelled(stream: int, why: str) -> bytes:
    """The ERROR frame of a call that was cancelled, or never begun."""
    return _error(stream, ErrorKind.CANCELLED, "Runtime.Cancelled", why)


def _error(stream: int, kind: str, error_type: str, message: str, trace: list[str] | None = None) -> bytes:
    return pack_frame(Kind.ERROR, stream, error_head(kind, error_type, message, trace))
