"""Bytes of HTTP responses: heads that are made once and kept, errors as problem objects, what a head may hold."""

import re
import time
from email.utils import formatdate
from http import HTTPStatus

import msgspec

from isotherm.base.errors import InvalidResponse, IsothermError
from isotherm.gateway.aws_form import aws_form

__all__ = [
    "BODYLESS",
    "BYTES_HEAD",
    "HOP_BY_HOP",
    "JSON_HEAD",
    "HeadCache",
    "ResponseHead",
    "aws_response",
    "date_line",
    "problem_response",
    "status_line",
]

HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
OURS = HOP_BY_HOP | {
    "content-length",
    "date",
    "x-amzn-requestid",
    "x-amz-executed-version",
}  # not the function's to set
BODYLESS = frozenset((204, 304))
token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
bad_value = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
reasons = {status.value: status.phrase for status in HTTPStatus}

CACHE_SIZE = 1024
CACHED_HEAD_BYTES = 2048
MAX_HEADERS = 200
MAX_LENGTH_DIGITS = 19


def status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {reasons.get(status, 'Status')}\r\n"


JSON_HEAD = status_line(200) + "content-type: application/json\r\n"
BYTES_HEAD = status_line(200) + "content-type: application/octet-stream\r\n"


class ResponseHead:
    """A function's status and headers, checked, as the text that goes out."""

    __slots__ = ("bodyless", "length", "status", "text")

    def __init__(self, status: int, text: str, length: int | None = None) -> None:
        self.status = status
        self.text = text
        self.length = length  # what the function says of its body; believed where that comes in pieces
        self.bodyless = status in BODYLESS


class HeadCache:
    """Heads of responses by the bytes that the sandbox sent: functions answer with few different ones."""

    def __init__(self) -> None:
        self._heads: dict[bytes, ResponseHead] = {}
        self._decoder = msgspec.json.Decoder(tuple[int, list[tuple[str, str]], list[str]])

    def get(self, raw: bytes) -> ResponseHead:
        """The head. Raises `InvalidResponse` where it may not go out."""
        found = self._heads.get(raw)
        if found is None:
            found = self._parse(raw)
            if len(raw) <= CACHED_HEAD_BYTES:
                if len(self._heads) >= CACHE_SIZE:
                    self._heads.clear()
                self._heads[raw] = found
        return found

    def _parse(self, raw: bytes) -> ResponseHead:
        try:
            status, headers, cookies = self._decoder.decode(raw)
        except msgspec.MsgspecError as exc:
            raise InvalidResponse(f"the head of the function's answer cannot be read: {exc}") from exc
        if not 200 <= status <= 599:
            raise InvalidResponse(f"the function answered with status {status}; it must be 200 to 599", got=status)
        if len(headers) + len(cookies) > MAX_HEADERS:
            raise InvalidResponse(f"the function answered with more than {MAX_HEADERS} headers")
        lines = [status_line(status)]
        length: int | None = None
        for name, value in [*headers, *(("set-cookie", cookie) for cookie in cookies)]:
            if not token.fullmatch(name) or bad_value.search(value):
                raise InvalidResponse(f"the function's header {name[:64]!r} has characters that a header may not have")
            if name.lower() == "content-length":
                length = int(value) if value.isascii() and value.isdigit() and len(value) < MAX_LENGTH_DIGITS else None
            elif name.lower() not in OURS:
                lines.append(f"{name}: {_latin(value)}\r\n")
        return ResponseHead(status, "".join(lines), length)


def problem_response(
    error: IsothermError, request_id: str, *, keep_alive: bool, head_only: bool = False, headers: str = ""
) -> bytes:
    """The whole response of an error; `headers` are lines beside those that it has anyway."""
    if error.status == 401:
        headers += "www-authenticate: Bearer\r\n"
    body = msgspec.json.encode(error.problem(request_id))
    headers = f"content-type: application/problem+json\r\n{headers}"
    return _error_response(error, error.status, headers, body, request_id, keep_alive=keep_alive, head_only=head_only)


def aws_response(
    error: IsothermError, request_id: str, *, keep_alive: bool, head_only: bool = False, headers: str = ""
) -> bytes:
    """The same in AWS's form."""
    form = aws_form(error)
    headers = f"content-type: application/json\r\nx-amzn-errortype: {form.name}\r\n{headers}"
    return _error_response(
        error, form.status, headers, form.body, request_id, keep_alive=keep_alive, head_only=head_only
    )


def _error_response(
    error: IsothermError, status: int, headers: str, body: bytes, request_id: str, *, keep_alive: bool, head_only: bool
) -> bytes:
    head = (
        f"{status_line(status)}content-length: {len(body)}\r\n{date_line()}x-amzn-requestid: {request_id}\r\n{headers}"
    )
    if error.retry_after_s is not None:
        head += f"retry-after: {max(1, round(error.retry_after_s))}\r\n"
    if not keep_alive:
        head += "connection: close\r\n"
    return (head + "\r\n").encode("latin-1") + (b"" if head_only else body)


def date_line() -> str:
    """The `date` header of now."""
    return f"date: {formatdate(time.time(), usegmt=True)}\r\n"


def _latin(value: str) -> str:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode().decode("latin-1")  # UTF-8 on the wire, as browsers and servers do
    return value
