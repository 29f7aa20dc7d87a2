"""Answers requests on one client connection. It is itself the sink of its calls: one is under way at a time.

`answered` is the hot path and is measured.
"""

import base64
import json
from collections.abc import Callable
from typing import Protocol

from isotherm.base.errors import InvalidResponse, IsothermError
from isotherm.gateway.aws_form import wants_aws_form
from isotherm.gateway.download import Download, Gathered, Paced
from isotherm.gateway.eventing import OF_THE_FUNCTION, EventAnswer
from isotherm.gateway.messages import (
    BYTES_HEAD,
    JSON_HEAD,
    HeadCache,
    ResponseHead,
    aws_response,
    problem_response,
    status_line,
)
from isotherm.gateway.plan import Plan
from isotherm.gateway.reader import Port, RequestReader
from isotherm.gateway.request import Request
from isotherm.pool.call import Answer, Call, StreamSink
from isotherm.pool.outcome import TAIL_BYTES
from isotherm.pool.revision import RevisionPool
from isotherm.wire.eventstream import CONTENT_TYPE

__all__ = ["ClientConnection", "ServingPort"]

NO_CONTENT = status_line(204)
EVENTS = ResponseHead(200, f"{status_line(200)}content-type: {CONTENT_TYPE}\r\n")
BYTES = ResponseHead(200, BYTES_HEAD)


class ServingPort(Port, Protocol):
    """A port, as far as answering needs it."""

    date: str
    heads: HeadCache
    draining: bool
    own_paths: tuple[bytes, ...]  # where errors are problem objects for everyone
    refused: dict[int, int]  # answers with an error of the gateway's own, by status
    new_id: Callable[[], str]

    def serve(self, connection: "ClientConnection", request: Request) -> None:
        """Answer the request, now or later. Raises `IsothermError` where it is refused."""


