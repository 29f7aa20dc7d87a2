"""What the API port answers beside calls: health, readiness, metrics; everything else goes to control."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from isotherm.base.errors import Forbidden, Unauthenticated, Unavailable
from isotherm.gateway.connection import ClientConnection
from isotherm.gateway.keys import KeyRing
from isotherm.gateway.messages import status_line
from isotherm.gateway.proxy import Exchange
from isotherm.gateway.request import Request
from isotherm.telemetry.prometheus import CONTENT_TYPE

__all__ = ["ApiOperations", "Readiness"]

PATHS = frozenset((b"/healthz", b"/readyz", b"/metrics"))
TEXT = "content-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\n"


class Readiness(Protocol):
    def not_ready(self) -> str | None:
        """Why this host cannot serve now; None where it can."""


class ApiOperations:
    """One per API port."""

    def __init__(
        self,
        keys: KeyRing,
        readiness: Readiness,
        metrics: Callable[[], Awaitable[str]],
        api_path: str,
        max_body_bytes: int,
    ) -> None:
        self._keys = keys
        self._readiness = readiness
        self._metrics = metrics
        self._api_path = api_path
        self._max_body_bytes = max_body_bytes

    def admit(self, connection: ClientConnection, request: Request) -> Exchange | None:
        path = request.url.partition(b"?")[0]
        if path in PATHS:
            return None
        exchange = Exchange(connection, request, self._api_path, self._max_body_bytes)
        exchange.check()
        return exchange

    def serve(self, connection: ClientConnection, request: Request) -> None:
        connection.request_id = ""
        path = request.url.partition(b"?")[0]
        if path == b"/healthz":
            connection.reply(status_line(200) + TEXT, b"ok\n")
        elif path == b"/readyz":
            reason = self._readiness.not_ready()
            if reason is not None:
                raise Unavailable(reason, retry_after_s=1.0)
            connection.reply(status_line(200) + TEXT, b"ready\n")
        else:
            self._check_metrics(request)
            task = asyncio.create_task(self._send_metrics(connection))
            connection.on_left = lambda: _cancel(task)

    async def _send_metrics(self, connection: ClientConnection) -> None:
        text = await self._metrics()
        connection.on_left = None
        connection.reply(f"{status_line(200)}content-type: {CONTENT_TYPE}\r\n", text.encode())

    def _check_metrics(self, request: Request) -> None:
        """The names of all functions are in it: a key that may look at all namespaces."""
        given = request.header(b"authorization")
        if given is None:
            raise Unauthenticated("metrics need a key that may view all namespaces: send `Authorization: Bearer KEY`")
        if not self._keys.principal(given).may_view("*", None):
            raise Forbidden("metrics need a key that may view all namespaces")


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
