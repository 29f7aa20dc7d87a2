"""One request, as a value, and how the paths of the API are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from isotherm.base.errors import Invalid

__all__ = ["JSON_TYPE", "UNREADABLE", "Request", "encoded", "function_path", "given", "segment"]

JSON_TYPE = "application/json"
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what reading JSON raises


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`repeatable`: asked twice, it comes to the same, so it may be sent again where nobody knows whether it was done.

    `timeout_s` bounds each wait for bytes; `None`: no bound, for streams that rest.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = field(default=b"", repr=False)  # may hold a secret
    timeout_s: float | None = 30.0
    repeatable: bool = False


def segment(text: str) -> str:
    """`text` as one segment of a path. Raises `Invalid` on what a proxy would take for another path."""
    if text in ("", ".", ".."):
        raise Invalid(f"{text!r} is no name")
    return quote(text, safe="")


def function_path(name: str) -> str:
    """Of a function, below its namespace."""
    return f"functions/{segment(name)}"


def given(**values: Any) -> dict[str, Any]:
    """Those that were given: not None. True is written as JSON has it."""
    return {name: "true" if value is True else value for name, value in values.items() if value is not None}


def encoded(value: Any) -> bytes:
    """A value as JSON; bytes are JSON already. Raises `Invalid` where it cannot be written so."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as exc:
        raise Invalid(f"cannot be sent as JSON: {exc}") from exc
