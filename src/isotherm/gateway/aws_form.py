"""Errors as AWS's clients read them (REST-JSON): the error's name in a header, its message in the body.

Who signs, or sends nothing at all to one of Lambda's paths, gets this form; holders of a bearer key, and our own API,
get problem objects.
"""

import re

import msgspec

from isotherm.base.errors import IsothermError
from isotherm.gateway.request import Request
from isotherm.sigv4.parsing import is_signed
from isotherm.wire.aws_errors import aws_members, aws_name

__all__ = ["AwsForm", "aws_form", "wants_aws_form"]

lambda_path = re.compile(rb"/20[0-9]{2}-[0-9]{2}-[0-9]{2}/")  # each of Lambda's paths begins with a date


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
    """The error by the name that AWS has for it. Who comes with a key that is no signature gets problem objects, so
    one that is not authenticated here has sent nothing."""
    name, status = aws_name(error, nameless=True)
    kind = "User" if status < 500 else "Service"
    members = {"Type": kind, "message": error.message, "Message": error.message} | aws_members(error)
    members.pop("retryAfterSeconds", None)  # travels as a header
    return AwsForm(status, name, msgspec.json.encode(members))
