"""This platform's errors by the names and statuses that AWS's clients know them by.

One table for both wings: the gateway refuses signed requests with it, the control APIs whatever an operation raises.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from isotherm.base.errors import (
    Conflict,
    Forbidden,
    Invalid,
    IsothermError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    RequestTimeout,
    SignatureRefused,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    UnsupportedMediaType,
)

__all__ = ["SIGNATURES", "AwsName", "aws_members", "aws_name"]

SIGNATURES: Final[Mapping[str, str]] = {  # by `SignatureRefused.data["reason"]`
    "incomplete": "IncompleteSignatureException",
    "unknown_key": "UnrecognizedClientException",
    "session_token": "UnrecognizedClientException",
    "scope": "InvalidSignatureException",
    "unsigned_header": "InvalidSignatureException",
    "early": "InvalidSignatureException",
    "expired": "InvalidSignatureException",
    "mismatch": "InvalidSignatureException",
    "payload": "InvalidSignatureException",
}
_names: Final[tuple[tuple[type[IsothermError], str, int], ...]] = (  # the first that fits
    (Unauthenticated, "UnrecognizedClientException", 403),
    (Forbidden, "AccessDeniedException", 403),
    (NotFound, "ResourceNotFoundException", 404),
    (MethodNotAllowed, "UnknownOperationException", 404),
    (RequestTimeout, "RequestTimeoutException", 408),
    (TooLarge, "RequestEntityTooLargeException", 413),
    (UnsupportedMediaType, "UnsupportedMediaTypeException", 415),
    (PreconditionFailed, "PreconditionFailedException", 412),
    (Conflict, "ResourceConflictException", 409),
    (TooManyRequests, "TooManyRequestsException", 429),
    (MalformedRequest, "InvalidRequestContentException", 400),
    (Invalid, "InvalidParameterValueException", 400),
)


class AwsName(NamedTuple):
    code: str
    status: int


def aws_name(error: IsothermError, *, nameless: bool = False) -> AwsName:
    """`nameless`: the request says in no way who sends it, which AWS calls by another name than a key that is wrong."""
    if isinstance(error, SignatureRefused):
        return AwsName(SIGNATURES[error.data["reason"]], 403)
    if nameless and isinstance(error, Unauthenticated):
        return AwsName("MissingAuthenticationTokenException", 403)
    for kind, code, status in _names:
        if isinstance(error, kind):
            return AwsName(code, status)
    status = error.status
    return AwsName("ServiceException" if status >= 500 else "InvalidParameterValueException", status)


def aws_members(error: IsothermError) -> dict[str, Any]:
    """What the error has beside its type and message."""
    if not isinstance(error, TooManyRequests):
        return {}
    members = {"Reason": str(error.data.get("reason") or "CallerRateLimitExceeded")}
    if error.retry_after_s is not None:
        members["retryAfterSeconds"] = str(max(1, round(error.retry_after_s)))
    return members