class ClientConnection(RequestReader):
    """One client."""

    def __init__(self, port: ServingPort) -> None:
        super().__init__(port)
        self._port = port
        self.call: Call | None = None
        self.plan: Plan | None = None
        self.revision: RevisionPool | None = None
        self.request_id = ""
        self.on_left: Callable[[], None] | None = None  # what else to end when the client goes
        self.download: Paced | None = None  # the answer that is on its way in pieces

    # -- RequestReader -----------------------------------------------------------------------------------------------

    def start(self, request: Request) -> None:
        try:
            if request.error is not None:
                raise request.error
            self._port.serve(self, request)
        except IsothermError as error:
            self.reply_error(error)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.download is not None:
            self.download.resume()

    def left(self) -> None:
        call, self.call = self.call, None
        self.download = None
        if call is not None and self.revision is not None:
            self.revision.abandon(call)
        if self.on_left is not None:
            self.on_left()
            self.on_left = None

    # -- answers -----------------------------------------------------------------------------------------------------

    def answered(self, call: Call, flags: int, head: bytes, body: bytes, now_s: float) -> int:
        """The function answered. Raises `InvalidResponse` before anything is written."""
        request = self.current
        plan = self.plan
        if request is None or plan is None:
            return 0
        status = 200
        text = JSON_HEAD
        bodyless = False
        if flags & 1 and head:
            if plan.invoke:  # tenants' headers have no place on this origin
                raise InvalidResponse("the instance answered an Invoke with a status and headers of its own")
            known = self._port.heads.get(head)
            text = known.text
            status = known.status
            bodyless = known.bodyless
        run_ms = (now_s - call.sent_s) * 1000.0
        if call.sent_s == call.arrived_s:
            timing = f"queue;dur=0.00, start;dur=0.00, run;dur={run_ms:.2f}"
        else:
            queue_ms, start_ms = call.waited_ms()
            timing = f"queue;dur={queue_ms:.2f}, start;dur={start_ms:.2f}, run;dur={run_ms:.2f}"
        length = "" if bodyless else f"content-length: {len(body)}\r\n"
        extra = ""
        if plan.invoke or not request.keep_alive or request.http10 or self._port.draining:
            extra = self._extra(call, plan, request, run_ms)
        out = (
            f"{text}{length}{self._port.date}x-amzn-requestid: {call.id}\r\nserver-timing: {timing}\r\n{extra}\r\n"
        ).encode("latin-1")
        self.call = None
        self.transport.write(out if bodyless or plan.head_only else out + body)
        self.done()
        return status

    def begun(self, call: Call, answer: Answer, flags: int, head: bytes, now_s: float) -> StreamSink | None:
        """The function answers in pieces. Raises `InvalidResponse` before anything is written."""
        request, plan = self.current, self.plan
        if request is None or plan is None:
            return None
        if plan.invoke:
            if flags & 1:
                raise InvalidResponse("the instance answered an Invoke with a status and headers of its own")
            return Gathered(self, answer, self._port.limits.max_body_bytes)
        known = self._port.heads.get(head) if flags & 1 and head else BYTES
        bodyless = known.bodyless or plan.head_only
        chunked = self._open_stream(call, request, known, _timing(call, now_s), bodyless=bodyless)
        if bodyless:
            self.finish()  # the rest would be for nobody
            return None
        self.download = Download(self, answer, known.status, known.length, chunked=chunked)
        return self.download

    def events(self) -> EventAnswer:
        """Who waits for an InvokeWithResponseStream."""
        answer = EventAnswer(self, self._open_events, self._error_body, self._log_of)
        self.download = answer
        return answer

    def send(self, *parts: bytes) -> None:
        """See `download.Client`."""
        self.transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def finish(self) -> None:
        """See `download.Client`."""
        self.call = self.download = None
        self.done()

    def cut(self, *, at_once: bool) -> None:
        """See `download.Client`."""
        self.call = self.download = None
        self.closing = True
        if at_once:
            self.transport.abort()
        else:
            self.transport.close()  # what was written still goes out

    def reply_gathered(self, call: Call, body: bytes, now_s: float) -> int:
        """See `download.Client`."""
        self.call = None
        return self._reply_invoke(call, BYTES_HEAD, body, now_s)

    def failed(self, call: Call, error: IsothermError, now_s: float) -> int:
        """The call failed: a problem, or on Invoke Lambda's error object for what the handler raised."""
        self.call = self.download = None
        plan = self.plan
        if self.current is None or plan is None:
            return error.status
        if plan.invoke and (
            error.code in ("handler_failed", "invalid_response")
            or (error.code in OF_THE_FUNCTION and wants_aws_form(self.current, self._port.own_paths))
        ):
            return self._function_error(call, error, now_s)
        self.request_id = call.id
        return self.reply_error(error if plan.show_trace else _without_trace(error), _timing(call, now_s))

    def reply(self, status_and_headers: str, body: bytes = b"") -> None:
        """Send a response of the gateway's own, and go on to the next request."""
        request = self.current
        if request is None:
            return
        length = "" if status_and_headers.startswith(NO_CONTENT) else f"content-length: {len(body)}\r\n"
        head = (
            f"{status_and_headers}{length}{self._port.date}"
            f"x-amzn-requestid: {self.request_id or self._port.new_id()}\r\n{self._ending(request)}\r\n"
        ).encode("latin-1")
        self.request_id = ""
        self.transport.write(head if request.method == b"HEAD" else head + body)
        self.done()

    def reply_error(self, error: IsothermError, headers: str = "") -> int:
        """Send an error as the answer to the current request, with `headers` beside its own."""
        request = self.current
        if request is None or self.transport.is_closing():
            return error.status
        if self._port.draining:
            request.keep_alive = False
        if not self.request_id:
            self._port.refused[error.status] = self._port.refused.get(error.status, 0) + 1
        response = aws_response if wants_aws_form(request, self._port.own_paths) else problem_response
        self.transport.write(
            response(
                error,
                self.request_id or self._port.new_id(),
                keep_alive=request.keep_alive,
                head_only=request.method == b"HEAD",
                headers=headers,
            )
        )
        self.request_id = ""
        self.done()
        return error.status

    # -- inside ------------------------------------------------------------------------------------------------------

    def _ending(self, request: Request) -> str:
        if self._port.draining:
            request.keep_alive = False
        if not request.keep_alive:
            return "connection: close\r\n"
        return "connection: keep-alive\r\n" if request.http10 else ""

    def _extra(self, call: Call, plan: Plan, request: Request, run_ms: float) -> str:
        """The headers that only some answers have."""
        extra = self._ending(request)
        if plan.invoke and self.revision is not None:
            extra += f"x-amz-executed-version: {self.revision.spec.number}\r\n"
            if call.tail is not None:
                extra += f"x-amz-log-result: {_log_result(call, self.revision, run_ms)}\r\n"
        return extra

    def _function_error(self, call: Call, error: IsothermError, now_s: float) -> int:
        body = json.dumps(self._error_body(call, error)).encode()
        return self._reply_invoke(call, f"{JSON_HEAD}x-amz-function-error: Unhandled\r\n", body, now_s)

    def _error_body(self, call: Call, error: IsothermError) -> dict[str, object]:
        """Lambda's error object."""
        show_trace = self.plan is not None and self.plan.show_trace
        return {
            "errorMessage": error.data.get("error_message") or error.message,
            "errorType": error.data.get("error_type") or error.code,
            "requestId": call.id,
            "stackTrace": error.data.get("stack_trace", []) if show_trace else [],
        }

    def _open_stream(
        self, call: Call, request: Request, head: ResponseHead, extra: str, *, bodyless: bool = False
    ) -> bool:
        """Send the head of an answer in pieces; whether its body goes in chunks."""
        chunked = head.length is None and not request.http10 and not bodyless
        if head.length is None and request.http10 and not bodyless:
            request.keep_alive = False
        framing = "transfer-encoding: chunked\r\n" if chunked else ""
        if head.length is not None and not head.bodyless:
            framing = f"content-length: {head.length}\r\n"
        self.send(
            f"{head.text}{framing}{self._port.date}x-amzn-requestid: {call.id}\r\n{extra}"
            f"{self._ending(request)}\r\n".encode("latin-1")
        )
        return chunked

    def _open_events(self, call: Call, now_s: float) -> bool:
        assert self.current is not None
        assert self.revision is not None
        extra = f"{_timing(call, now_s)}x-amz-executed-version: {self.revision.spec.number}\r\n"
        return self._open_stream(call, self.current, EVENTS, extra)

    def _log_of(self, call: Call, now_s: float) -> str | None:
        """The end of the call's log, where it was asked for."""
        if call.tail is None or self.revision is None:
            return None
        return _log_result(call, self.revision, (now_s - call.sent_s) * 1000.0)

    def _reply_invoke(self, call: Call, head: str, body: bytes, now_s: float) -> int:
        """Answer an Invoke off the hot path."""
        request = self.current
        if request is None or self.plan is None:
            return 0
        self.request_id = call.id
        extra = self._extra(call, self.plan, request, (now_s - call.sent_s) * 1000.0)
        extra = extra.replace("connection: close\r\n", "").replace("connection: keep-alive\r\n", "")
        self.reply(f"{head}{_timing(call, now_s)}{extra}", body)
        return 200


