"""How a route is declared: method, path, permission, body, every answer. The OpenAPI document is made from this."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter, Depends
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
    """A success: its body's msgspec type (None: no body) and what it says."""

    body: Any
    says: str
    media_type: str = "application/json"
    etag: bool = False
    location: bool = False
    other: "Answer | None" = None  # the same status in another media type


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
    body_types: tuple[str, ...] = ()  # media types, where the body is not JSON

    @property
    def statuses(self) -> set[int]:
        return set(self.answers) | {error.status for error in self.errors}


class RouteTable:
    """The routes of one noun. `declared` has what each promises, by (method, path)."""

    def __init__(self, tag: str) -> None:
        self.router = APIRouter(tags=[tag])
        self.declared: dict[tuple[str, str], Declared] = {}

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
        self.declared[method, path] = Declared(
            method=method,
            path=path,
            permission=permission,
            answers=answers,
            errors=frozenset(promised),
            body=body.kind if body is not None else None,
            body_types=body_types,
            by_query=by_query,
        )

        def declare(endpoint: E) -> E:
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                summary=summary,
                description=endpoint.__doc__,
                dependencies=[Depends(Guard(permission, by_query))],
                response_class=Response,
                response_model=None,
                status_code=min(answers),
                operation_id=endpoint.__name__,
            )
            return endpoint

        return declare
