"""The OpenAPI 3.1 document: parameters from the framework, bodies, answers and errors from what routes declare."""

from collections.abc import Iterable
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from isotherm.api.answers import NDJSON_TYPE
from isotherm.api.problems import PROBLEM_TYPE, Problem
from isotherm.api.routing import Answer, Declared
from isotherm.base.errors import IsothermError

__all__ = ["describe"]

_template = "#/components/schemas/{name}"


def describe(app: FastAPI, declared: Iterable[Declared], version: str) -> dict[str, Any]:
    """The whole document. Raises `KeyError` where a declared route is not on `app`."""
    routes = list(declared)
    document = get_openapi(
        title="Isotherm",
        version=version,
        openapi_version="3.1.0",
        description="Deploy functions, steer and see them. Errors are problem+json with a stable `code`.",
        routes=app.routes,
    )
    kinds = _kinds(routes)
    schemas, components = msgspec.json.schema_components([*kinds, Problem], ref_template=_template)
    by_kind = dict(zip([*map(repr, kinds), repr(Problem)], schemas, strict=True))
    for route in routes:
        operation = document["paths"][route.path][route.method.lower()]
        operation["responses"] = _responses(route, by_kind)
        operation["x-isotherm-permission"] = route.permission
        operation["security"] = [] if route.permission == "open" else [{"key": []}, {"login": []}]
        body = _request_body(route, by_kind)
        if body is not None:
            operation["requestBody"] = body
    document["components"] = {
        "schemas": components,
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer", "description": "A key: `iso_…`"},
            "login": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A user's access token",
            },
        },
    }
    return document


def _kinds(routes: list[Declared]) -> list[Any]:
    found: dict[str, Any] = {}
    for route in routes:
        if route.body is not None:
            found[repr(route.body)] = route.body
        for answer in route.answers.values():
            found |= {repr(kind): kind for kind in answer.types}
    return list(found.values())


def _request_body(route: Declared, by_kind: dict[str, Any]) -> dict[str, Any] | None:
    if route.body is not None:
        return {"required": True, "content": {"application/json": {"schema": by_kind[repr(route.body)]}}}
    if route.body_types:
        binary = {"schema": {"type": "string", "format": "binary"}}
        return {"required": True, "content": {route.body_types[0]: binary}}
    return None


def _responses(route: Declared, by_kind: dict[str, Any]) -> dict[str, Any]:
    responses = {str(status): _success(answer, by_kind) for status, answer in sorted(route.answers.items())}
    for status in sorted({error.status for error in route.errors}):
        responses[str(status)] = _failure(status, [error for error in route.errors if error.status == status])
    return responses


def _success(answer: Answer, by_kind: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.says}
    content: dict[str, Any] = {}
    if answer.body is not None:
        content["application/json"] = {"schema": by_kind[repr(answer.body)]}
    if answer.lines:  # JSON Schema has no word for a stream of lines; `x-line` says what each is
        lines = [by_kind[repr(kind)] for kind in answer.lines]
        content[NDJSON_TYPE] = {"schema": {"type": "string", "x-line": {"anyOf": lines}}}
    if content:
        described["content"] = content
    headers: dict[str, Any] = {}
    if answer.etag:
        headers["ETag"] = {"required": True, "schema": {"type": "string"}}
    if answer.location:
        headers["Location"] = {"required": True, "schema": {"type": "string"}}
    if headers:
        described["headers"] = headers
    return described


def _failure(status: int, errors: list[type[IsothermError]]) -> dict[str, Any]:
    codes = ", ".join(sorted(f"`{error.code}`" for error in errors))
    described: dict[str, Any] = {
        "description": f"{codes}",
        "content": {PROBLEM_TYPE: {"schema": {"$ref": _template.format(name="Problem")}}},
    }
    if status == 401:
        described["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    if status == 429:
        described["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return described