def _timing(call: Call, now_s: float) -> str:
    """The header that says where the time of a call went that failed; one that was never sent waited all of it."""
    queue_ms, start_ms = call.waited_ms() if call.sent_s else ((now_s - call.arrived_s) * 1000.0, 0.0)
    run_ms = (now_s - call.sent_s) * 1000.0 if call.sent_s else 0.0
    return f"server-timing: queue;dur={queue_ms:.2f}, start;dur={start_ms:.2f}, run;dur={run_ms:.2f}\r\n"


def _without_trace(error: IsothermError) -> IsothermError:
    """The same error for someone who may not see the code's inside."""
    if "stack_trace" in error.data:
        error.data = {name: value for name, value in error.data.items() if name != "stack_trace"}
    return error


def _log_result(call: Call, revision: RevisionPool, run_ms: float) -> str:
    """The last 4 KB of the call's log in base64, framed by the lines that Lambda writes."""
    number = revision.spec.number
    text = b"".join(call.tail or [])
    start = f"START RequestId: {call.id} Version: {number}\n".encode()
    end = (
        f"END RequestId: {call.id}\nREPORT RequestId: {call.id}\tDuration: {run_ms:.2f} ms\t"
        f"Memory Size: {revision.spec.memory_mb} MB\n"
    ).encode()
    room = TAIL_BYTES - len(end)
    return base64.b64encode((start + text)[-room:] + end).decode()
