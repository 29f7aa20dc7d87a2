"""JSON in and out, with the standard library's C parts called directly: half the time of json.loads and json.dumps.

JSON here is RFC 8259: NaN and infinities are refused. `Decimal` becomes a number, as on Lambda.
"""

from __future__ import annotations

import json
import sys
from json import encoder as _encoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["NotJson", "decode", "encode"]

MAX_PATH_CHARS = 200


class NotJson(ValueError):
    """A value that JSON cannot hold; the message names where in the value."""


def _default(value: object) -> object:
    decimal = sys.modules.get("decimal")  # not imported: then it is none
    if decimal is not None and isinstance(value, decimal.Decimal):
        if not value.is_finite():
            raise ValueError("not a finite number")
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _make(escape: object) -> Callable[[object, int], Iterable[str]]:
    make = _encoder.c_make_encoder  # type: ignore[attr-defined]  # undocumented, there since 3.1; else see `_slow`
    # Arguments: markers (None: no test for cycles, which end in RecursionError), default, string encoder, indent,
    # separators, sort_keys, skipkeys, allow_nan.
    found: Callable[[object, int], Iterable[str]] = make(None, _default, escape, None, ":", ",", False, False, False)
    return found


def _slow(value: object, _level: int) -> Iterable[str]:
    return [json.dumps(value, default=_default, separators=(",", ":"), allow_nan=False, ensure_ascii=True)]


if _encoder.c_make_encoder is None:  # type: ignore[attr-defined]  # an interpreter without the C part
    _to_text: Callable[[object, int], Iterable[str]] = _slow
    _to_ascii: Callable[[object, int], Iterable[str]] = _slow
else:
    _to_text = _make(_encoder.encode_basestring)
    _to_ascii = _make(_encoder.encode_basestring_ascii)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


_scan = json.JSONDecoder(parse_constant=_refuse).scan_once  # type: ignore[attr-defined]  # since 2.6, not in typeshed


def encode(value: object) -> bytes:
    """Compact JSON, UTF-8. Raises `NotJson`."""
    try:
        return "".join(_to_text(value, 0)).encode()
    except UnicodeEncodeError:
        return "".join(_to_ascii(value, 0)).encode()  # lone surrogates: escaped
    except RecursionError:
        raise NotJson(f"{_path_to_problem(value) or 'it is nested too deeply'}") from None
    except (TypeError, ValueError) as exc:
        raise NotJson(_path_to_problem(value) or str(exc)) from None


def decode(data: bytes) -> object:
    """Raises `ValueError`."""
    text = data.decode()
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except StopIteration:
        pass  # white space ahead, or not JSON: the slow way tells
    return json.loads(text, parse_constant=_refuse)


def _path_to_problem(value: object) -> str | None:
    """Where the first value is that JSON cannot hold, for instance "$.items[3].when is a datetime"."""
    try:
        return _search(value, "$", [])
    except RecursionError:
        return "it is nested too deeply"


def _search(value: object, path: str, above: list[int]) -> str | None:
    if value is None or isinstance(value, (bool, int, str)):
        return None
    if isinstance(value, float):
        return f"{_short(path)} is {value!r}, which JSON cannot hold" if value - value != 0 else None
    if not isinstance(value, (dict, list, tuple)):
        return _search_leaf(value, path)
    if id(value) in above:
        return f"{_short(path)} contains itself"
    above.append(id(value))
    found = _search_container(value, path, above)
    above.pop()
    return found


def _search_container(
    value: dict[object, object] | list[object] | tuple[object, ...], path: str, above: list[int]
) -> str | None:
    if not isinstance(value, dict):
        for index, item in enumerate(value):
            if found := _search(item, f"{path}[{index}]", above):
                return found
        return None
    for key, item in value.items():
        if not (key is None or isinstance(key, (str, int, float, bool))):
            return f"{_short(path)} has the key {_short(repr(key))} of type {type(key).__name__}; keys must be strings"
        if found := _search(item, f"{path}.{key}", above):
            return found
    return None


def _search_leaf(value: object, path: str) -> str | None:
    try:
        _default(value)
    except TypeError:
        return f"{_short(path)} is {_kind(value)}"
    except ValueError as exc:
        return f"{_short(path)} is {exc}"
    return None


def _kind(value: object) -> str:
    name = type(value).__name__
    if hasattr(value, "__await__"):
        return f"a {name}: declare the handler with `async def`, or await what it calls"
    if hasattr(value, "__next__") or hasattr(value, "__anext__"):
        return f"a {name}: to stream it, return it by itself, or as the body beside a statusCode"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{name}: decode it, or send it as base64 text"
    return f"of type {name}, which JSON cannot hold"


def _short(text: str) -> str:
    return text if len(text) <= MAX_PATH_CHARS else text[: MAX_PATH_CHARS // 2] + "…" + text[-MAX_PATH_CHARS // 2 :]
