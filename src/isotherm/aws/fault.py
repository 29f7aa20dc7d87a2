"""Errors as AWS's clients know them, and what this platform's errors are among them."""

import json
from collections.abc import Mapping
from typing import Any

from isotherm.base.errors import (
    Conflict,
    Forbidden,
    Invalid,
    InvalidPackage,
    IsothermError,
    NotFound,
    PreconditionFailed,
    RequestTimeout,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)

__all__ = ["AwsError", "fault_of"]


class AwsError(Exception):
    """An error by its AWS name. `status` is that of the service's model where the model has the error."""

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members  # of the error's shape, beside its message and type

    @property
    def kind(self) -> str:
        return "User" if self.status < 500 else "Service"

    def body(self) -> bytes:
        """What clients read where the service's model does not know the error."""
        return json.dumps({"Type": self.kind, "message": self.message, "Message": self.message}).encode()


_by_kind: tuple[tuple[type[IsothermError], str, int], ...] = (
    (InvalidPackage, "InvalidParameterValueException", 400),
    (TooLarge, "RequestEntityTooLargeException", 413),
    (Invalid, "InvalidParameterValueException", 400),
    (Unauthenticated, "UnrecognizedClientException", 403),
    (Forbidden, "AccessDeniedException", 403),
    (NotFound, "ResourceNotFoundException", 404),
    (PreconditionFailed, "PreconditionFailedException", 412),
    (Conflict, "ResourceConflictException", 409),
    (TooManyRequests, "TooManyRequestsException", 429),
    (RequestTimeout, "RequestTimeoutException", 408),
    (Unavailable, "ServiceException", 503),
)


def fault_of(error: IsothermError, names: Mapping[str, str] | None = None) -> AwsError:
    """The AWS error that an error of this platform is; `names`: other names, by the error's code."""
    code, status = next(
        ((name, number) for kind, name, number in _by_kind if isinstance(error, kind)), ("ServiceException", 500)
    )
    members: dict[str, Any] = {}
    if isinstance(error, TooManyRequests):
        members["Reason"] = "CallerRateLimitExceeded"
        if error.retry_after_s is not None:
            members["retryAfterSeconds"] = str(max(1, round(error.retry_after_s)))
    return AwsError((names or {}).get(error.code, code), error.message, status, **members)
