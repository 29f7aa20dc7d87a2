"""Errors as AWS's clients know them, and what this platform's errors are among them."""

import json
from typing import Any

from isotherm.base.errors import IsothermError
from isotherm.wire.aws_errors import aws_members, aws_name

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


def fault_of(error: IsothermError, *, nameless: bool = False) -> AwsError:
    """The AWS error that an error of this platform is; `nameless`: see `aws_name`."""
    code, status = aws_name(error, nameless=nameless)
    return AwsError(code, error.message, status, **aws_members(error))
