"""How a route is declared: method, path, permission, body, every answer. The OpenAPI document is made from this."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Depends, FastAPI
from starlette.responses import Response

from isotherm.api.bodies import JsonBody
from isotherm.api.calls import Guard, RoutePermission
from isotherm.base.errors import (
    Conflict,
    Forbidden,
    Invalid,
    IsothermError,
    NotFound,
    PreconditionFailed,
    RequestTimeout,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)

__all__ = ["Answer", "Declared", "RouteTable"]

E = TypeVar("E", bound=Callable[..., Any])
_always = (Invalid, Unauthenticated, Forbidden, NotFound, TooManyRequests, Unavailable, IsothermError)


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: its JSON body's msgspec type (None: none), what it says, and of what its stream of lines is."""

    body: Any
    says: str
    etag: bool = False
    location: bool = False
    lines: tuple[Any, ...] = ()  # msgspec types of the JSON lines, where it is (or may be) a stream

    @property
    def types(self) -> tuple[Any, ...]:
        return self.lines if self.body is None else (self.body, *self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """All that a route promises."""

    method: str
    path: str
    permission: RoutePermission
    answers: dict[int, Answer]
    errors: frozenset[type[IsothermError]]
    body: Any = None  # a msgspec type
    by_query: bool = False  # the permission is needed in the namespace that the query names
    on_platform: bool = False  # beside the namespace of the path, it is needed on the platform as a whole
    any_function: bool = False  # which function it is about is known later: the endpoint looks again
    function_by_query: bool = False  # the query may name the function
    body_types: tuple[str, ...] = ()  # media types, where the body is not JSON

    @property
    def guard(self) -> Guard:
        return Guard(self.permission, self.by_query, self.on_platform, self.any_function, self.function_by_query)

    @property
    def statuses(self) -> set[int]:
        return set(self.answers) | {error.status for error in self.errors}


class RouteTable:
    """The routes of one noun. `declared` has what each promises, by (method, path)."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._endpoints: list[tuple[Declared, str, Callable[..., Any]]] = []
        self.declared: dict[tuple[str, str], Declared] = {}

    def install(self, app: FastAPI) -> None:
        """Put the routes on `app`, each behind its guard."""
        for route, summary, endpoint in self._endpoints:
            app.router.add_api_route(
                route.path,
                endpoint,
                methods=[route.method],
                summary=summary,
                description=endpoint.__doc__,
                tags=[self._tag],
                dependencies=[Depends(route.guard)],
                response_class=Response,
                response_model=None,
                status_code=min(route.answers),
                operation_id=endpoint.__name__,
            )

    def add(
        self,
        method: str,
        path: str,
        *,
        permission: RoutePermission,
        answers: dict[int, Answer],
        summary: str,
        body: JsonBody | None = None,
        body_types: tuple[str, ...] = (),
        if_match: bool = False,
        by_query: bool = False,
        on_platform: bool = False,
        any_function: bool = False,
        function_by_query: bool = False,
        errors: tuple[type[IsothermError], ...] = (),
    ) -> Callable[[E], E]:
        """Declare an endpoint. Errors that any route may answer need not be listed."""
        promised: set[type[IsothermError]] = {*_always, *errors}
        if body is not None or body_types:
            promised |= {RequestTimeout, TooLarge, UnsupportedMediaType}
        if method in ("POST", "PUT", "DELETE"):
            promised |= {Conflict}
        if if_match:
            promised |= {PreconditionFailed}
        route = Declared(
            method=method,
            path=path,
            permission=permission,
            answers=answers,
            errors=frozenset(promised),
            body=body.kind if body is not None else None,
            body_types=body_types,
            by_query=by_query,
            on_platform=on_platform,
            any_function=any_function,
            function_by_query=function_by_query,
        )
        self.declared[method, path] = route

        def declare(endpoint: E) -> E:
            self._endpoints.append((route, summary, endpoint))
            return endpoint

        return declare
