"""AWS's Runtime API 2018-06-01, as a bootstrap sees it: frames of the host become requests that it fetches.

`GET  /2018-06-01/runtime/invocation/next`             waits for a call
`POST /2018-06-01/runtime/invocation/{id}/response`    answers it; streamed with Lambda-Runtime-Function-Response-Mode
`POST /2018-06-01/runtime/invocation/{id}/error`       fails it
`POST /2018-06-01/runtime/init/error`                  says that there will be no calls

Source: AWS, "Using the Lambda runtime API for custom runtimes", and its OpenAPI document.
"""

from __future__ import annotations

import binascii
import json
import time

from isotherm_runtime import values
from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.errors import error_head
from isotherm_runtime.events import EventBuilder
from isotherm_runtime.frames import ErrorKind, Flag, Kind, pack_frame
from isotherm_runtime.http1 import HttpConnection, Request
from isotherm_runtime.responses import BadResponse, Responses
from isotherm_runtime.streaming import INTEGRATION_TYPE, StreamedAnswer

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from isotherm_runtime.stream import Frame

__all__ = ["Call", "RuntimeApi"]

PREFIX = "/2018-06-01/runtime/"
ACCEPTED = b'{"status":"OK"}'


class Call:
    """One invocation, from its REQUEST frame to its answer."""

    __slots__ = ("answer", "event", "headers", "id", "is_http", "stream")

    def __init__(self, stream: int, call_id: str, is_http: bool, event: bytes, headers: dict[str, str]) -> None:
        self.stream = stream
        self.id = call_id
        self.is_http = is_http
        self.event = event
        self.headers = headers  # of the answer to `next`
        self.answer: StreamedAnswer | None = None


