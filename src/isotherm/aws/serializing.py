"""From an operation's output, or an error, to an HTTP response, by the model."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import msgspec

from isotherm.aws.fault import AwsError
from isotherm.aws.service_model import ServiceModel

__all__ = ["HttpAnswer", "error_answer", "output_answer"]

_json = "application/json"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def output_answer(operation: Any, output: Mapping[str, Any]) -> HttpAnswer:
    """Raises `KeyError` on a member that the model does not know, `TypeError` on a value of another type."""
    status = int(operation.http.get("responseCode", 200))
    shape = operation.output_shape
    if shape is None:
        if output:
            raise KeyError(f"{operation.name} has no output")
        return HttpAnswer(status, {})
    return _answer(shape, output, status)


def error_answer(model: ServiceModel, operation: Any, error: AwsError) -> HttpAnswer:
    """With the status and the members that the model gives the error; one that it does not know stays as it is."""
    shape = next((each for each in operation.error_shapes if each.name == error.code), None) if operation else None
    headers = {"x-amzn-ErrorType": error.code}
    if shape is None:
        return HttpAnswer(error.status, {"content-type": _json, **headers}, error.body())
    status = int(shape.metadata.get("error", {}).get("httpStatusCode", error.status))
    members: dict[str, Any] = {"Type": "User" if status < 500 else "Service", "Message": error.message}
    members |= {"message": error.message, **error.members}
    made = _answer(shape, {name: members[name] for name in shape.members if name in members}, status)
    return HttpAnswer(made.status, made.headers | headers, made.body)


def _answer(shape: Any, output: Mapping[str, Any], status: int) -> HttpAnswer:
    payload = shape.serialization.get("payload")
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    content: bytes | None = None
    for name, value in output.items():
        member = shape.members[name]
        where, called = member.serialization.get("location"), member.serialization.get("name", name)
        if value is None:
            continue
        if where == "statusCode":
            status = int(value)
        elif where == "header":
            headers[called] = _text(member, value)
        elif where == "headers":
            headers |= {f"{called}{key}": str(each) for key, each in value.items()}
        elif name == payload:
            content = value if isinstance(value, bytes) else msgspec.json.encode(_value(member, value, name))
        else:
            body[called] = _value(member, value, name)
    if payload is None and status != 204:
        headers["content-type"] = _json
        content = msgspec.json.encode(body)
    return HttpAnswer(status, headers, content or b"")


def _text(member: Any, value: Any) -> str:
    if member.type_name == "timestamp":
        return format_datetime(value.astimezone(UTC), usegmt=True)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(shape: Any, value: Any, where: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False):
            return value
        return {
            shape.members[name].serialization.get("name", name): _value(shape.members[name], each, f"{where}.{name}")
            for name, each in value.items()
            if each is not None
        }
    if kind == "list":
        return [_value(shape.member, each, where) for each in value]
    if kind == "map":
        return {str(key): _value(shape.value, each, f"{where}.{key}") for key, each in value.items()}
    if kind == "blob":
        return base64.b64encode(value).decode()
    if kind == "timestamp":
        return _moment(shape, value)
    wanted: Any = {"string": str, "boolean": bool, "float": (int, float), "double": (int, float)}.get(kind, int)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "boolean"):
        raise TypeError(f"{where} is {type(value).__name__}, not {kind}")
    return value


def _moment(shape: Any, value: datetime) -> Any:
    """Seconds since 1970, or what the member asks for."""
    if shape.serialization.get("timestampFormat") == "iso8601":
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value.timestamp()
