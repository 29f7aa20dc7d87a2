"""From an HTTP request to an operation's input, by the model: where each member is, and of which type."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from isotherm.aws.fault import AwsError

__all__ = ["parse_input"]

_kinds = {"integer": "an Integer", "long": "a Long", "boolean": "a Boolean", "string": "a String"}
_kinds |= {"float": "a Float", "double": "a Double"}


def parse_input(
    operation: Any,
    path: Mapping[str, str],
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    body: bytes,
) -> dict[str, Any]:
    """The members that were given, by their names. `headers` by lower-case names.

    Blobs are bytes, timestamps aware datetimes. Raises `AwsError` (`SerializationException`).
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    payload = shape.serialization.get("payload")
    given: dict[str, Any] = {}
    for name, member in shape.members.items():
        where, called = member.serialization.get("location"), member.serialization.get("name", name)
        if where == "uri":
            text = path.get(called)
            value = None if text is None else _from_text(member, text)
        elif where == "querystring":
            value = _from_query(member, called, query)
        elif where == "header":
            text = headers.get(called.lower())
            value = None if text is None else _from_text(member, text, header=True)
        elif where == "headers":
            value = _prefixed(called, headers)
        elif name == payload:
            value = _payload(member, body)
        else:
            continue
        if value is not None:
            given[name] = value
    in_body = {n: m for n, m in shape.members.items() if "location" not in m.serialization and n != payload}
    if in_body and payload is None:
        given |= _structure(in_body, _decoded(body), "")
    return given


def _decoded(body: bytes) -> Any:
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise AwsError("SerializationException", f"Could not parse request body into json: {exc}") from exc


def _payload(member: Any, body: bytes) -> Any:
    if member.type_name == "blob":
        return body
    if member.type_name == "string":
        return body.decode("utf-8", "replace")
    return None if not body.strip() else _value(member, _decoded(body), "")


def _prefixed(prefix: str, headers: Mapping[str, str]) -> dict[str, str] | None:
    lower = prefix.lower()
    return {name[len(lower) :]: value for name, value in headers.items() if name.startswith(lower)} or None


def _from_query(member: Any, name: str, query: Sequence[tuple[str, str]]) -> Any:
    if member.type_name == "map":
        return dict(query) or None
    values = [value for key, value in query if key == name]
    if not values:
        return None
    if member.type_name == "list":
        return [_from_text(member.member, value) for value in values]
    return _from_text(member, values[-1])


def _from_text(member: Any, text: str, *, header: bool = False) -> Any:
    """A value that is text where it travels."""
    kind = member.type_name
    try:
        if kind in ("integer", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
        if kind == "boolean":
            return {"true": True, "false": False}[text.lower()]
        if kind == "timestamp":
            return parsedate_to_datetime(text) if header else datetime.fromisoformat(text)
        if kind == "blob":
            return base64.b64decode(text, validate=True)
        if kind == "list":
            return [_from_text(member.member, part.strip()) for part in text.split(",")]
    except (ValueError, KeyError, TypeError) as exc:
        raise AwsError(
            "SerializationException", f"{text[:100]!r} can not be converted to {_kinds.get(kind, kind)}"
        ) from exc
    return text


def _value(shape: Any, value: Any, where: str) -> Any:
    """A JSON value as one of `shape`; what is wrong names the member by `where`."""
    kind = shape.type_name
    made = _made_of_others.get(kind)
    if made is not None:
        return made(shape, value, where)
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "string" and isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if kind in ("float", "double"):
            return float(value)
        if kind in ("integer", "long") and value == int(value):
            return int(value)
    raise _mistyped(value, _kinds.get(kind, kind), where)


def _document(shape: Any, value: Any, where: str) -> Any:
    return value if getattr(shape, "is_document_type", False) else _structure(shape.members, value, where)


def _list(shape: Any, value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _mistyped(value, "a List", where)
    return [_value(shape.member, each, f"{where}[{at}]") for at, each in enumerate(value) if each is not None]


def _map(shape: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _mistyped(value, "a Map", where)
    return {key: _value(shape.value, each, f"{where}.{key}") for key, each in value.items() if each is not None}


def _structure(members: Mapping[str, Any], value: Any, where: str) -> dict[str, Any]:
    """Members that the model does not know are left out, as AWS does."""
    if not isinstance(value, dict):
        raise _mistyped(value, "a Structure", where)
    found = {}
    for name, member in members.items():
        given = value.get(member.serialization.get("name", name))
        if given is not None:
            found[name] = _value(member, given, f"{where}.{name}" if where else name)
    return found


def _blob(value: Any, where: str) -> bytes:
    if not isinstance(value, str):
        raise _mistyped(value, "a Blob", where)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise AwsError("SerializationException", f"{where} is not base64: {exc}") from exc


def _timestamp(value: Any, where: str) -> datetime:
    """Seconds since 1970, or ISO 8601."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            return datetime.fromisoformat(value)
    except (ValueError, OverflowError, OSError):
        pass
    raise _mistyped(value, "a Timestamp", where)


def _mistyped(value: Any, wanted: str, where: str) -> AwsError:
    names = {str: "STRING_VALUE", bool: "BOOLEAN_VALUE", list: "LIST_VALUE", dict: "STRUCTURE_VALUE"}
    name = names.get(type(value), "NUMBER_VALUE")
    return AwsError(
        "SerializationException", f"{name} can not be converted to {wanted}{f' at {where}' if where else ''}"
    )


_made_of_others: dict[str, Callable[[Any, Any, str], Any]] = {
    "structure": _document,
    "list": _list,
    "map": _map,
    "blob": lambda _shape, value, where: _blob(value, where),
    "timestamp": lambda _shape, value, where: _timestamp(value, where),
}
