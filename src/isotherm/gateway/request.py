"""A request as it was parsed, and the limits that parsing holds it to."""

from dataclasses import dataclass
from typing import Protocol

from isotherm.base.errors import IsothermError
from isotherm.base.settings import Settings

__all__ = ["BodyStream", "HttpLimits", "Request", "http_limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What a client may do to this port."""

    max_head_bytes: int
    max_headers: int
    max_url_bytes: int
    max_body_bytes: int
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
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        max_connections=settings.max_connections,
        max_buffered_bytes=max(512 * 1024 * 1024, 8 * body),
    )


class BodyStream(Protocol):
    """Takes a request's body as it comes, where the request is not collected first."""

    def feed(self, data: bytes) -> None: ...

    def end(self) -> None: ...


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

    def header(self, name: bytes) -> bytes | None:
        """The first header of that (lower-case) name."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None
