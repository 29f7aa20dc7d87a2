"""What a handler returned to a function URL's request, read by Lambda's rules."""

from __future__ import annotations

import base64
import binascii
import re

from isotherm_runtime.frames import MAX_HEAD_BYTES, Flag, Kind, pack_frame
from isotherm_runtime.values import encode

__all__ = ["BadResponse", "Responses", "pack_head"]

CACHE_SIZE = 64
CACHE_HEAD_BYTES = 1024
_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_value = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*").fullmatch


class BadResponse(ValueError):
    """The handler's answer breaks Lambda's rules; the message names the field and what it must be."""


class Responses:
    """Packs answers. Remembers the heads of a few header sets, since a function mostly answers with the same."""

    def __init__(self) -> None:
        self._heads: dict[object, bytes] = {}

    def pack(self, stream: int, result: object, limit_bytes: int) -> bytes:
        """The RESPONSE frame. Raises `BadResponse` and `values.NotJson`."""
        if not isinstance(result, dict) or "statusCode" not in result:
            return pack_frame(Kind.RESPONSE, stream, b"", _bounded(encode(result), limit_bytes))
        body = self._body(result, limit_bytes)
        return pack_frame(Kind.RESPONSE, stream, self.head(result), body, flags=Flag.HTTP)

    def _body(self, result: dict[str, object], limit_bytes: int) -> bytes:
        body = result.get("body")
        if body is None:
            return b""
        if not isinstance(body, str):
            hint = "use json.dumps(...)"
            if isinstance(body, (bytes, bytearray)):
                hint = 'base64-encode it and set "isBase64Encoded" to True'
            raise BadResponse(f"body is of type {type(body).__name__}; it must be a string: {hint}")
        encoded = result.get("isBase64Encoded", False)
        if encoded is True:
            try:
                return _bounded(base64.b64decode(body, validate=True), limit_bytes)
            except (binascii.Error, ValueError) as exc:
                if isinstance(exc, BadResponse):
                    raise
                raise BadResponse(f"body is not base64, but isBase64Encoded is true: {exc}") from None
        if encoded is not False and encoded is not None:
            raise BadResponse(f"isBase64Encoded is {encoded!r}; it must be true or false")
        return _bounded(body.encode("utf-8", "surrogatepass"), limit_bytes)

    def head(self, result: dict[str, object]) -> bytes:
        """Status, headers and cookies of an answer as a RESPONSE's head. Raises `BadResponse`."""
        status, headers, cookies = result["statusCode"], result.get("headers"), result.get("cookies")
        key: object = None
        if not cookies and (headers is None or type(headers) is dict):
            key = (status, *headers.items()) if headers else (status,)
            try:
                head = self._heads.get(key)
            except TypeError:  # something in it is not hashable, so it is not valid
                key = head = None
            if head is not None and type(status) is int:
                return head
        head = encode([_status(status), _headers(headers), _cookies(cookies)])
        if len(head) > MAX_HEAD_BYTES:
            raise BadResponse(f"headers take {len(head)} bytes; the limit is {MAX_HEAD_BYTES}")
        # Strings alone: 1, 1.0 and True are equal keys with different texts.
        if key is not None and len(head) <= CACHE_HEAD_BYTES and _all_text(headers):
            if len(self._heads) >= CACHE_SIZE:
                self._heads.clear()
            self._heads[key] = head
        return head


def _bounded(body: bytes, limit_bytes: int) -> bytes:
    if len(body) > limit_bytes:
        raise BadResponse(f"the answer has {len(body)} bytes; the limit is {limit_bytes}")
    return body


def _all_text(headers: object) -> bool:
    return not headers or all(type(value) is str for value in headers.values())  # type: ignore[attr-defined]  # a dict


def _status(value: object) -> int:
    number = value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not 200 <= number <= 599:
        raise BadResponse(f"statusCode is {_shown(value)}; it must be a whole number from 200 to 599")
    return int(number)


def _headers(value: object, default_type: str = "application/json") -> list[list[str]]:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise BadResponse(f"headers is of type {type(value).__name__}; it must be an object of names and strings")
    found, typed = [], False
    for name, content in value.items():
        if not isinstance(name, str) or _token(name) is None:
            raise BadResponse(f"headers has the name {_shown(name)}, which is not a valid header name")
        if isinstance(content, bool):
            content = "true" if content else "false"
        elif isinstance(content, (int, float)):
            content = str(content)
        elif not isinstance(content, str):
            kind = type(content).__name__
            raise BadResponse(f"headers[{_shown(name)}] is of type {kind}; it must be a string")
        if _value(content) is None:
            raise BadResponse(f"headers[{_shown(name)}] has a line break or another control character")
        typed = typed or name.lower() == "content-type"
        found.append([name, content])
    if not typed:
        found.append(["content-type", default_type])
    return found


def _cookies(value: object) -> list[str]:
    if not value:
        return []
    if not isinstance(value, (list, tuple)):
        raise BadResponse(f"cookies is of type {type(value).__name__}; it must be a list of strings")
    for index, cookie in enumerate(value):
        if not isinstance(cookie, str):
            raise BadResponse(f"cookies[{index}] is of type {type(cookie).__name__}; it must be a string")
        if _value(cookie) is None:
            raise BadResponse(f"cookies[{index}] has a line break or another control character")
    return list(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"


def pack_head(status: object, headers: object, cookies: object, default_type: str) -> bytes:
    """The head of an answer whose body follows in pieces. Raises `BadResponse`."""
    head = encode([_status(status), _headers(headers, default_type), _cookies(cookies)])
    if len(head) > MAX_HEAD_BYTES:
        raise BadResponse(f"headers take {len(head)} bytes; the limit is {MAX_HEAD_BYTES}")
    return head
