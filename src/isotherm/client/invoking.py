"""Lambda's Invoke and InvokeWithResponseStream: requests for them, and what their answers mean. No I/O."""

import base64
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from isotherm.base.errors import FunctionFailed, HandlerFailed, IsothermError, TimedOut, all_errors
from isotherm.client.model import Answer
from isotherm.client.request import JSON_TYPE, UNREADABLE, Request, encoded, given, segment
from isotherm.client.session import Reply

__all__ = [
    "CALL_S",
    "InvocationType",
    "StreamEnd",
    "answer_of",
    "failure_of",
    "invoke_request",
    "stream_end",
    "stream_request",
]

CALL_S = 960.0  # a call may run 900 s and wait in a queue before
InvocationType = Literal["RequestResponse", "Event", "DryRun"]


class StreamEnd(msgspec.Struct, frozen=True):
    """The last event of a streamed answer."""

    log: str | None
    failure: IsothermError | None


def invoke_request(
    namespace: str,
    name: str,
    event: Any,
    kind: InvocationType,
    *,
    qualifier: str | None,
    tail: bool,
    client_context: Any,
    timeout_s: float,
) -> Request:
    """Not repeatable: the call may have begun."""
    return Request(
        method="POST",
        path=f"/2015-03-31/functions/{_scoped(namespace, name)}/invocations",
        params=given(Qualifier=qualifier),
        headers=_headers(tail, client_context) | {"X-Amz-Invocation-Type": kind},
        content=encoded({} if event is None else event),
        timeout_s=timeout_s,
    )


def stream_request(
    namespace: str,
    name: str,
    event: Any,
    *,
    qualifier: str | None,
    tail: bool,
    client_context: Any,
    timeout_s: float,
) -> Request:
    """The same, to be answered in pieces."""
    return Request(
        method="POST",
        path=f"/2021-11-15/functions/{_scoped(namespace, name)}/response-streaming-invocations",
        params=given(Qualifier=qualifier),
        headers=_headers(tail, client_context),
        content=encoded({} if event is None else event),
        timeout_s=timeout_s,
    )


def answer_of(reply: Reply) -> Answer:
    headers = reply.headers
    return Answer(
        status=reply.status,
        payload=reply.content,
        version=headers.get("x-amz-executed-version", ""),
        error=headers.get("x-amz-function-error"),
        request_id=headers.get("x-amzn-requestid", ""),
        timing=headers.get("server-timing", ""),
        log=_log(headers.get("x-amz-log-result")),
    )


def failure_of(payload: bytes, request_id: str) -> IsothermError:
    """Lambda's error body as an error: by its code where the platform says what happened, else `HandlerFailed`."""
    try:
        body = msgspec.json.decode(payload)
    except UNREADABLE:
        body = None
    fields = body if isinstance(body, dict) else {"errorMessage": payload.decode("utf-8", "replace")}
    return _failure(fields, request_id)


def stream_end(payload: bytes) -> StreamEnd:
    """Raises `IsothermError` where it cannot be read."""
    try:
        fields = msgspec.json.decode(payload, type=dict[str, str])
        details = msgspec.json.decode(fields.get("ErrorDetails") or "{}", type=dict[str, Any])
    except UNREADABLE as exc:
        raise IsothermError(f"the end of the streamed answer cannot be read: {exc}") from exc
    log = _log(fields.get("LogResult"))
    if "ErrorCode" not in fields:
        return StreamEnd(log, None)
    return StreamEnd(log, _failure({"errorType": fields["ErrorCode"]} | details, str(details.get("requestId") or "")))


def _failure(fields: Mapping[str, Any], request_id: str) -> IsothermError:
    kind, message = str(fields.get("errorType", "Error")), str(fields.get("errorMessage", ""))
    known = all_errors().get(kind, HandlerFailed)
    if not issubclass(known, (FunctionFailed, TimedOut)):
        known = HandlerFailed  # a function may call its errors as it likes
    error = known(
        f"{kind}: {message}",
        error_type=kind,
        error_message=message,
        stack_trace=fields.get("stackTrace") or [],
    )
    error.request_id = request_id or None
    return error


def _scoped(namespace: str, name: str) -> str:
    """The name of a function in Lambda's paths, in this namespace unless it says another."""
    return segment(name if "/" in name or name.startswith("arn:") else f"{namespace}/{name}")


def _headers(tail: bool, client_context: Any) -> dict[str, str]:
    headers = {"Content-Type": JSON_TYPE}
    if tail:
        headers["X-Amz-Log-Type"] = "Tail"
    if client_context is not None:
        headers["X-Amz-Client-Context"] = base64.b64encode(encoded(client_context)).decode()
    return headers


def _log(encoded_log: str | None) -> str | None:
    return base64.b64decode(encoded_log).decode("utf-8", "replace") if encoded_log else None
