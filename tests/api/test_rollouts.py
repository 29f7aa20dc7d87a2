"""Rollouts over REST: begin, look, steer; what is refused while one is open."""

import asyncio
from typing import Any

import httpx
import pytest

from isotherm.wire.telemetry import LATENCY_BUCKETS_MS
from isotherm.workloads.rollout_model import Counts, Mark, RolloutPlan
from isotherm.workloads.rollout_policy import decide
from tests.api.conftest import World

FUNCTION = "/api/v1/namespaces/default/functions/hello"
ROLLOUTS = FUNCTION + "/rollouts"
CANARY = {"to": 2, "strategy": "canary", "steps": [10, 100]}
MARK = Mark(old_since=1, new_since=1)


async def ready(world: World, client: httpx.AsyncClient, **config: Any) -> int:
    """The number of a revision that is ready."""
    body = {"package": await world.package()} | config
    answer = await client.put(FUNCTION, json=body)
    assert answer.status_code == 202, answer.text
    functions = world.rooms.functions
    await asyncio.to_thread(functions.mark_ready, answer.json()["id"], template=True, unfit=[], elapsed_ms=1)
    return int(answer.json()["number"])


@pytest.fixture
async def two(world: World, client: httpx.AsyncClient) -> httpx.AsyncClient:
    """`hello` with revisions 1 and 2, `live` at 1."""
    await ready(world, client, memory_mb=64)
    await ready(world, client, memory_mb=65)
    assert (await client.post(FUNCTION + "/rollback", json={})).status_code == 200
    return client


async def live(client: httpx.AsyncClient) -> dict[int, float]:
    return {each["number"]: each["weight"] for each in (await client.get(FUNCTION)).json()["live"]}


async def test_one_is_begun_seen_and_steered(world: World, two: httpx.AsyncClient) -> None:
    made = await two.post(ROLLOUTS, json=CANARY)
    assert made.status_code == 201
    url = made.headers["location"]
    shown = (await two.get(url)).json()
    assert (shown["state"], shown["before"], shown["to"], shown["step"], shown["steps"]) == ("open", 1, 2, 0, 2)
    assert shown["plan"]["step_s"] == 60
    await asyncio.to_thread(world.rooms.rollouts.step, shown["id"], 1, MARK, None)
    assert (await two.get(url)).json()["percent"] == 10
    assert await live(two) == {1: 0.9, 2: 0.1}
    assert (await two.post(url + "/pause")).json()["paused"] is True
    assert (await two.post(url + "/pause")).json()["paused"] is True
    assert (await two.post(url + "/resume")).json()["paused"] is False
    ended = (await two.post(url + "/abort")).json()
    assert (ended["state"], ended["rule"], ended["percent"]) == ("rolled_back", "asked", 0)
    assert await live(two) == {1: 1.0}
    for verb in ("pause", "resume", "abort"):
        refused = await two.post(f"{url}/{verb}")
        assert (refused.status_code, "has ended" in refused.json()["detail"]) == (409, True)


async def test_while_one_is_open_the_alias_and_deploys_are_refused_and_say_why(
    world: World, two: httpx.AsyncClient
) -> None:
    rollout_id = (await two.post(ROLLOUTS, json=CANARY)).json()["id"]
    body = {"package": await world.package(), "memory_mb": 80}
    weights = {"weights": [{"number": 1, "weight": 1}]}
    for refused in (
        await two.put(FUNCTION, json=body),
        await two.put(FUNCTION + "/aliases/live", json=weights),
        await two.post(ROLLOUTS, json=CANARY),
    ):
        assert refused.status_code == 409
        assert rollout_id in refused.json()["detail"]
    assert (await two.put(FUNCTION + "/aliases/other", json=weights)).status_code == 200
    taken = await two.put(FUNCTION + "?abort_rollout=true", json=body)
    assert taken.status_code == 202
    shown = (await two.get(f"{ROLLOUTS}/{rollout_id}")).json()
    assert (shown["state"], shown["rule"]) == ("rolled_back", "asked")


async def test_a_rollback_ends_it_and_goes_where_it_came_from(world: World, two: httpx.AsyncClient) -> None:
    made = (await two.post(ROLLOUTS, json=CANARY)).json()
    await asyncio.to_thread(world.rooms.rollouts.step, made["id"], 1, MARK, None)
    back = await two.post(FUNCTION + "/rollback", json={})
    assert back.json()["weights"] == [{"number": 1, "weight": 1.0}]
    assert (await two.get(f"{ROLLOUTS}/{made['id']}")).json()["state"] == "rolled_back"


