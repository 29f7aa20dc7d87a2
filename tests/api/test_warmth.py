"""Decisions on warmth and what the policy thinks now, over REST; and configurations and quotas that carry budgets."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from isotherm.base.settings import Settings
from isotherm.functions.model import FunctionConfig, Revision, WarmConfig
from isotherm.tenancy.model import SYSTEM
from isotherm.warming.view import WarmthSummary, WarmthView
from tests.api.conftest import World, build_world
from tests.api.test_observed import call, ingest
from tests.records.test_decisions import receipt

HELLO = "/api/v1/namespaces/default/functions/hello"
CALLS = "/api/v1/namespaces/default/invocations"
QUOTA = "/api/v1/namespaces/default/quota"


@pytest.fixture
def without(data_dir: Path) -> Iterator[World]:
    """A platform that goes by its keep-alives alone."""
    built = build_world(data_dir, Settings(warming="keep_alive", api_rate_per_s=100_000))
    yield built
    built.rooms.close()


async def deploy(world: World, **warm: Any) -> Revision:
    config = FunctionConfig(package=await world.package(), warm=WarmConfig(**warm))
    return (await asyncio.to_thread(world.rooms.functions.deploy, SYSTEM, "default", "hello", config)).revision


async def decided(world: World, *receipts: Any) -> None:
    await asyncio.to_thread(world.rooms.records.add_receipts, receipts)


async def test_decisions_are_listed_newest_first_by_page(world: World, client: httpx.AsyncClient) -> None:
    await deploy(world)
    await decided(world, receipt(1), receipt(2, rung="warm", instances=3), receipt(3, name="other"))
    first = (await client.get(f"{HELLO}/decisions?limit=1")).json()
    assert first["items"] == [msgspec.to_builtins(receipt(2, rung="warm", instances=3))]
    rest = (await client.get(f"{HELLO}/decisions?limit=1&cursor={first['next_cursor']}")).json()
    assert rest == {"items": [msgspec.to_builtins(receipt(1))], "next_cursor": None}
    assert (await client.get("/api/v1/namespaces/default/functions/other/decisions")).status_code == 404
    assert (await client.get(f"{HELLO}/decisions?cursor=strange")).status_code == 400


async def test_an_invoker_sees_neither_decisions_nor_warmth(world: World) -> None:
    await deploy(world)
    async with world.client(await world.key("invoker")) as invoker:
        for path in (f"{HELLO}/decisions", f"{HELLO}/warmth", "/api/v1/warmth"):
            assert (await invoker.get(path)).status_code == 403, path
    async with world.client(await world.key("viewer")) as viewer:
        assert (await viewer.get(f"{HELLO}/warmth")).status_code == 200
        assert (await viewer.get("/api/v1/warmth")).status_code == 403, "it is of all namespaces"


async def test_a_function_that_nobody_has_planned_for_says_so(world: World, client: httpx.AsyncClient) -> None:
    await deploy(world, budget="p_cold <= 1%")
    view = (await client.get(f"{HELLO}/warmth")).json()
    assert (view["policy"], view["rung"], view["expected"]) == ("foresight", None, None)
    assert "has not planned" in view["why"]
    assert view["budget"] == "workload: p_cold <= 1%"
    await deploy(world, policy="keep_alive")
    view = (await client.get(f"{HELLO}/warmth")).json()
    assert (view["policy"], view["why"]) == ("keep_alive", 'its warm.policy is "keep_alive"')
    assert (await client.get("/api/v1/namespaces/default/functions/absent/warmth")).status_code == 404


async def test_what_the_controller_put_is_shown(world: World, client: httpx.AsyncClient) -> None:
    await deploy(world)
    view = WarmthView(
        namespace="default",
        name="hello",
        policy="foresight",
        why="the platform's policy",
        budget="platform: idle <= keep_alive",
        price=0.002,
        expected=0.5,
        rung="warm",
        instances=2,
        last_receipt=receipt(1),
        quality={"mase": 0.9},
    )
    views = {("default", "hello"): view}
    world.services.warmth.open(lambda namespace, name: views.get((namespace, name)))
    assert (await client.get(f"{HELLO}/warmth")).json() == msgspec.to_builtins(view)
    written = receipt(2)
    await asyncio.to_thread(world.services.records.add_receipts, [written])
    views["default", "hello"] = msgspec.structs.replace(view, last_receipt=None)
    assert (await client.get(f"{HELLO}/warmth")).json()["last_receipt"] == msgspec.to_builtins(written)
    views.clear()
    assert (await client.get(f"{HELLO}/warmth")).json()["rung"] is None
    summary = WarmthSummary(policy="foresight", why="it plans", workloads={"warm": 3, "cold": 9}, idle_gb=1.5)
    before = (await client.get("/api/v1/warmth")).json()
    assert (before["policy"], before["idle_gb"], before["workloads"]) == ("foresight", None, {})
    world.services.warmth.sum_up(summary)
    assert (await client.get("/api/v1/warmth")).json() == msgspec.to_builtins(summary)


async def test_a_platform_without_the_policy_says_so(without: World) -> None:
    revision = await deploy(without)
    await ingest(without, 1, invocations=[call(1, revision.id)])
    async with without.client(without.admin) as client:
        view = (await client.get(f"{HELLO}/warmth")).json()
        why = "the setting warming is keep_alive: all go by their keep-alives"
        assert (view["policy"], view["why"]) == ("keep_alive", why)
        assert (await client.get("/api/v1/warmth")).json()["policy"] == "keep_alive"
        found = (await client.get(f"{CALLS}/call-1/explanation")).json()["decision"]
    assert found["receipt"] is None
    assert "setting warming is keep_alive" in found["summary"]


async def test_a_cold_start_is_explained_by_the_last_decision_before_it(
    world: World, client: httpx.AsyncClient
) -> None:
    revision = await deploy(world)
    cold = call(1, revision.id, start_ms=120.0)
    warm = call(2, revision.id, start_ms=0.0, cold_cause=None, why_kept="slow")
    await ingest(world, 1, invocations=[cold, warm])
    earlier = receipt(0, revision_id=revision.id, at_ms=cold.started_at_ms - 200_000)
    last = receipt(0, revision_id=revision.id, at_ms=cold.started_at_ms - 100_000)
    later = receipt(0, revision_id=revision.id, at_ms=cold.started_at_ms + 1)
    await decided(world, earlier, last, later)
    found = (await client.get(f"{CALLS}/call-1/explanation")).json()["decision"]
    assert found["receipt"] == msgspec.to_builtins(last)
    assert found["waited_ms"] == 120.0
    assert found["kept_gb_s"] == pytest.approx(0.25 * 100), "256 MB for 100 s"
    assert (await client.get(f"{CALLS}/call-2/explanation")).json()["decision"] is None


async def test_a_budget_that_makes_no_sense_for_a_function_is_refused(world: World, client: httpx.AsyncClient) -> None:
    digest = await world.package()
    for warm, says in (
        ({"budget": "host <= 4 GB"}, "warm.budget: 'host <= 4 GB': a workload has no say"),
        ({"budget": "p_cold <= 1% per workload"}, "leave out 'per"),
        ({"budget": "cheap"}, "'p_cold <= 1%'"),
        ({"budget": "p_cold <= 1%", "policy": "keep_alive"}, "nothing would spend it"),
        ({"policy": "greedy"}, "policy"),
    ):
        answer = await client.put(HELLO, json={"package": digest, "warm": warm})
        assert answer.status_code == 400, warm
        assert says in answer.json()["detail"]
    made = await client.put(HELLO, json={"package": digest, "warm": {"budget": "idle <= 0.5 GBh/day"}})
    assert made.status_code in (200, 201, 202)
    shown = (await client.get(HELLO)).json()["latest"]["config"]["warm"]
    assert (shown["policy"], shown["budget"]) == ("foresight", "idle <= 0.5 GBh/day")


async def test_a_namespace_has_a_budget_beside_its_quotas(world: World, client: httpx.AsyncClient) -> None:
    made = await client.put(QUOTA, json={"instances": 5, "warm_budget": "idle <= 2 GBh/day"})
    assert made.json()["own"]["warm_budget"] == made.json()["limits"]["warm_budget"] == "idle <= 2 GBh/day"
    assert await asyncio.to_thread(world.rooms.quotas.warm_budgets) == {"default": "idle <= 2 GBh/day"}
    for text, says in (("host <= 4 GB", "a namespace has no say"), ("p_cold <= 1% per workload", "leave out 'per")):
        refused = await client.put(QUOTA, json={"warm_budget": text})
        assert refused.status_code == 400
        assert says in refused.json()["detail"]
        assert "warm_budget: " in refused.json()["detail"]
    assert (await client.get(QUOTA)).json()["own"] == made.json()["own"]
    lifted = await client.put(QUOTA, json={"instances": 5})
    assert lifted.json()["limits"]["warm_budget"] is None
    assert await asyncio.to_thread(world.rooms.quotas.warm_budgets) == {}


def test_a_platform_with_a_budget_that_is_none_does_not_start(data_dir: Path) -> None:
    with pytest.raises(Exception, match="'host <= 4 GB' was expected"):
        build_world(data_dir, Settings(warming_budget="4 GB"))
