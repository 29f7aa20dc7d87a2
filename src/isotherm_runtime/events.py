"""A function URL's request as Lambda's event, payload format 2.0. On the hot path: measured, hence the caches."""

from __future__ import annotations

import base64
import time

from isotherm_runtime import values
from isotherm_runtime.config import RuntimeConfig

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["EventBuilder", "is_text", "parse_query"]

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TEXT_TYPES = frozenset(
    ("application/json", "application/xml", "application/javascript", "application/graphql", "application/x-ndjson")
)
HEX = {high + low: int(high + low, 16) for high in "0123456789abcdefABCDEF" for low in "0123456789abcdefABCDEF"}
CACHE_SIZE = 256
KNOWN_HEADS = 64
KNOWN_HEAD_BYTES = 4096


class _Known:
    """What a head's repeating part comes to. Each event gets copies: a handler may change what it was given."""

    __slots__ = ("content_type", "context", "cookies", "event", "headers", "http", "query")

    def __init__(self, event: dict[str, object], context: dict[str, object], http: dict[str, object]) -> None:
        self.event = event
        self.context = context
        self.http = http
        self.headers: dict[str, str] = {}
        self.cookies: list[str] | None = None
        self.query: dict[str, str] | None = None
        self.content_type = ""


class EventBuilder:
    """Makes events; holds what is the same for all of them. Any thread may call it."""

    def __init__(self, config: RuntimeConfig) -> None:
        parts = config.function_arn.split(":")
        self._account = parts[4] if len(parts) > 4 and parts[4] else "anonymous"
        self._api = config.function_name
        self._second = (-1, "")
        self._text_types: dict[str, bool] = {}
        self._known: dict[bytes, _Known] = {}

    def build(self, head: bytes, body: bytes) -> tuple[str, dict[str, object]]:
        """`(request_id, event)` of a REQUEST with Flag.HTTP. Raises `ValueError`, `TypeError` or `AttributeError`."""
        split = head.index(b"]") + 1
        repeating = head[split:]
        known = self._known.get(repeating)
        if known is None:
            known = self._read(repeating)
            if len(repeating) <= KNOWN_HEAD_BYTES:
                if len(self._known) >= KNOWN_HEADS:
                    self._known.clear()
                self._known[repeating] = known
        differing: Any = values.decode(head[:split])  # checked by use: what it raises is the answer
        request_id, time_ms = differing
        event = known.event.copy()
        if known.cookies is not None:
            event["cookies"] = known.cookies.copy()
        event["headers"] = known.headers.copy()
        if known.query is not None:
            event["queryStringParameters"] = known.query.copy()
        event["requestContext"] = context = known.context.copy()
        context["http"] = known.http.copy()
        context["requestId"] = request_id
        context["time"] = self._clock(time_ms)
        context["timeEpoch"] = time_ms
        if body:
            event["body"], event["isBase64Encoded"] = self._body(known.content_type, body)
        else:
            event["isBase64Encoded"] = False
        return request_id, event

    def _read(self, repeating: bytes) -> _Known:
        found: Any = values.decode(repeating)
        method, path, query, pairs, source_ip, domain = found
        headers: dict[str, str] = {}
        cookies: list[str] | None = None
        for name, value in pairs:
            name = name.lower()
            if name == "cookie":
                crumbs = [part for part in value.split("; ") if part]
                cookies = crumbs if cookies is None else cookies + crumbs
            elif name in headers:
                headers[name] += "," + value
            else:
                headers[name] = value
        known = _Known(
            {"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query},
            {
                "accountId": self._account,
                "apiId": self._api,
                "domainName": domain,
                "domainPrefix": domain.partition(".")[0],
                "http": None,
                "requestId": None,
                "routeKey": "$default",
                "stage": "$default",
            },
            {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
        )
        known.headers = headers
        known.cookies = cookies
        known.query = parse_query(query) if query else None
        known.content_type = headers.get("content-type", "")
        return known

    def _body(self, content_type: str, body: bytes) -> tuple[str, bool]:
        text = self._text_types.get(content_type)
        if text is None:
            text = is_text(content_type)
            if len(self._text_types) < CACHE_SIZE:
                self._text_types[content_type] = text
        if text:
            try:
                return body.decode(), False
            except UnicodeDecodeError:
                pass
        return base64.b64encode(body).decode(), True

    def _clock(self, time_ms: int) -> str:
        second, text = self._second
        now = time_ms // 1000
        if now != second:
            t = time.gmtime(now)
            text = f"{t[2]:02}/{MONTHS[t[1] - 1]}/{t[0]}:{t[3]:02}:{t[4]:02}:{t[5]:02} +0000"
            self._second = (now, text)
        return text


def is_text(content_type: str) -> bool:
    """Whether a body of this type goes into the event as text; any other goes as base64."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in TEXT_TYPES or kind.endswith(("+json", "+xml"))


def parse_query(query: str) -> dict[str, str]:
    """Names and values decoded; values of a repeated name are joined with commas."""
    decode: Callable[[str], str] = _unquote_plus if "%" in query or "+" in query else str
    found: dict[str, str] = {}
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            name, value = decode(name), decode(value)
            found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _unquote_plus(text: str) -> str:
    """As `urllib.parse.unquote_plus`, which takes 5 ms to import in every instance."""
    first, *rest = text.replace("+", " ").split("%")
    if not rest:
        return first
    raw = bytearray(first, "utf-8", "replace")
    for part in rest:
        byte = HEX.get(part[:2])
        if byte is None:
            raw += b"%" + part.encode("utf-8", "replace")
        else:
            raw.append(byte)
            raw += part[2:].encode("utf-8", "replace")
    return raw.decode("utf-8", "replace")