async def test_another_alias_can_be_moved_beside(two: httpx.AsyncClient) -> None:
    weights = {"weights": [{"number": 2, "weight": 1}]}
    assert (await two.put(FUNCTION + "/aliases/beta", json=weights)).status_code == 200
    assert (await two.post(ROLLOUTS, json=CANARY)).status_code == 201
    assert (await two.post(ROLLOUTS, json={"to": 1, "alias": "beta"})).status_code == 201
    listed = (await two.get(ROLLOUTS, params={"limit": 1})).json()
    assert listed["items"][0]["alias"] == "beta"
    rest = (await two.get(ROLLOUTS, params={"cursor": listed["next_cursor"]})).json()
    assert [each["alias"] for each in rest["items"]] == ["live"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"to": 1}, 400),
        ({"to": 99}, 400),
        ({"to": 2, "alias": "absent"}, 404),
        ({"to": 2, "strategy": "canary", "steps": [50, 10, 100]}, 400),
        ({"to": 2, "strategy": "canary", "steps": [50]}, 400),
        ({"to": 2, "strategy": "sideways"}, 400),
        ({"to": 2, "speed": 3}, 400),
    ],
)
async def test_what_makes_no_sense_is_refused(two: httpx.AsyncClient, body: dict[str, Any], status: int) -> None:
    assert (await two.post(ROLLOUTS, json=body)).status_code == status


async def test_a_split_alias_cannot_be_moved_by_steps(world: World, two: httpx.AsyncClient) -> None:
    weights = {"weights": [{"number": 1, "weight": 0.5}, {"number": 2, "weight": 0.5}]}
    await two.put(FUNCTION + "/aliases/live", json=weights)
    assert (await two.post(ROLLOUTS, json=CANARY)).status_code == 409
    config = {"package": await world.package(), "memory_mb": 80}
    refused = await two.put(FUNCTION, json=config | {"rollout": {"strategy": "canary"}})
    assert (refused.status_code, "is split" in refused.json()["detail"]) == (409, True)
    assert (await two.put(FUNCTION, json=config)).status_code == 202


async def test_a_stale_etag_begins_nothing(two: httpx.AsyncClient) -> None:
    etag = (await two.get(FUNCTION)).headers["etag"]
    assert (await two.post(ROLLOUTS, json=CANARY, headers={"If-Match": '"old-1"'})).status_code == 412
    assert (await two.post(ROLLOUTS, json=CANARY, headers={"If-Match": etag})).status_code == 201


async def test_how_it_is_deployed_makes_no_other_revision(world: World, two: httpx.AsyncClient) -> None:
    body = {"package": await world.package(), "memory_mb": 65, "rollout": {"strategy": "canary", "steps": [20, 100]}}
    again = await two.put(FUNCTION, json=body)
    assert (again.status_code, again.json()["number"]) == (200, 2)
    opened = (await two.get(ROLLOUTS)).json()["items"]
    assert [(each["before"], each["to"], each["plan"]["steps"]) for each in opened] == [(1, 2, [20, 100])]
    assert again.json()["config"]["rollout"]["strategy"] == "canary"


async def test_both_revisions_stay_callable_and_warm_as_long_as_it_is_open(
    world: World, two: httpx.AsyncClient
) -> None:
    made = (await two.post(ROLLOUTS, json=CANARY | {"strategy": "blue-green", "shadow": 20})).json()
    rollouts, feed = world.rooms.rollouts, world.rooms.feed

    async def route() -> Any:
        return next(item.route for item in (await asyncio.to_thread(feed.full)).items if item.route)

    ids = [each["id"] for each in (await two.get(FUNCTION + "/revisions")).json()["items"]][::-1]
    await asyncio.to_thread(rollouts.step, made["id"], 1, MARK, None)
    shadowed = await route()
    assert shadowed.standby == sorted(ids)
    assert [(each.alias, each.revision_id, each.share) for each in shadowed.shadows] == [("live", ids[1], 0.2)]
    await asyncio.to_thread(rollouts.step, made["id"], 2, MARK, None)
    switched = await route()
    assert (switched.shadows, switched.standby) == ([], sorted(ids))
    await asyncio.to_thread(rollouts.finish, made["id"], None)
    assert (await route()).standby == []


async def test_what_the_gate_sees_now_is_shown(world: World, two: httpx.AsyncClient) -> None:
    made = (await two.post(ROLLOUTS, json=CANARY)).json()
    assert made["reading"] is None
    plan = RolloutPlan(strategy="canary")
    counts = Counts(calls=9, errors=1, latency=[9] + [0] * len(LATENCY_BUCKETS_MS))
    reading = decide(plan, 1, paused=False, old=counts, new=counts, elapsed_s=1).reading
    assert reading is not None
    world.services.readings.put(made["id"], reading)
    shown = (await two.get(f"{ROLLOUTS}/{made['id']}")).json()["reading"]
    assert (shown["new"]["calls"], shown["new"]["errors"], shown["new"]["p95_ms"]) == (9, 1, 0.25)
