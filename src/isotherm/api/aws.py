"""AWS's control APIs on the API port: bodies are bounded, the caller is who a key says, operations run on threads."""

import asyncio
import hmac
import re
import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from isotherm.api.bodies import read_body
from isotherm.api.calls import authenticate
from isotherm.api.port import ApiServices
from isotherm.aws.fault import AwsError, fault_of
from isotherm.aws.lambda_api.desk import AwsRequest, LambdaApi
from isotherm.aws.serializing import HttpAnswer, error_answer
from isotherm.base.errors import IsothermError, NotFound
from isotherm.tenancy.model import Principal

__all__ = ["AwsFront"]

_versioned = re.compile(r"/20[0-9]{2}-[0-9]{2}-[0-9]{2}/")
_code = re.compile(r"/aws/lambda/code/([a-z0-9-]{1,63})/([0-9a-f]{64})\.zip")
_megabyte = 1024 * 1024
_small_bytes = 256 * 1024
_chunk_bytes = 256 * 1024


class AwsFront:
    """An ASGI layer: paths that begin with a date are AWS's, all others go on to `app`."""

    def __init__(self, app: ASGIApp, services: ApiServices, limits: Any, slots: asyncio.Semaphore) -> None:
        self._app = app
        self._services = services
        self._limits = limits
        self._slots = slots
        self._lambda = LambdaApi(services.aws, services.tenancy)
        # A zip travels as base64 in JSON, which takes a third more.
        self._limit_bytes = services.settings.max_package_mb * _megabyte * 4 // 3 + _small_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["raw_path"].decode("latin-1").partition("?")[0]
            if _versioned.match(path):
                response = await self._answer(Request(scope, receive), path)
                await response(scope, receive, send)
                return
            code = _code.fullmatch(path)
            if code is not None and scope["method"] == "GET":
                scope["route"] = SimpleNamespace(path="/aws/lambda/code")
                response = await self._code(Request(scope, receive), code[1], code[2])
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _answer(self, request: Request, path: str) -> Response:
        who: list[Principal] = []

        def admit() -> Principal:
            who.append(authenticate(request, self._services, self._limits))
            self._limits.take_call(who[0].id)
            return who[0]

        try:
            await run_in_threadpool(admit)  # before the body is read: strangers send nothing large
            announced = request.headers.get("content-length", "")
            if announced.isdigit() and int(announced) <= _small_bytes:
                name, answer = await self._handle(request, path, who[0])
            else:
                async with self._slots:
                    name, answer = await self._handle(request, path, who[0])
        except IsothermError as error:
            name, answer = "none", error_answer(self._lambda.model, None, _refusal(request, error))
        request.scope["route"] = SimpleNamespace(path=f"lambda {name}")
        return Response(answer.body, answer.status, answer.headers)

    async def _handle(self, request: Request, path: str, principal: Principal) -> tuple[str, HttpAnswer]:
        body = await read_body(request, self._limit_bytes, "a request")
        made = AwsRequest(
            method=request.method,
            path=path,
            query=parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
            url=_url(request),
        )
        return await run_in_threadpool(self._lambda.answer, made, lambda: principal)

    async def _code(self, request: Request, namespace: str, digest: str) -> Response:
        """The zip of a function, for whoever has a fresh URL of it."""
        expires = request.query_params.get("expires", "")
        wanted = self._services.aws.vault.fingerprint("aws.code", f"{namespace}/{digest}/{expires}".encode())
        signed = hmac.compare_digest(wanted, request.query_params.get("signature", ""))
        if not signed or not expires.isdigit() or int(expires) < time.time():
            error = AwsError(
                "AccessDeniedException", "this URL is not signed, or has expired: ask for another one", 403
            )
            return Response(error.body(), error.status, media_type="application/json")
        try:
            blob = await run_in_threadpool(self._services.functions.open_package, digest)
        except NotFound as error:
            return Response(fault_of(error).body(), 404, media_type="application/json")

        async def content() -> Any:
            with blob:
                while chunk := await run_in_threadpool(blob.read, _chunk_bytes):
                    yield chunk

        return StreamingResponse(content(), media_type="application/zip")


def _refusal(request: Request, error: IsothermError) -> AwsError:
    return fault_of(error, nameless="authorization" not in request.headers)


def _url(request: Request) -> str:
    """As the client reached it."""
    scheme = request.headers.get("x-forwarded-proto", "http")
    return f"{scheme}://{request.headers.get('host', 'localhost')}"
