"""The outermost layer: request ids, counts, a bound on calls at once, and the log of what nobody foresaw."""

from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isotherm.api.metrics import ControlMetrics
from isotherm.api.problems import problem_response
from isotherm.base.clock import Clock
from isotherm.base.errors import IsothermError, NotFound, Unavailable
from isotherm.base.ids import request_ids

__all__ = ["Entrance"]

_log = structlog.get_logger(__name__)
_calls_at_once = 1000


class Entrance:
    """An ASGI layer around the application."""

    def __init__(self, app: ASGIApp, metrics: ControlMetrics, clock: Clock, body_timeout_s: float) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock
        self._body_timeout_s = body_timeout_s  # between two parts of a body
        self._new_id = request_ids()
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _header(scope, b"x-amzn-requestid") or self._new_id()
        scope["isotherm.request_id"] = request_id
        scope["isotherm.body_timeout_s"] = self._body_timeout_s
        began_s, status = self._clock.monotonic_s(), 500

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_every_answer, (b"x-amzn-requestid", request_id.encode())]
            await send(message)

        self._under_way += 1
        try:
            await self._serve(scope, receive, send_noted, request_id)
        finally:
            self._under_way -= 1
            self._metrics.observe(_route(scope), scope["method"], status, self._clock.monotonic_s() - began_s)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        refusal = self._refusal(scope)
        if refusal is not None:
            await problem_response(refusal, request_id)(scope, receive, send)
            return
        complete = False

        async def send_seen(message: Message) -> None:
            nonlocal complete
            await send(message)
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self._app(scope, receive, send_seen)
        except Exception:  # the framework has answered it, or a stream broke off
            _log.exception("an endpoint failed", method=scope["method"], path=scope["path"], request_id=request_id)
            if not complete:
                raise

    def _refusal(self, scope: Scope) -> IsothermError | None:
        path: str = scope["path"]
        if path.startswith("/internal") and _header(scope, b"x-forwarded-for") is not None:
            return NotFound(f"no such path: {path[:200]}; see /api/v1/docs", path=path[:200])
        if self._under_way > _calls_at_once:
            return Unavailable(f"{_calls_at_once} calls are under way; try again later", retry_after_s=1.0)
        return None


_every_answer = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


def _header(scope: Scope, name: bytes) -> str | None:
    """A header's value, cut to 100 characters; None where it is absent or not printable ASCII."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")[:100]
            return text if text.isascii() and text.isprintable() else ""
    return None


def _route(scope: dict[str, Any] | Any) -> str:
    """The route's path with its placeholders, so that metrics have few series."""
    return getattr(scope.get("route"), "path", "none")
