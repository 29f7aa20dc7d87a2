"""A request as it was parsed, and the limits that parsing holds it to."""

from dataclasses import dataclass
from typing import Protocol

from isotherm.base.errors import HeadersTooLarge, IsothermError, MalformedRequest, MethodNotAllowed
from isotherm.base.settings import Settings

__all__ = ["BodyStream", "HttpLimits", "Request", "check_head", "http_limits"]

REFUSED_METHODS = frozenset((b"CONNECT", b"TRACE"))


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What a client may do to this port."""

    max_head_bytes: int
    max_headers: int
    max_url_bytes: int
    max_body_bytes: int
    max_stream_bytes: int  # of a body that is passed on as it comes
    header_timeout_s: float
    body_timeout_s: float
    idle_timeout_s: float
    max_connections: int
    max_buffered_bytes: int  # large bodies of all connections together


def http_limits(settings: Settings) -> HttpLimits:
    """The gateway's share of the settings."""
    body = int(settings.max_body_mb * 1024 * 1024)
    return HttpLimits(
        max_head_bytes=settings.max_header_kb * 1024,
        max_headers=100,
        max_url_bytes=16 * 1024,
        max_body_bytes=body,
        max_stream_bytes=int(settings.max_stream_mb * 1024 * 1024),
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        max_connections=settings.max_connections,
        max_buffered_bytes=max(512 * 1024 * 1024, 8 * body),
    )


class BodyStream(Protocol):
    """Takes a request's body as it comes, where the request is not collected first."""

    digest: str | None  # SHA-256 of the whole body, in hex, where it was taken as it came

    def begin(self) -> None:
        """It is the request's turn to be answered; parts of its body may have come."""

    def feed(self, data: bytes) -> None: ...

    def end(self) -> None: ...

    def cut(self, error: IsothermError) -> None:
        """The rest of the body will not come; the connection is about to be closed."""


class Request:
    """One request of a connection. `error` is set where it is refused before anyone looks at it."""

    __slots__ = (
        "arrived_s",
        "body",
        "error",
        "headers",
        "http10",
        "keep_alive",
        "length",
        "method",
        "origin",
        "plan",
        "stream",
        "url",
    )

    def __init__(self, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]], arrived_s: float) -> None:
        self.method = method
        self.url = url
        self.headers = headers
        self.arrived_s = arrived_s
        self.body = b""
        self.length = 0  # what Content-Length says
        self.keep_alive = True
        self.http10 = False
        self.error: IsothermError | None = None
        self.stream: BodyStream | None = None
        self.plan: object = None  # what the gate made of it; kept while the same head comes again
        self.origin: Request | None = None  # the kept request that it is another of

    def again(self, body: bytes, arrived_s: float) -> "Request":
        """Another request with the same head."""
        other = Request(self.method, self.url, self.headers, arrived_s)
        other.body = body
        other.length = self.length
        other.keep_alive = self.keep_alive
        other.http10 = self.http10
        other.plan = self.plan
        other.origin = self
        return other

    def keep_plan(self, plan: object) -> None:
        """For this request and those with the same head."""
        self.plan = plan
        if self.origin is not None:
            self.origin.plan = plan

    def header(self, name: bytes) -> bytes | None:
        """The first header of that (lower-case) name."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None


def check_head(request: Request, version: str, limits: HttpLimits) -> tuple[bool, bool]:
    """Refuse a head that may not go on; sets the request's `length`.

    Returns whether the client waits for `100 Continue`, and whether its body comes in chunks. Raises `HeadersTooLarge`,
    `MalformedRequest`, `MethodNotAllowed`.
    """
    headers = request.headers
    size = len(request.url) + sum(len(name) + len(value) + 4 for name, value in headers)
    if size > limits.max_head_bytes or len(headers) > limits.max_headers or len(request.url) > limits.max_url_bytes:
        raise HeadersTooLarge(
            f"the request's head has {size} bytes and {len(headers)} headers; the limits are "
            f"{limits.max_head_bytes} bytes, {limits.max_headers} headers and {limits.max_url_bytes} of URL"
        )
    if version not in ("1.1", "1.0"):
        raise MalformedRequest(f"HTTP/{version} is not spoken here; use HTTP/1.1")
    if request.method in REFUSED_METHODS:
        raise MethodNotAllowed(f"{request.method.decode('latin-1')} is not allowed here")
    hosts = 0
    expects = chunked = False
    for name, value in headers:
        lower = name.lower()
        if lower == b"host":
            hosts += 1
        elif lower == b"content-length":
            request.length = int(value)
        elif lower == b"transfer-encoding":
            chunked = True
        elif lower == b"expect":
            expects = value.lower() == b"100-continue" and version == "1.1"
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise MalformedRequest("a request needs exactly one Host header")
    if chunked and version == "1.0":
        raise MalformedRequest("Transfer-Encoding is not part of HTTP/1.0")
    return expects, chunked
