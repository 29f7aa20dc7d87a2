"""The application: routes, errors, documents, and the layer around them."""

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from isotherm.api.aws import AwsFront
from isotherm.api.bodies import upload_slots
from isotherm.api.desk import PasswordDesk
from isotherm.api.entrance import Entrance
from isotherm.api.limits import RateLimits
from isotherm.api.metrics import ControlMetrics
from isotherm.api.openapi import describe
from isotherm.api.pages import index_page, reference_page
from isotherm.api.port import ApiServices
from isotherm.api.problems import handle_errors
from isotherm.api.routes import (
    auth,
    functions,
    namespaces,
    observed,
    platform,
    queues,
    quotas,
    rollouts,
    secrets,
    users,
    warmth,
)
from isotherm.api.routing import Declared

__all__ = ["OPEN_PATHS", "Api", "declared_routes", "openapi_document"]

_tables = (
    platform.routes,
    auth.routes,
    users.routes,
    namespaces.routes,
    quotas.routes,
    secrets.routes,
    functions.routes,
    rollouts.routes,
    observed.routes,
    queues.routes,
    warmth.routes,
)
# Paths that need no key: documents, and what only the Unix socket reaches.
OPEN_PATHS = ("/", "/api/v1/openapi.json", "/api/v1/docs", "/internal/metrics")

_links = {
    "docs": "/api/v1/docs",
    "openapi": "/api/v1/openapi.json",
    "health": "/healthz",
    "ready": "/readyz",
    "metrics": "/metrics",
}


class Api:
    """The application, and what belongs to it."""

    def __init__(self, services: ApiServices) -> None:
        self.services = services
        self.metrics = ControlMetrics(services)
        self.framework = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
        self.framework.state.services = services
        self.framework.state.limits = RateLimits(services.settings.api_rate_per_s)
        self.framework.state.upload_slots = upload_slots()
        self.framework.state.password_desk = PasswordDesk()
        for table in _tables:
            table.install(self.framework)
        self.framework.router.routes += self._open_routes()
        handle_errors(self.framework)
        state = self.framework.state
        front = AwsFront(self.framework, services, state.limits, state.upload_slots)
        self.asgi: ASGIApp = Entrance(front, self.metrics, services.clock, services.settings.body_timeout_s)
        self._document: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """The OpenAPI document, made when it is first asked for."""
        if self._document is None:
            self._document = openapi_document(self.services.version)
        return self._document

    def _open_routes(self) -> list[Route]:
        async def index(request: Request) -> Response:
            if "text/html" in request.headers.get("accept", ""):
                return index_page(self.services.version)
            return JSONResponse({"name": "isotherm", "version": self.services.version, **_links})

        async def openapi(_: Any) -> Response:
            return JSONResponse(self.document())

        async def docs(_: Any) -> Response:
            return reference_page(self.document())

        async def metrics(_: Any) -> Response:
            return self.metrics.answer()

        return [
            Route(path, endpoint, methods=["GET"])
            for path, endpoint in zip(OPEN_PATHS, (index, openapi, docs, metrics), strict=True)
        ]


def openapi_document(version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document; needs no services."""
    framework = FastAPI()
    for table in _tables:
        table.install(framework)
    return describe(framework, declared_routes(), version)


def declared_routes() -> list[Declared]:
    """What every route of the REST API promises."""
    return [declared for table in _tables for declared in table.declared.values()]
