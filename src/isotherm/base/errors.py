"""The error tree. Every failure that a caller can see is one of these.

    IsothermError                     internal               500  exit 70
    ├── Invalid                       invalid                400  exit 64
    │   ├── InvalidManifest           invalid_manifest       400  exit 78
    │   ├── InvalidPackage            invalid_package        400  exit 65
    │   └── MalformedRequest          malformed_request      400  exit 64
    ├── Unauthenticated               unauthenticated        401  exit 77
    │   └── SignatureRefused          signature_refused      401  exit 77
    ├── Forbidden                     forbidden              403  exit 77
    ├── NotFound                      not_found              404  exit 66
    ├── MethodNotAllowed              method_not_allowed     405  exit 64
    ├── RequestTimeout                request_timeout        408  exit 75
    ├── Conflict                      conflict               409  exit 73
    │   └── RolledBack                rolled_back            409  exit 1
    ├── PreconditionFailed            precondition_failed    412  exit 73
    ├── TooLarge                      too_large              413  exit 65
    ├── UnsupportedMediaType          unsupported_media_type 415  exit 65
    ├── PreconditionRequired          precondition_required  428  exit 73
    ├── TooManyRequests               too_many_requests      429  exit 75
    ├── HeadersTooLarge               headers_too_large      431  exit 65
    ├── BuildFailed                   build_failed           422  exit 65
    ├── FunctionFailed                function_failed        502  exit 1
    │   ├── HandlerFailed             handler_failed         502  exit 1
    │   ├── ImportFailed              import_failed          502  exit 65
    │   ├── OutOfMemory               out_of_memory          502  exit 1
    │   ├── InstanceCrashed           instance_crashed       502  exit 1
    │   └── InvalidResponse           invalid_response       502  exit 1
    ├── TimedOut                      timed_out              504  exit 75
    ├── Unavailable                   unavailable            503  exit 69
    └── NotIsolated                   not_isolated           422  exit 69

On the wire an error is `application/problem+json` (RFC 9457) with `code` and the data that caused it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = [
    "BuildFailed",
    "Conflict",
    "Forbidden",
    "FunctionFailed",
    "HandlerFailed",
    "HeadersTooLarge",
    "ImportFailed",
    "InstanceCrashed",
    "Invalid",
    "InvalidManifest",
    "InvalidPackage",
    "InvalidResponse",
    "IsothermError",
    "MalformedRequest",
    "MethodNotAllowed",
    "NotFound",
    "NotIsolated",
    "OutOfMemory",
    "PreconditionFailed",
    "PreconditionRequired",
    "RequestTimeout",
    "RolledBack",
    "SignatureRefused",
    "TimedOut",
    "TooLarge",
    "TooManyRequests",
    "Unauthenticated",
    "Unavailable",
    "UnsupportedMediaType",
    "all_errors",
    "error_from_problem",
]

type_prefix = "https://isotherm.dev/errors/"


class IsothermError(Exception):
    """The root. `message` says what was wrong, where, and what to do; `data` is what caused it (JSON values)."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 70
    title: ClassVar[str] = "Internal error"

    def __init__(self, message: str, /, *, retry_after_s: float | None = None, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.data: dict[str, Any] = data
        self.request_id: str | None = None  # of the request that ended with it, where another process said so

    def problem(self, instance: str | None = None) -> dict[str, Any]:
        """The RFC 9457 object. `instance` is the request id, where there is one."""
        body: dict[str, Any] = {
            "type": type_prefix + self.code,
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.message,
        }
        if instance or self.request_id:
            body["instance"] = instance or self.request_id
        if self.data:
            body["data"] = self.data
        if self.retry_after_s is not None:
            body["retry_after_s"] = self.retry_after_s
        return body


class Invalid(IsothermError):
    code, status, exit_code, title = "invalid", 400, 64, "Invalid input"


class InvalidManifest(Invalid):
    code, exit_code, title = "invalid_manifest", 78, "Invalid isotherm.toml"


class InvalidPackage(Invalid):
    code, exit_code, title = "invalid_package", 65, "Invalid package"


class MalformedRequest(Invalid):
    code, title = "malformed_request", "Malformed request"


class Unauthenticated(IsothermError):
    code, status, exit_code, title = "unauthenticated", 401, 77, "A key is needed"


class SignatureRefused(Unauthenticated):
    """An AWS signature that does not count; `data["reason"]` says why in a word (`sigv4.model.Reason`)."""

    code, title = "signature_refused", "The signature does not count"


class Forbidden(IsothermError):
    code, status, exit_code, title = "forbidden", 403, 77, "Not allowed"


class NotFound(IsothermError):
    code, status, exit_code, title = "not_found", 404, 66, "Not found"


class MethodNotAllowed(IsothermError):
    code, status, exit_code, title = "method_not_allowed", 405, 64, "Method not allowed"


class RequestTimeout(IsothermError):
    """The client did not send its request in time."""

    code, status, exit_code, title = "request_timeout", 408, 75, "The request came too slowly"


class Conflict(IsothermError):
    code, status, exit_code, title = "conflict", 409, 73, "Conflict"


class RolledBack(Conflict):
    """A rollout that somebody waited for went back; `data` has the rule that fired and what it saw."""

    code, exit_code, title = "rolled_back", 1, "The rollout was rolled back"


class PreconditionFailed(IsothermError):
    code, status, exit_code, title = "precondition_failed", 412, 73, "It changed meanwhile"


class TooLarge(IsothermError):
    code, status, exit_code, title = "too_large", 413, 65, "Too large"


class UnsupportedMediaType(IsothermError):
    code, status, exit_code, title = "unsupported_media_type", 415, 65, "Unsupported media type"


class BuildFailed(IsothermError):
    """Dependencies could not be installed; `data["log"]` is the end of the installer's output."""

    code, status, exit_code, title = "build_failed", 422, 65, "The build failed"


class NotIsolated(IsothermError):
    """This host cannot isolate what was deployed, and the operator did not pass --allow-unisolated."""

    code, status, exit_code, title = "not_isolated", 422, 69, "This host cannot isolate it"


class PreconditionRequired(IsothermError):
    code, status, exit_code, title = "precondition_required", 428, 73, "If-Match is needed"


class TooManyRequests(IsothermError):
    """A rate, a queue or an instance limit; `retry_after_s` is set."""

    code, status, exit_code, title = "too_many_requests", 429, 75, "Too many requests"


class HeadersTooLarge(IsothermError):
    code, status, exit_code, title = "headers_too_large", 431, 65, "Headers too large"


class FunctionFailed(IsothermError):
    """The user's code, not the platform, failed; the root of what a caller sees as 502."""

    code, status, exit_code, title = "function_failed", 502, 1, "The function failed"


class HandlerFailed(FunctionFailed):
    """The handler raised; `data` has `error_type`, `error_message` and `stack_trace` (Lambda's shape)."""

    code, title = "handler_failed", "The handler raised an exception"


class ImportFailed(FunctionFailed):
    """The handler's module could not be imported; `data` has the same fields as `HandlerFailed`."""

    code, exit_code, title = "import_failed", 65, "The handler could not be imported"


class OutOfMemory(FunctionFailed):
    code, title = "out_of_memory", "The instance ran out of memory"


class InstanceCrashed(FunctionFailed):
    """The instance ended during the call; `data` has `exit_status` or `signal`."""

    code, title = "instance_crashed", "The instance ended during the call"


class InvalidResponse(FunctionFailed):
    code, title = "invalid_response", "The function's answer is not valid"


class Unavailable(IsothermError):
    """Nobody can do it now. `data` has `begun` false where it is certain that nothing was begun."""

    code, status, exit_code, title = "unavailable", 503, 69, "Not available now"


class TimedOut(IsothermError):
    """The call ran longer than its time limit."""

    code, status, exit_code, title = "timed_out", 504, 75, "Timed out"


def all_errors() -> dict[str, type[IsothermError]]:
    """Every error by its code: the whole tree below and with the root."""
    found: dict[str, type[IsothermError]] = {}
    rest: list[type[IsothermError]] = [IsothermError]
    while rest:
        kind = rest.pop()
        found[kind.code] = kind
        rest += kind.__subclasses__()
    return found


def error_from_problem(problem: Mapping[str, Any]) -> IsothermError:
    """The error that a problem object stands for; an unknown code becomes the root."""
    kind = all_errors().get(str(problem.get("code")), IsothermError)
    data = problem.get("data")
    retry = problem.get("retry_after_s")
    instance = problem.get("instance")
    found = kind(
        str(problem.get("detail") or problem.get("title") or "unknown error"),
        retry_after_s=retry if isinstance(retry, (int, float)) else None,
        **(data if isinstance(data, dict) else {}),
    )
    found.request_id = instance if isinstance(instance, str) else None
    return found
