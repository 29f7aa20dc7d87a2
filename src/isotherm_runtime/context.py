"""The context object of Lambda: what a handler gets as its second argument."""

from __future__ import annotations

import base64
import binascii
import json
import time

from isotherm_runtime.config import RuntimeConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from isotherm_runtime.body import AsyncBody, Body

__all__ = ["Context", "context_class"]

_monotonic = time.monotonic


class Identity:
    """No Cognito here; the fields are there for code that reads them."""

    cognito_identity_id = None
    cognito_identity_pool_id = None


class Client:
    """The app's part of a client context."""

    def __init__(self, fields: dict[str, object]) -> None:
        self.installation_id = fields.get("installation_id")
        self.app_title = fields.get("app_title")
        self.app_version_name = fields.get("app_version_name")
        self.app_version_code = fields.get("app_version_code")
        self.app_package_name = fields.get("app_package_name")


class ClientContext:
    def __init__(self, fields: dict[str, object]) -> None:
        client = fields.get("client")
        self.client = Client(client if isinstance(client, dict) else {})
        self.custom = fields.get("custom")
        self.env = fields.get("env")


class Context:
    """One per call. What is the same for all calls stands on a subclass, see `context_class`."""

    function_name: str
    function_version: str
    invoked_function_arn: str
    memory_limit_in_mb: str
    log_group_name: str
    log_stream_name: str
    identity = Identity()
    client_context: ClientContext | None = None
    body: Body | AsyncBody | None = None  # the request's body, where the manifest says request_body = "stream"

    def __init__(self, request_id: str, deadline: float) -> None:
        self.aws_request_id = request_id
        self._deadline = deadline  # of time.monotonic()

    def call_by(self, qualifier: str, version: str | None = None) -> None:
        """The call named an alias or a version, which is `version`."""
        self.invoked_function_arn = f"{self.invoked_function_arn}:{qualifier}"
        if version is not None:
            self.function_version = version

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the call is ended; never below 0."""
        return max(0, int((self._deadline - _monotonic()) * 1000))

    def log(self, message: object) -> None:
        """Lambda's old way to write a log line."""
        print(message)  # noqa: T201 - goes to the call's log

    def __repr__(self) -> str:
        return f"LambdaContext([aws_request_id={self.aws_request_id},function_name={self.function_name}])"


def context_class(config: RuntimeConfig) -> type[Context]:
    """The class of all contexts of this function, so that a call sets two attributes and not nine."""
    day = time.strftime("%Y/%m/%d", time.gmtime())
    values = {
        "function_name": config.function_name,
        "function_version": config.function_version,
        "invoked_function_arn": config.function_arn,
        "memory_limit_in_mb": str(config.memory_mb),
        "log_group_name": f"/aws/lambda/{config.function_name}",
        "log_stream_name": f"{day}/[{config.function_version}]{binascii.hexlify(_random(16)).decode()}",
    }
    return type("LambdaContext", (Context,), values)


def client_context(value: object) -> ClientContext | None:
    """From a JSON object, or from the header's base64 of one; None where it is neither."""
    if isinstance(value, str):
        try:
            value = json.loads(base64.b64decode(value, validate=True))
        except ValueError:
            return None
    return ClientContext(value) if isinstance(value, dict) else None


def _random(size: int) -> bytes:
    import os

    return os.urandom(size)
