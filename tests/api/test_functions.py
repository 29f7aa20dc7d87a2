"""Packages, deploys, revisions, aliases, rollback: the whole of a function's life over HTTP."""

import asyncio
from typing import Any

import httpx
import pytest

from isotherm.bus.board import HostBoard
from isotherm.wire.link import PROTOCOL, Hello
from isotherm.wire.telemetry import Batch, WorkloadState
from tests.api.conftest import World, make_zip

HELLO = "/api/v1/namespaces/default/functions/hello"


async def deploy(client: httpx.AsyncClient, world: World, url: str = HELLO, **config: Any) -> dict[str, Any]:
    """A revision that a host has prepared."""
    package = config.pop("package", None) or await world.package()
    answer = await client.put(url, json={"package": package, **config})
    assert answer.status_code in (200, 202), answer.text
    revision: dict[str, Any] = answer.json()
    if revision["state"] == "building":
        await asyncio.to_thread(
            world.rooms.functions.mark_ready, revision["id"], template=True, unfit=[], elapsed_ms=5.0
        )
    return revision


async def test_an_uploaded_package_is_named_by_its_content(world: World, client: httpx.AsyncClient) -> None:
    content = make_zip({"app.py": b"def handler(event, context): pass\n", "requirements.txt": b"idna\n"})
    first, again = [
        await client.post(
            "/api/v1/namespaces/default/packages", content=content, headers={"Content-Type": "application/zip"}
        )
        for _ in range(2)
    ]
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert (first.json()["files"], first.json()["size_bytes"]) == (2, len(content))
    assert first.json()["requirements"] is not None


@pytest.mark.parametrize(
    ("content", "media", "status", "code"),
    [
        (b"no zip at all", "application/zip", 400, "invalid_package"),
        (b"", "application/zip", 400, "invalid_package"),
        (make_zip({"../evil.py": b""}), "application/zip", 400, "invalid_package"),
        (make_zip(), "text/plain", 415, "unsupported_media_type"),
    ],
)
async def test_what_is_no_good_zip_is_refused(
    client: httpx.AsyncClient, content: bytes, media: str, status: int, code: str
) -> None:
    answer = await client.post("/api/v1/namespaces/default/packages", content=content, headers={"Content-Type": media})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_deploy_is_accepted_then_ready_then_live(world: World, client: httpx.AsyncClient) -> None:
    answer = await client.put(HELLO, json={"package": await world.package(), "env": {"A": "1"}, "memory_mb": 64})
    assert answer.status_code == 202
    revision = answer.json()
    assert (revision["number"], revision["state"], revision["config"]["memory_mb"]) == (1, "building", 64)
    assert answer.headers["location"] == f"{HELLO}/revisions/1"
    await asyncio.to_thread(world.rooms.functions.mark_ready, revision["id"], template=True, unfit=[], elapsed_ms=5.0)
    function = (await client.get(HELLO)).json()
    assert function["url"] == "http://content:7071/hello/"
    assert function["live"] == [{"number": 1, "weight": 1.0}]
    assert function["latest"]["state"] == "ready"
    assert function["states"] == []


async def test_deploying_the_same_again_answers_200_with_the_revision_that_is_there(
    world: World, client: httpx.AsyncClient
) -> None:
    package = await world.package()
    first = await deploy(client, world, package=package)
    again = await client.put(HELLO, json={"package": package})
    assert again.status_code == 200
    assert again.json()["id"] == first["id"]


async def test_env_values_are_shown_to_those_who_may_read_them_alone(world: World, client: httpx.AsyncClient) -> None:
    await deploy(client, world, env={"SECRET": "s3cret"})
    async with (
        world.client(await world.key("developer")) as developer,
        world.client(await world.key("viewer")) as viewer,
    ):
        assert (await developer.get(HELLO)).json()["latest"]["config"]["env"]["SECRET"] == "s3cret"
        masked = await viewer.get(HELLO)
    assert masked.status_code == 200
    assert "s3cret" not in masked.text
    assert "SECRET" in masked.text


