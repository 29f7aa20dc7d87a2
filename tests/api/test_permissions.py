"""All routes by all roles, and by a foreign tenant: who is let in, and that nobody learns of what is not theirs."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Match

from isotherm.api.app import OPEN_PATHS, declared_routes
from isotherm.api.calls import Guard
from isotherm.api.routing import Declared
from isotherm.tenancy.model import SYSTEM
from isotherm.tenancy.policy import PERMISSIONS
from isotherm.wire.desired import Role
from tests.api.conftest import World, build_world

ROUTES = {f"{route.method} {route.path}": route for route in declared_routes()}
ROLES: tuple[Role, ...] = ("admin", "developer", "viewer", "invoker")


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """One platform for all cases of a kind: what is asked for is mostly not there, so nothing changes."""
    with tempfile.TemporaryDirectory(prefix="isotherm-test-", dir="/tmp") as folder:
        built = build_world(Path(folder))
        built.rooms.tenancy.create_namespace(SYSTEM, "other")
        yield built
        built.rooms.close()


def url_of(route: Declared, namespace: str) -> str:
    filled = {"ns": namespace, "name": "absent", "number": "1", "alias": "absent", "key_id": "key_absent"}
    path = re.sub(r"{(\w+)}", lambda found: filled.get(found[1], "absent"), route.path)
    return path + (f"?namespace={namespace}" if route.by_query else "")


def request_of(route: Declared, namespace: str) -> dict[str, Any]:
    """A request that gets past the guard if anything does; what is behind it need not be there."""
    if route.body is not None:
        return {"method": route.method, "url": url_of(route, namespace), "json": {}}
    content = b"PK" if route.body_types else None
    headers = {"Content-Type": route.body_types[0]} if route.body_types else {}
    return {"method": route.method, "url": url_of(route, namespace), "content": content, "headers": headers}


def code_of(answer: httpx.Response) -> str | None:
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    return answer.json()["code"] if is_problem else None


def test_every_route_on_the_application_declares_its_permission(world: World) -> None:
    found = 0
    for route in world.api.framework.routes:
        path = getattr(route, "path", None)
        assert path is not None, f"{route} hides routes"
        found += 1
        if path in OPEN_PATHS:
            continue
        for method in getattr(route, "methods", None) or ():
            assert f"{method} {path}" in ROUTES, f"{method} {path} has no declared permission"
    assert found == len(ROUTES) + len(OPEN_PATHS)


GUARDED = {name: route for name, route in ROUTES.items() if route.permission != "open"}
OPEN = {f"POST /api/v1/auth/{verb}" for verb in ("register", "login", "refresh", "logout")}


def test_what_needs_no_key_is_what_makes_a_login() -> None:
    assert ROUTES.keys() - GUARDED.keys() == OPEN


@pytest.mark.parametrize("route", GUARDED.values(), ids=GUARDED)
async def test_a_route_takes_no_call_without_a_key(shared: World, route: Declared) -> None:
    async with shared.client(None) as client:
        answer = await client.request(**request_of(route, "default"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert code_of(answer) == "unauthenticated"


@pytest.mark.parametrize("route", GUARDED.values(), ids=GUARDED)
async def test_a_route_lets_in_exactly_the_roles_of_its_permission(shared: World, route: Declared) -> None:
    scoped = "{ns}" in route.path or route.by_query
    for role in ROLES:
        async with shared.client(await shared.key(role)) as client:
            answer = await client.request(**request_of(route, "default"))
        allowed = route.permission == "any" or route.permission in PERMISSIONS[role]
        if not scoped or route.on_platform:  # a role in a namespace gives nothing on the platform but a look at it
            allowed = route.permission in ("any", "platform.read")
        assert (code_of(answer) != "forbidden") == allowed, f"{role}: {answer.status_code} {answer.text}"
        assert answer.status_code != 401


@pytest.mark.parametrize("route", [r for r in ROUTES.values() if "{ns}" in r.path or r.by_query], ids=lambda r: r.path)
async def test_a_foreign_tenant_cannot_tell_a_namespace_from_one_that_does_not_exist(
    shared: World, route: Declared
) -> None:
    for role in ROLES:
        async with shared.client(await shared.key(role, "other")) as foreign:
            there = await foreign.request(**request_of(route, "default"))
            nowhere = await foreign.request(**request_of(route, "nowhere"))
        assert there.status_code == nowhere.status_code == 404
        shown, compared = there.json(), nowhere.json()
        del shown["instance"], compared["instance"]
        assert str(shown).replace("default", "?") == str(compared).replace("nowhere", "?")


async def test_keys_of_every_namespace_are_made_by_admins_of_everywhere_alone(
    world: World, client: httpx.AsyncClient
) -> None:
    keys = "/api/v1/namespaces/*/keys"
    made = await client.post(keys, json={"name": "prometheus", "role": "viewer"})
    assert (made.status_code, made.json()["namespace"]) == (201, "*")
    async with world.client(made.json()["token"]) as everywhere:
        assert (await everywhere.get("/api/v1/hosts")).status_code == 200
        assert (await everywhere.get(keys)).status_code == 403
        assert (await everywhere.post(keys, json={"name": "more", "role": "admin"})).status_code == 403
    for role in ROLES:
        async with world.client(await world.key(role)) as tenant:
            assert (await tenant.post(keys, json={"name": "mine", "role": "viewer"})).status_code == 404
            assert (await tenant.get(keys)).status_code == 404
    assert (await client.get("/api/v1/namespaces/*/functions")).status_code == 400
    assert (await client.delete(f"{keys}/{made.json()['id']}")).status_code == 204
    async with world.client(made.json()["token"]) as gone:
        assert (await gone.get("/api/v1/hosts")).status_code == 401


async def test_the_status_tells_a_tenant_nothing_of_the_hosts_and_of_others(
    world: World, client: httpx.AsyncClient
) -> None:
    assert (await client.get("/api/v1/status")).json()["counts"] is not None
    for role in ROLES:
        async with world.client(await world.key(role)) as tenant:
            status = (await tenant.get("/api/v1/status")).json()
        assert (status["hosts"], status["counts"], bool(status["version"])) == ([], None, True)


async def test_denied_access_is_in_the_audit_log(world: World, client: httpx.AsyncClient) -> None:
    async with world.client(await world.key("viewer")) as viewer:
        assert (await viewer.get("/api/v1/namespaces/default/keys")).status_code == 403
    events = (await client.get("/api/v1/events?namespace=default&limit=1")).json()["items"]
    assert [event["kind"] for event in events] == ["access.denied"]
    assert events[0]["data"]["permission"] == "keys.read"


async def test_a_revoked_and_an_expired_key_open_nothing(world: World, client: httpx.AsyncClient) -> None:
    made = (await client.post("/api/v1/namespaces/default/keys", json={"name": "k", "role": "admin"})).json()
    async with world.client(made["token"]) as other:
        assert (await other.get("/api/v1/me")).status_code == 200
        assert (await client.delete(f"/api/v1/namespaces/default/keys/{made['id']}")).status_code == 204
        assert (await other.get("/api/v1/me")).status_code == 401


async def test_internal_paths_are_for_the_unix_socket_alone(world: World) -> None:
    async with world.client(None) as client:
        await client.get("/api/v1/namespaces/default")
        metrics = (await client.get("/internal/metrics")).text
        line = 'isotherm_api_requests_total{method="GET",route="/api/v1/namespaces/{ns}",status="401"} 1.0'
        assert line in metrics
        outside = await client.get("/internal/metrics", headers={"X-Forwarded-For": "203.0.113.9"})
    assert outside.status_code == 404


def test_the_guard_stands_before_the_parsing_of_every_route(world: World) -> None:
    """The first dependency of each declared route is its guard."""
    for route in ROUTES.values():
        scope = {
            "type": "http",
            "method": route.method,
            "path": url_of(route, "default").partition("?")[0],
            "headers": [],
        }
        found = [r for r in world.api.framework.routes if r.matches(scope)[0] is Match.FULL]
        assert isinstance(found[0], APIRoute)
        guard = found[0].dependant.dependencies[0].call
        assert isinstance(guard, Guard)
        assert guard.permission == route.permission