class RuntimeApi:
    """`send` takes frames. `on_asked()` is told of each `next`, `on_answered()` comes before a call's answer is sent,
    `on_refused(head)` gets the ERROR head of a bootstrap that cannot start."""

    def __init__(
        self,
        config: RuntimeConfig,
        send: Callable[[bytes], None],
        on_asked: Callable[[], None],
        on_answered: Callable[[], None],
        on_refused: Callable[[bytes], None],
    ) -> None:
        self._config = config
        self._send = send
        self._on_asked = on_asked
        self._on_answered = on_answered
        self._on_refused = on_refused
        self._events = EventBuilder(config)
        self._responses = Responses()
        self._waiting: HttpConnection | None = None  # the `next` that has no answer yet
        self._pending: list[Call] = []
        self.call: Call | None = None  # that the bootstrap works on

    @property
    def busy(self) -> bool:
        """Whether a call has no answer yet."""
        return self.call is not None or bool(self._pending)

    # From the host

    def begin(self, frame: Frame) -> None:
        """A REQUEST frame: hand it out, now or when the bootstrap asks."""
        try:
            call = self._read_call(frame)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as exc:
            self._send(_error(frame[2], ErrorKind.REQUEST, "Runtime.UnmarshalError", f"the event is not JSON: {exc}"))
            return
        self._pending.append(call)
        self._hand_out()

    def grant(self, stream: int, size: int) -> None:
        """The host has sent on so many bytes of a streamed answer."""
        if self.call is not None and self.call.stream == stream and self.call.answer is not None:
            self.call.answer.grant(size)

    def _read_call(self, frame: Frame) -> Call:
        _, flags, stream, deadline_ms, raw_head, body = frame
        client: object = None
        arn = self._config.function_arn
        if flags & Flag.HTTP:
            call_id, event = self._events.build(raw_head, body)
            body = values.encode(event)
        else:
            head: Any = values.decode(raw_head)
            call_id, client = head[:2] if len(head) > 1 else (head[0], None)
            arn = f"{arn}:{head[2]}" if len(head) > 2 else arn
        deadline = time.time_ns() // 1_000_000 + (deadline_ms or self._config.timeout_ms)
        headers = {
            "Lambda-Runtime-Aws-Request-Id": call_id,
            "Lambda-Runtime-Deadline-Ms": str(deadline),
            "Lambda-Runtime-Invoked-Function-Arn": arn,
            "Lambda-Runtime-Trace-Id": _trace_id(call_id),
        }
        if client is not None:
            headers["Lambda-Runtime-Client-Context"] = _client_context(client)
        return Call(stream, call_id, bool(flags & Flag.HTTP), body or b"{}", headers)

    def _hand_out(self) -> None:
        if self._waiting is None or not self._pending:
            return
        connection, self._waiting = self._waiting, None
        try:
            connection.answer(200, self._pending[0].event, self._pending[0].headers)
        except OSError:
            return  # it is gone: whoever asks next gets the call
        self.call = self._pending.pop(0)

    # From the bootstrap

    def on_head(self, connection: HttpConnection, request: Request) -> None:
        """Before the body: one that is streamed goes on as it comes."""
        call = self._called(request, "response")
        mode = request.headers.get("lambda-runtime-function-response-mode", "").lower()
        if call is not None and call.answer is None and mode == "streaming":
            integration = request.headers.get("content-type", "") == INTEGRATION_TYPE
            call.answer = StreamedAnswer(call.stream, call.is_http, integration, self._send, connection)
            request.on_piece = call.answer.take

    def on_request(self, connection: HttpConnection, request: Request) -> None:
        route = (request.method, request.path)
        if route == ("GET", PREFIX + "invocation/next"):
            self._next(connection)
        elif route == ("POST", PREFIX + "init/error"):
            connection.answer(202, ACCEPTED)
            self._on_refused(_head_of(ErrorKind.IMPORT, request.headers, bytes(request.body)))
        elif call := self._called(request, "response"):
            self._respond(connection, request, call)
        elif call := self._called(request, "error"):
            self._end(connection, _error_frame(call.stream, request))
        elif request.method == "POST" and request.path.startswith(PREFIX + "invocation/"):
            connection.answer(400, _problem("InvalidRequestID", "no call with this id is open"))
        else:
            connection.answer(404, _problem("NotFound", "the Runtime API has no such path"))

    def closed(self, connection: HttpConnection) -> None:
        """The bootstrap closed a connection, perhaps in the middle of a streamed answer."""
        if self._waiting is connection:
            self._waiting = None
        if self.call is not None and self.call.answer is not None and self.call.answer.source is connection:
            message = "the bootstrap closed the connection in the middle of its answer"
            self.call.answer.fail(error_head(ErrorKind.HANDLER, "Runtime.TruncatedResponse", message))
            self._settled()

    def _next(self, connection: HttpConnection) -> None:
        if self.call is not None:
            message = "the bootstrap asked for the next call and had not answered this one"
            self._on_answered()
            self._send(_error(self.call.stream, ErrorKind.HANDLER, "Runtime.NoResponse", message))
            self._settled()
        self._waiting = connection
        self._on_asked()
        self._hand_out()

    def _called(self, request: Request, verb: str) -> Call | None:
        """The open call that the request is about."""
        call = self.call
        named = call is not None and request.path == f"{PREFIX}invocation/{call.id}/{verb}"
        return call if named and request.method == "POST" else None

    def _respond(self, connection: HttpConnection, request: Request, call: Call) -> None:
        if call.answer is not None:
            error_type = request.trailers.get("lambda-runtime-function-error-type")
            if error_type is None:
                call.answer.finish()
            else:
                body = _decoded(request.trailers.get("lambda-runtime-function-error-body", ""))
                call.answer.fail(_head_of(ErrorKind.HANDLER, request.trailers, body))
            connection.answer(202, ACCEPTED)
            self._settled()
            return
        if request.too_large:
            message = f"the answer is over the limit of {self._config.max_response_bytes} bytes"
            answer = _error(call.stream, ErrorKind.RESPONSE, "Function.ResponseSizeTooLarge", message)
            self._end(connection, answer, 413, _problem("RequestEntityTooLarge", message))
        else:
            self._end(connection, self._answer(call, bytes(request.body)))

    def _answer(self, call: Call, body: bytes) -> bytes:
        """The frame for a whole answer."""
        try:
            if not call.is_http:
                return pack_frame(Kind.RESPONSE, call.stream, b"", body or b"null")
            value = values.decode(body) if body else None
            return self._responses.pack(call.stream, value, self._config.max_response_bytes)
        except BadResponse as exc:
            return _error(call.stream, ErrorKind.RESPONSE, "Runtime.MarshalError", str(exc))
        except (ValueError, RecursionError) as exc:
            return _error(
                call.stream,
                ErrorKind.RESPONSE,
                "Runtime.MarshalError",
                f"what the bootstrap answered is not JSON: {exc}",
            )

    def _end(self, connection: HttpConnection, answer: bytes, status: int = 202, reply: bytes = ACCEPTED) -> None:
        """First what the bootstrap printed until now, then the answer: what comes later belongs to no call."""
        self._on_answered()
        self._send(answer)
        self._settled()
        connection.answer(status, reply)

    def _settled(self) -> None:
        self.call = None


def _error_frame(stream: int, request: Request) -> bytes:
    return pack_frame(Kind.ERROR, stream, _head_of(ErrorKind.HANDLER, request.headers, bytes(request.body)))


def _error(stream: int, kind: str, error_type: str, message: str) -> bytes:
    return pack_frame(Kind.ERROR, stream, error_head(kind, error_type, message))


def _head_of(kind: str, headers: dict[str, str], body: bytes) -> bytes:
    """The ERROR head of what a bootstrap reported: Lambda's fields, or whatever text it sent."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        found = {"errorMessage": body.decode("utf-8", "backslashreplace")}
    if not isinstance(found, dict):
        found = {"errorMessage": str(found)}
    named = headers.get("lambda-runtime-function-error-type", "Runtime.Unknown")
    trace = found.get("stackTrace", found.get("trace"))
    return error_head(
        kind,
        str(found.get("errorType") or named),
        str(found.get("errorMessage") or ""),
        [str(line) for line in trace] if isinstance(trace, list) else [],
    )


def _problem(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()


def _client_context(client: object) -> str:
    """As JSON on one line; the header of a REST call is base64 of that."""
    if isinstance(client, str):
        return _decoded(client).decode("latin-1").replace("\r", " ").replace("\n", " ")
    return json.dumps(client)


def _decoded(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text)
    except ValueError:
        return b""


def _trace_id(call_id: str) -> str:
    """X-Ray's form, made from the id: nothing is traced, but clients parse it."""
    digits = "".join(character for character in call_id if character in "0123456789abcdef")
    return f"Root=1-{int(time.time()):08x}-{digits[-24:]:0>24};Sampled=0"
