"""The OpenAPI document: whole, consistent in itself, and the same that is served."""

import json
import re
from typing import Any

import httpx

from isotherm.api.app import declared_routes, openapi_document

DOCUMENT = openapi_document("1.0")


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


def test_it_describes_every_route_with_every_status_that_the_route_declares() -> None:
    described = {(method, path): operation for method, path, operation in operations()}
    assert set(described) == {(route.method, route.path) for route in declared_routes()}
    for route in declared_routes():
        operation = described[route.method, route.path]
        assert set(operation["responses"]) == {str(status) for status in route.statuses}
        assert operation["x-isotherm-permission"] == route.permission


def test_every_reference_has_its_schema() -> None:
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)))
    assert references <= set(DOCUMENT["components"]["schemas"])
    assert {"FunctionConfig", "Revision", "Problem"} <= references


def test_operations_are_named_once_and_explained() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    assert all(operation["summary"] and operation["description"] for _, _, operation in operations())


def test_every_failure_is_problem_json() -> None:
    for method, path, operation in operations():
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert list(answer["content"]) == ["application/problem+json"], f"{method} {path} {status}"


def test_bounds_of_a_configuration_are_in_its_schema() -> None:
    memory = DOCUMENT["components"]["schemas"]["FunctionConfig"]["properties"]["memory_mb"]
    assert (memory["minimum"], memory["maximum"], memory["default"]) == (32, 65536, 256)
    assert DOCUMENT["components"]["schemas"]["FunctionConfig"]["additionalProperties"] is False


async def test_it_is_served_without_a_key(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    served = (await client.get("/api/v1/openapi.json")).json()
    assert served["openapi"] == "3.1.0"
    assert served["paths"] == json.loads(json.dumps(DOCUMENT["paths"]))
