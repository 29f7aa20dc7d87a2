"""Errors as AWS's clients read them (REST-JSON): the error's name in a header, its message in the body.

Who signs, or sends nothing at all to one of Lambda's paths, gets this form; holders of a bearer key, and our own API,
get problem objects.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from isotherm.base.errors import (
    Forbidden,
    Invalid,
    IsothermError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    SignatureRefused,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    UnsupportedMediaType,
)
from isotherm.gateway.request import Request
from isotherm.sigv4.model import Reason
from isotherm.sigv4.parsing import is_signed

__all__ = ["AwsForm", "aws_form", "wants_aws_form"]

lambda_path = re.compile(rb"/20[0-9]{2}-[0-9]{2}-[0-9]{2}/")  # each of Lambda's paths begins with a date

SIGNATURES: Final[Mapping[Reason, str]] = {
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
NAMES: Final[tuple[tuple[type[IsothermError], str, int], ...]] = (
    (Unauthenticated, "MissingAuthenticationTokenException", 403),
    (Forbidden, "AccessDeniedException", 403),
    (NotFound, "ResourceNotFoundException", 404),
    (MethodNotAllowed, "UnknownOperationException", 404),
    (RequestTimeout, "RequestTimeoutException", 408),
    (TooLarge, "RequestTooLargeException", 413),
    (UnsupportedMediaType, "UnsupportedMediaTypeException", 415),
    (TooManyRequests, "TooManyRequestsException", 429),
    (MalformedRequest, "InvalidRequestContentException", 400),
    (Invalid, "InvalidParameterValueException", 400),
)


class AwsForm(msgspec.Struct, frozen=True):
    """An error's status, name and body."""

    status: int
    name: str
    body: bytes


def wants_aws_form(request: Request, own_paths: tuple[bytes, ...]) -> bool:
    """Whether an error in answer to this request has AWS's form. `own_paths`: where it never has."""
    if own_paths and request.url.startswith(own_paths):
        return False
    authorization = request.header(b"authorization")
    if is_signed(request.url, authorization):
        return True
    return bool(own_paths) and authorization is None and lambda_path.match(request.url) is not None


def aws_form(error: IsothermError) -> AwsForm:
    """The error by the name that AWS has for it."""
    name, status = next(((name, status) for kind, name, status in NAMES if isinstance(error, kind)), ("", 0))
    if isinstance(error, SignatureRefused):
        name = SIGNATURES[error.data["reason"]]
    status = status or error.status
    kind = "User" if status < 500 else "Service"
    members = {"Type": kind, "message": error.message, "Message": error.message}
    if isinstance(error, TooManyRequests):
        members["Reason"] = "CallerRateLimitExceeded"
    return AwsForm(
        status,
        name or ("ServiceException" if status >= 500 else "InvalidParameterValueException"),
        msgspec.json.encode(members),
    )
