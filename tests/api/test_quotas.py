"""Quotas over REST: set by the platform's admins, shown with what is used."""

import asyncio
from typing import Any

import httpx
import pytest

from isotherm.tenancy.model import SYSTEM
from isotherm.wire.link import PROTOCOL, Hello
from isotherm.wire.telemetry import Batch, LogLine, NamespaceUse
from tests.api.conftest import World

QUOTA = "/api/v1/namespaces/default/quota"


async def test_a_quota_is_set_shown_and_lifted(world: World, client: httpx.AsyncClient) -> None:
    answer = await client.get(QUOTA)
    assert set(answer.json()["limits"].values()) == {None}
    before = answer.headers["etag"]
    made = await client.put(QUOTA, json={"instances": 5, "rate_per_s": 10}, headers={"If-Match": before})
    assert made.status_code == 200
    assert made.json()["own"] == made.json()["limits"]
    assert (made.json()["own"]["instances"], made.json()["own"]["memory_mb"]) == (5, None)
    assert len(world.settled) == 1, "it answers once hosts hold to it"
    stale = await client.put(QUOTA, json={}, headers={"If-Match": before})
    assert stale.status_code == 412
    assert (await client.get(QUOTA)).json() == made.json()
    lifted = await client.put(QUOTA, json={}, headers={"If-Match": made.headers["etag"]})
    assert set(lifted.json()["own"].values()) == {None}


@pytest.mark.parametrize(
    "body",
    [
        {"instances": 0},
        {"instances": 1.5},
        {"memory": 5},
        {"rate_per_s": -1},
        {"rate_per_s": 1e12},
        {"burst": 3},
        [],
        7,
    ],
)
async def test_a_bad_quota_is_refused(client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.put(QUOTA, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


async def test_an_admin_of_one_namespace_sees_its_quota_and_cannot_raise_it(world: World) -> None:
    async with world.client(await world.key("admin")) as owner:
        assert (await owner.get(QUOTA)).status_code == 200
        assert (await owner.put(QUOTA, json={"instances": 100})).status_code == 403


async def test_what_is_used_stands_beside_each_limit(world: World, client: httpx.AsyncClient) -> None:
    hello = Hello(
        protocol=PROTOCOL,
        host_id="h",
        boot_id="b",
        isotherm_version="1",
        epoch=None,
        version=0,
        probes={},
        runtimes=[],
    )
    world.services.board.host_connected(hello, 0)
    line = LogLine(namespace="default", name="f", revision_id="r", instance_id="i", at_ms=0, message="x" * 1_048_576)
    use = NamespaceUse(namespace="default", instances=2, memory_mb=512, disk_bytes=3 << 20, refused={"instances": 7})
    batch = Batch(host_id="h", boot_id="b", sequence=1, sent_at_ms=0, logs=[line], uses=[use])
    await asyncio.to_thread(world.rooms.records.ingest, batch)
    world.services.board.telemetry_came(batch, world.services.clock.time_ms())
    shown = (await client.get(QUOTA)).json()["use"]
    assert shown["log_mb"] == pytest.approx(1.0, abs=0.01)
    del shown["log_mb"]
    assert shown == {"memory_mb": 512, "instances": 2, "rate_per_s": 0.0, "disk_mb": 3.0, "refused": {"instances": 7}}


async def test_quotas_are_listed_where_one_may_look(world: World, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(world.rooms.tenancy.create_namespace, SYSTEM, "team")
    await client.put("/api/v1/namespaces/team/quota", json={"log_mb": 9})
    items = (await client.get("/api/v1/quotas")).json()["items"]
    assert [(item["namespace"], item["limits"]["log_mb"]) for item in items] == [("default", None), ("team", 9)]
    async with world.client(await world.key("viewer", "team")) as viewer:
        assert [item["namespace"] for item in (await viewer.get("/api/v1/quotas")).json()["items"]] == ["team"]
    async with world.client(await world.key("invoker", "team")) as invoker:
        assert (await invoker.get("/api/v1/quotas")).json()["items"] == []
