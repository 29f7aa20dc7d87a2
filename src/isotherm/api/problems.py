"""Errors on the wire: every answer that is not a success is `application/problem+json` (RFC 9457)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from isotherm.base.errors import Invalid, IsothermError, MethodNotAllowed, NotFound, Unauthenticated

__all__ = ["PROBLEM_TYPE", "Problem", "handle_errors", "problem_response"]

PROBLEM_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An RFC 9457 problem. `code` is stable; `data` is what caused it."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str | msgspec.UnsetType = msgspec.UNSET  # the request's id
    data: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    retry_after_s: float | msgspec.UnsetType = msgspec.UNSET


def problem_response(
    error: IsothermError, request_id: str | None, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer for an error, with the headers that its status calls for."""
    sent = dict(headers or {})
    if isinstance(error, Unauthenticated):
        sent["WWW-Authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        sent["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    content = msgspec.json.encode(error.problem(request_id), enc_hook=str)
    return Response(content, error.status, sent, media_type=PROBLEM_TYPE)


def handle_errors(app: FastAPI) -> None:
    """Have `app` answer its own and the framework's errors as problems."""
    app.add_exception_handler(IsothermError, _isotherm_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _unforeseen)


def _request_id(request: Request) -> str | None:
    return request.scope.get("isotherm.request_id")


async def _isotherm_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, IsothermError)
    return problem_response(exc, _request_id(request))


async def _invalid_request(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    faults = [_fault(error) for error in exc.errors()[:20]]
    first = faults[0] if faults else {"where": "request", "what": "not valid"}
    error = Invalid(f"{first['where']}: {first['what']}", faults=faults)
    return problem_response(error, _request_id(request))


async def _unforeseen(request: Request, exc: Exception) -> Response:
    """The caller gets an id to report; `Entrance` logs the cause under it."""
    request_id = _request_id(request)
    error = IsothermError(f"the platform failed; its log says why under request id {request_id}")
    return problem_response(error, request_id)


def _fault(error: Mapping[str, Any]) -> dict[str, str]:
    place: Sequence[Any] = error.get("loc", ())
    return {"where": " ".join(str(part) for part in place), "what": str(error.get("msg", "not valid"))}


async def _http_exception(request: Request, exc: Exception) -> Response:
    """The router's own: no such path, no such method."""
    assert isinstance(exc, HTTPException)
    path, request_id = request.url.path, _request_id(request)
    if exc.status_code == 405:
        allowed = sorted(_allowed_methods(request))
        error = MethodNotAllowed(
            f"{path} does not take {request.method}, only {', '.join(allowed)}", method=request.method, allowed=allowed
        )
        return problem_response(error, request_id, {"Allow": ", ".join(allowed)})
    if exc.status_code == 404:
        return problem_response(NotFound(f"no such path: {path}; see /api/v1/docs", path=path), request_id)
    return problem_response(Invalid(str(exc.detail)), request_id)


def _allowed_methods(request: Request) -> set[str]:
    """Of all routes on this path; the router itself would name only the first one's."""
    return {
        method
        for route in request.app.routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in getattr(route, "methods", None) or ()
    }
