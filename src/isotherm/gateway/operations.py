"""What the API port answers beside calls: health, readiness, metrics; everything else goes to control."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from isotherm.base.errors import Forbidden, SignatureRefused, Unauthenticated, Unavailable
from isotherm.gateway.checked import CheckedBody, CollectedBody
from isotherm.gateway.connection import ClientConnection
from isotherm.gateway.debugger import DEBUGGER_SUFFIX, Debugging
from isotherm.gateway.keys import KeyRing
from isotherm.gateway.messages import status_line
from isotherm.gateway.proxy import Exchange, Vouched
from isotherm.gateway.request import BodyStream, Request
from isotherm.gateway.signed import Signatures, SignedHead, is_signed_request
from isotherm.sigv4.caller import CallerSeal
from isotherm.sigv4.chunks import decoded_headers
from isotherm.sigv4.model import EXECUTE_API, LAMBDA
from isotherm.sigv4.parsing import without_signature
from isotherm.telemetry.prometheus import CONTENT_TYPE

__all__ = ["ApiOperations", "Readiness"]

SERVICES = (EXECUTE_API, LAMBDA)
PATHS = frozenset((b"/healthz", b"/readyz", b"/metrics"))
SIGNING_HEADERS = frozenset((b"authorization", b"x-amz-date", b"x-amz-content-sha256"))
TEXT = "content-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\n"


class Readiness(Protocol):
    def not_ready(self) -> str | None:
        """Why this host cannot serve now; None where it can."""


class ApiOperations:
    """One per API port."""

    def __init__(
        self,
        keys: KeyRing,
        signatures: Signatures,
        seal: CallerSeal,
        readiness: Readiness,
        metrics: Callable[[], Awaitable[str]],
        api_path: str,
        max_body_bytes: int,
        debugging: Debugging,
    ) -> None:
        self._keys = keys
        self._signatures = signatures
        self._seal = seal
        self._readiness = readiness
        self._metrics = metrics
        self._api_path = api_path
        self._max_body_bytes = max_body_bytes
        self._debugging = debugging

    def admit(self, connection: ClientConnection, request: Request) -> BodyStream | None:
        path = request.url.partition(b"?")[0]
        if path in PATHS:
            return None
        if request.method == b"POST" and path.endswith(DEBUGGER_SUFFIX):
            attached = self._debugging.exchange(connection, request)
            if attached is not None:
                return attached
        if is_signed_request(request):
            return self._admit_signed(connection, request)
        exchange = Exchange(connection, request, self._api_path, self._max_body_bytes)
        exchange.check()
        return exchange

    def _admit_signed(self, connection: ClientConnection, request: Request) -> BodyStream | None:
        """To control it goes with the gateway's word for whose key signed it, and not before that is known."""
        bodyless = not (request.length or connection.chunked)
        try:
            signed = self._signatures.head(request, SERVICES)
            if bodyless:
                signed.take(b"")
        except SignatureRefused as error:
            if not bodyless:
                raise  # and read no more of it
            request.error = error  # in its turn; the connection goes on
            return None
        exchange = Exchange(connection, request, self._api_path, self._max_body_bytes, self._vouched(request, signed))
        exchange.check()
        if bodyless:
            return exchange
        if signed.proven:
            return CheckedBody(exchange, connection, request, signed)

        def use(parts: list[bytes]) -> None:
            signed.prove(collected.digest or "")
            exchange.begin()
            for part in parts:
                exchange.feed(part)
            exchange.end()

        collected = CollectedBody(connection, request, self._max_body_bytes, use)
        return collected

    def _vouched(self, request: Request, signed: SignedHead) -> Vouched:
        target = without_signature(request.url)

        def caller() -> str:
            return self._seal.write(signed.key_id, request.method, target, self._signatures.time_ms())

        headers = decoded_headers(request.headers) if signed.chunked else request.headers
        return Vouched(target, caller, [each for each in headers if each[0].lower() not in SIGNING_HEADERS])

    def tick(self) -> None:
        """About every second."""
        self._debugging.tick()

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
        if is_signed_request(request):
            signed = self._signatures.head(request, SERVICES)
            signed.take(request.body)
            principal = signed.principal
        elif given is not None:
            principal = self._keys.principal(given)
        else:
            raise Unauthenticated("metrics need a key that may view all namespaces: send `Authorization: Bearer KEY`")
        if not principal.may_view_all():
            raise Forbidden("metrics need a key that may view all namespaces and, where it has scopes, the scope read")


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
