"""Secrets over HTTP: set, seen, removed; and no answer, refusals included, has a value in it."""

import asyncio
import json
from string import Formatter
from typing import Any

import httpx
import pytest

from isotherm.api.app import declared_routes, openapi_document
from tests.api.conftest import World

SECRETS = "/api/v1/namespaces/default/secrets"
TOKEN = f"{SECRETS}/token"
HELLO = "/api/v1/namespaces/default/functions/hello"
VALUE = "s3cr3t-value"


async def deploy(client: httpx.AsyncClient, world: World, **config: Any) -> httpx.Response:
    answer = await client.put(HELLO, json={"package": await world.package(), **config})
    if answer.status_code == 202:
        mark = world.rooms.functions.mark_ready
        await asyncio.to_thread(mark, answer.json()["id"], template=True, unfit=[], elapsed_ms=5.0)
    return answer


async def test_a_secret_is_set_seen_changed_and_removed(world: World, client: httpx.AsyncClient) -> None:
    made = await client.put(TOKEN, json={"value": VALUE})
    assert (made.status_code, made.headers["location"]) == (201, TOKEN)
    assert (made.json()["version"], made.json()["used_by"]) == (1, [])
    seen = await client.get(TOKEN)
    assert (seen.status_code, seen.json(), seen.headers["etag"]) == (200, made.json(), made.headers["etag"])
    again = await client.put(TOKEN, json={"value": VALUE})
    assert (again.status_code, again.headers["etag"]) == (200, made.headers["etag"])
    other = await client.put(TOKEN, json={"value": "another"}, headers={"If-Match": made.headers["etag"]})
    assert (other.status_code, other.json()["version"]) == (200, 2)
    stale = await client.put(TOKEN, json={"value": "late"}, headers={"If-Match": made.headers["etag"]})
    assert stale.status_code == 412
    assert [secret["name"] for secret in (await client.get(SECRETS)).json()["items"]] == ["token"]
    assert (await client.delete(TOKEN)).status_code == 204
    assert (await client.get(TOKEN)).status_code == (await client.delete(TOKEN)).status_code == 404
    assert len(world.settled) == 4, "what changes waits until hosts have heard of it"


async def test_what_is_used_is_removed_by_force_alone(world: World, client: httpx.AsyncClient) -> None:
    await client.put(TOKEN, json={"value": VALUE})
    await deploy(client, world, secrets={"TOKEN": "token"})
    assert (await client.get(TOKEN)).json()["used_by"] == ["hello"]
    refused = await client.delete(TOKEN)
    assert (refused.status_code, refused.json()["data"]) == (409, {"used_by": ["hello"]})
    assert (await client.delete(f"{TOKEN}?force=true")).status_code == 204


async def test_a_deploy_that_names_a_missing_secret_is_refused_by_name(world: World, client: httpx.AsyncClient) -> None:
    answer = await deploy(client, world, secrets={"TOKEN": "token"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert "isotherm secrets set token -n default" in answer.json()["detail"]
    assert answer.json()["data"] == {"key": "secrets.TOKEN", "secret": "token"}
    await client.put(TOKEN, json={"value": VALUE})
    both = await deploy(client, world, secrets={"TOKEN": "token"}, env={"TOKEN": "x"})
    assert "secrets.TOKEN is also in env" in both.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (json.dumps({"value": ""}), 400),
        (json.dumps({"value": VALUE + "\x00"}), 400),
        (json.dumps({"value": VALUE * 5000}), 400),
        (json.dumps({"value": [VALUE]}), 400),
        (json.dumps({"valeu": VALUE}), 400),
        (json.dumps({"value": VALUE, "more": VALUE}), 400),
        (json.dumps({"value": VALUE})[:-1], 400),
        (json.dumps({"value": VALUE + "\ud800"}), 400),
        (f'{{"value": {VALUE}}}', 400),
    ],
)
async def test_refusals_show_no_value(client: httpx.AsyncClient, body: str, status: int) -> None:
    answer = await client.put(TOKEN, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert VALUE not in answer.text
    assert (await client.get(TOKEN)).status_code == 404


async def test_no_answer_of_any_route_has_a_value_in_it(world: World, client: httpx.AsyncClient) -> None:
    await client.put(TOKEN, json={"value": VALUE})
    assert (await deploy(client, world, secrets={"TOKEN": "token"}, env={"MODE": "fast"})).status_code == 202
    known = {"ns": "default", "name": "hello", "number": "1", "alias": "live", "secret": "token"}
    seen = 0
    for route in declared_routes():
        wanted = {field for _, field, _, _ in Formatter().parse(route.path) if field}
        if route.method != "GET" or "progress" in route.path or wanted - set(known):
            continue
        answer = await client.get(route.path.format(**known))
        assert answer.status_code in (200, 503), answer.text  # 503: what a host would have to say
        assert VALUE not in answer.text
        seen += answer.status_code == 200
    assert seen >= 12
    config = (await client.get(HELLO)).json()["latest"]["config"]
    assert (config["secrets"], config["env"]) == ({"TOKEN": "token"}, {"MODE": "fast"})


def test_the_document_has_a_value_in_one_request_and_in_no_answer() -> None:
    schemas = openapi_document("0")["components"]["schemas"]
    assert "value" in schemas["SecretRequest"]["properties"]
    assert "value" not in schemas["Secret"]["properties"]