async def test_a_stale_etag_changes_nothing(world: World, client: httpx.AsyncClient) -> None:
    await deploy(client, world)
    stale = (await client.get(HELLO)).headers["etag"]
    await deploy(client, world, memory_mb=128)
    put = await client.put(
        HELLO, json={"package": await world.package(), "memory_mb": 512}, headers={"If-Match": stale}
    )
    gone = await client.delete(HELLO, headers={"If-Match": stale})
    assert put.status_code == gone.status_code == 412
    assert put.json()["code"] == "precondition_failed"
    fresh = (await client.get(HELLO)).headers["etag"]
    assert (await client.delete(HELLO, headers={"If-Match": fresh})).status_code == 204
    assert (await client.get(HELLO)).status_code == 404


async def test_aliases_and_rollback_move_traffic_and_wait_for_hosts(world: World, client: httpx.AsyncClient) -> None:
    for memory_mb in (64, 128):
        await deploy(client, world, memory_mb=memory_mb)
    world.settled.clear()
    answer = await client.put(f"{HELLO}/aliases/beta", json={"weights": [{"number": 1, "weight": 1.0}]})
    assert answer.json() == {"name": "beta", "weights": [{"number": 1, "weight": 1.0}]}
    assert answer.headers["etag"] == (await client.get(f"{HELLO}/aliases/beta")).headers["etag"]
    rolled = await client.post(f"{HELLO}/rollback", json={})
    assert rolled.json() == {"name": "live", "weights": [{"number": 1, "weight": 1.0}]}
    names = [alias["name"] for alias in (await client.get(f"{HELLO}/aliases")).json()["items"]]
    assert names == ["beta", "live"]
    assert (await client.delete(f"{HELLO}/aliases/beta")).status_code == 204
    assert (await client.delete(f"{HELLO}/aliases/live")).status_code == 400
    assert (await client.post(f"{HELLO}/rollback", json={})).status_code == 409
    assert len(world.settled) == 3


async def test_lists_come_in_pages(world: World, client: httpx.AsyncClient) -> None:
    for number in range(5):
        await deploy(client, world, f"/api/v1/namespaces/default/functions/f{number}")
    seen, url = [], "/api/v1/namespaces/default/functions?limit=2"
    while url:
        page = (await client.get(url)).json()
        seen += [function["name"] for function in page["items"]]
        cursor = page["next_cursor"]
        url = f"/api/v1/namespaces/default/functions?limit=2&cursor={cursor}" if cursor else ""
    assert seen == ["f0", "f1", "f2", "f3", "f4"]
    assert (await client.get("/api/v1/namespaces/default/functions?cursor=nonsense")).status_code == 400


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"memory_mb": 1}, "memory_mb"),
        ({"memory_gb": 1}, "memory_gb"),
        ({"runtime": "python2.7"}, "runtime"),
        ({"runtime": "python3.99"}, "runtime"),
        ({"env": {"not a name": "x"}}, "env"),
        ({"warm": {"spare": -1}}, "spare"),
        ({"package": "0" * 64}, "package"),
    ],
)
async def test_a_bad_configuration_is_refused_by_name(
    world: World, client: httpx.AsyncClient, config: dict[str, Any], said: str
) -> None:
    answer = await client.put(HELLO, json={"package": await world.package(), **config})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), answer.text
    assert said in answer.json()["detail"]
    assert (await client.get(HELLO)).status_code == 404


async def test_a_function_shows_what_hosts_hold_of_it(world: World, client: httpx.AsyncClient) -> None:
    await deploy(client, world)
    board: HostBoard = world.services.board
    board.host_connected(
        Hello(
            protocol=PROTOCOL,
            host_id="host_1",
            boot_id="boot_1",
            isotherm_version="1",
            epoch=None,
            version=0,
            probes={"process": {"works": True}},
            runtimes=["python3.11"],
        ),
        1,
    )
    state = WorkloadState(
        namespace="default",
        name="hello",
        revision_id="rev_1",
        temperatures={"warm": 2},
        memory_bytes=1,
        cpu_s=0.5,
        queued=0,
    )
    board.telemetry_came(Batch(host_id="host_1", boot_id="boot_1", sequence=1, sent_at_ms=1, states=[state]), 2)
    assert (await client.get(HELLO)).json()["states"][0]["temperatures"] == {"warm": 2}
    hosts = (await client.get("/api/v1/hosts")).json()["items"]
    assert [(host["host_id"], host["connected"], len(host["states"])) for host in hosts] == [("host_1", True, 1)]
    status = (await client.get("/api/v1/status")).json()
    assert status["counts"] == {"functions": 1, "hosts": 1, "instances": {"warm": 2}}
