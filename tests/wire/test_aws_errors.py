"""Our errors by AWS's names: one table for what signs at the gateway and what asks the control APIs."""

from typing import get_args

import pytest

from isotherm.base.errors import (
    Conflict,
    FunctionFailed,
    Invalid,
    InvalidPackage,
    IsothermError,
    MalformedRequest,
    NotFound,
    SignatureRefused,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from isotherm.sigv4.model import Reason
from isotherm.wire.aws_errors import SIGNATURES, aws_members, aws_name


def test_every_reason_to_refuse_a_signature_has_a_name() -> None:
    assert set(SIGNATURES) == set(get_args(Reason))
    for reason, name in SIGNATURES.items():
        assert aws_name(SignatureRefused("no", reason=reason), nameless=True) == (name, 403)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (Unauthenticated("who?"), "UnrecognizedClientException", 403),
        (NotFound("where?"), "ResourceNotFoundException", 404),
        (TooLarge("how much?"), "RequestEntityTooLargeException", 413),
        (InvalidPackage("what?"), "InvalidParameterValueException", 400),
        (MalformedRequest("what?"), "InvalidRequestContentException", 400),
        (Invalid("what?"), "InvalidParameterValueException", 400),
        (Conflict("which?"), "ResourceConflictException", 409),
        (Unavailable("when?"), "ServiceException", 503),
    ],
)
def test_an_error_has_the_name_that_clients_look_for(error: IsothermError, code: str, status: int) -> None:
    assert aws_name(error) == (code, status)


def test_who_sends_no_key_is_told_so() -> None:
    assert aws_name(Unauthenticated("who?"), nameless=True) == ("MissingAuthenticationTokenException", 403)


def _kinds(kind: type[IsothermError]) -> list[type[IsothermError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _kinds(below))]


def test_every_error_has_a_name_and_a_status_of_its_own_side() -> None:
    for kind in _kinds(IsothermError):
        if kind is not SignatureRefused:
            code, status = aws_name(kind("said"))
            assert code.endswith("Exception")
            assert (status >= 500) == (kind.status >= 500), kind
    assert aws_name(FunctionFailed("it")).status == FunctionFailed.status


def test_a_throttled_client_hears_why_and_how_long() -> None:
    assert aws_members(TooManyRequests("slowly", retry_after_s=1.6)) == {
        "Reason": "CallerRateLimitExceeded",
        "retryAfterSeconds": "2",
    }
    assert aws_members(TooManyRequests("slowly", reason="ReservedFunctionConcurrentInvocationLimitExceeded")) == {
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"
    }
    assert aws_members(NotFound("it")) == {}
