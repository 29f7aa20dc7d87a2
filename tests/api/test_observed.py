"""Invocations, explanations, logs and progress, as they are read back."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from isotherm.api.app import Api
from isotherm.api.calls import Call
from isotherm.api.routes.observed import read_on
from isotherm.base.errors import ImportFailed
from isotherm.bus.fanout import Fanout
from isotherm.bus.progress import ProgressStep
from isotherm.functions.model import FunctionConfig, Revision
from isotherm.tenancy.model import SYSTEM
from isotherm.wire.telemetry import Batch, InvocationRecord, LogLine, MinuteAggregate
from tests.api.conftest import World

CALLS = "/api/v1/namespaces/default/invocations"
HELLO = "/api/v1/namespaces/default/functions/hello"


@pytest.fixture
async def revision(world: World) -> Revision:
    config = FunctionConfig(package=await world.package())
    return (await asyncio.to_thread(world.rooms.functions.deploy, SYSTEM, "default", "hello", config)).revision


def call(number: int, revision_id: str, **changes: Any) -> InvocationRecord:
    values: dict[str, Any] = {
        "id": f"call-{number}",
        "namespace": "default",
        "name": "hello",
        "revision_id": revision_id,
        "alias": "live",
        "source": "url",
        "started_at_ms": 1_700_000_000_000 + number,
        "queue_ms": 0.1,
        "start_ms": 3.0,
        "run_ms": 1.0,
        "total_ms": 4.2,
        "outcome": "ok",
        "status": 200,
        "cold_cause": "template",
        "why_kept": "cold",
    }
    return InvocationRecord(**(values | changes))


def line(number: int, message: str, invocation_id: str | None = None) -> LogLine:
    return LogLine(
        namespace="default",
        name="hello",
        revision_id="rev_1",
        instance_id="i",
        at_ms=1_700_000_000_000 + number,
        message=message,
        invocation_id=invocation_id,
    )


async def ingest(world: World, sequence: int, **content: Any) -> None:
    batch = Batch(host_id="host_1", boot_id="boot_1", sequence=sequence, sent_at_ms=1, **content)
    await asyncio.to_thread(world.rooms.records.ingest, batch)


async def test_calls_are_listed_newest_first_and_by_function_and_outcome(
    world: World, client: httpx.AsyncClient, revision: Revision
) -> None:
    calls = [call(1, revision.id), call(2, revision.id, outcome="timeout", status=504), call(3, revision.id)]
    await ingest(world, 1, invocations=calls)
    listed = (await client.get(f"{CALLS}?limit=2")).json()
    assert [item["id"] for item in listed["items"]] == ["call-3", "call-2"]
    rest = (await client.get(f"{CALLS}?limit=2&cursor={listed['next_cursor']}")).json()
    assert ([item["id"] for item in rest["items"]], rest["next_cursor"]) == (["call-1"], None)
    late = (await client.get(f"{CALLS}?function=hello&outcome=timeout")).json()["items"]
    assert [item["id"] for item in late] == ["call-2"]
    assert (await client.get(f"{CALLS}?function=other")).json()["items"] == []
    assert (await client.get(f"{CALLS}?outcome=strange")).status_code == 400


async def test_a_call_can_be_read_and_explained(world: World, client: httpx.AsyncClient, revision: Revision) -> None:
    await ingest(world, 1, invocations=[call(1, revision.id)])
    assert (await client.get(f"{CALLS}/call-1")).json()["cold_cause"] == "template"
    explanation = (await client.get(f"{CALLS}/call-1/explanation")).json()
    assert explanation["cold"]
    assert {phase["name"] for phase in explanation["phases"]} >= {"queue", "start", "run"}
    assert (await client.get(f"{CALLS}/call-9")).status_code == 404
    assert (await client.get(f"{CALLS}/call-9/explanation")).status_code == 404


async def test_all_calls_are_counted_by_minute(world: World, client: httpx.AsyncClient, revision: Revision) -> None:
    def minute(at: int, count: int, **changes: Any) -> MinuteAggregate:
        values: dict[str, Any] = {
            "namespace": "default", "name": "hello", "revision_id": revision.id, "minute": at, "count": count,
            "outcomes": {"ok": count - 1, "timeout": 1}, "cold": {"first": 1, "expired": 1}, "latency": [],
            "total_ms": 9.0, "run_ms": 6.5, "queue_ms": 0.0,
        }  # fmt: skip
        return MinuteAggregate(**(values | changes))

    await ingest(world, 1, minutes=[minute(7, 3), minute(9, 2), minute(8, 4, name="other", revision_id="rev_2")])
    told = (await client.get("/api/v1/namespaces/default/minutes?limit=2&until_minute=20")).json()
    assert told["items"][0] == {
        "name": "hello", "revision_id": revision.id, "minute": 7, "count": 3, "cold": 2, "errors": 1, "run_ms": 6.5
    }  # fmt: skip
    rest = await client.get(f"/api/v1/namespaces/default/minutes?until_minute=20&cursor={told['next_cursor']}")
    assert [each["minute"] for each in told["items"] + rest.json()["items"]] == [7, 8, 9]
    of_one = (await client.get("/api/v1/namespaces/default/minutes?function=hello&since_minute=8")).json()
    assert [each["minute"] for each in of_one["items"]] == [9]
    for wrong in ("since_minute=-1", "until_minute=99999999999", "cursor=x", "function=A%20b"):
        assert (await client.get(f"/api/v1/namespaces/default/minutes?{wrong}")).status_code == 400


async def test_a_call_of_another_namespace_is_not_there(
    world: World, client: httpx.AsyncClient, revision: Revision
) -> None:
    await client.post("/api/v1/namespaces", json={"name": "other"})
    await ingest(world, 1, invocations=[call(1, revision.id)])
    assert (await client.get("/api/v1/namespaces/other/invocations/call-1")).status_code == 404


async def test_log_lines_are_read_in_order_and_on_from_a_cursor(
    world: World, client: httpx.AsyncClient, revision: Revision
) -> None:
    await ingest(world, 1, logs=[line(1, "a"), line(2, "b", "call-1"), line(3, "c")])
    last = (await client.get(f"{HELLO}/logs?limit=2")).json()
    assert [item["message"] for item in last["items"]] == ["b", "c"]
    await ingest(world, 2, logs=[line(4, "d")])
    later = (await client.get(f"{HELLO}/logs?cursor={last['next_cursor']}")).json()
    assert [item["message"] for item in later["items"]] == ["d"]
    of_call = (await client.get(f"{HELLO}/logs?invocation=call-1")).json()
    assert [item["message"] for item in of_call["items"]] == ["b"]
    since = (await client.get(f"{HELLO}/logs?since_ms=1700000000003")).json()
    assert [item["message"] for item in since["items"]] == ["c", "d"]
    assert (await client.get("/api/v1/namespaces/default/functions/absent/logs")).status_code == 404


async def test_progress_of_a_revision_that_failed_long_ago_is_its_end(
    world: World, client: httpx.AsyncClient, revision: Revision
) -> None:
    problem = ImportFailed("no module named x").problem()
    await asyncio.to_thread(world.rooms.functions.mark_failed, revision.id, problem)
    answer = await client.get(f"{HELLO}/revisions/1/progress")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(text) for text in answer.text.splitlines()] == [
        {"done": True, "state": "failed", "url": None, "problem": problem}
    ]
    assert len(world.services.progress.follow(revision.id)[0]) == 0


async def test_the_last_steps_and_hosts_come_before_the_end_of_a_deploy_that_is_over(
    world: World, revision: Revision
) -> None:
    loop, step = asyncio.get_running_loop(), ProgressStep(step="import", state="done")
    record = partial(world.services.progress.record, revision.id, step)
    world.api = Api(replace(world.services, settle=partial(loop.call_soon_threadsafe, record)))
    problem = ImportFailed("no module named x").problem()
    await asyncio.to_thread(world.rooms.functions.mark_failed, revision.id, problem)
    async with world.client(world.admin) as client:
        lines = (await client.get(f"{HELLO}/revisions/1/progress")).text.splitlines()
    assert [json.loads(text).get("step") for text in lines] == ["import", None]


async def test_streams_leave_no_subscription_behind(
    world: World, client: httpx.AsyncClient, revision: Revision
) -> None:
    world.services.stopping.set()
    assert (await client.get(f"{HELLO}/logs?follow=true")).status_code == 200
    assert (await client.get(f"{HELLO}/revisions/1/progress")).status_code == 200
    assert (await client.get(f"{HELLO}/logs?follow=true&cursor=bad")).status_code == 400
    assert len(world.services.logs) == 0


async def followed(world: World, token: str, change: Callable[[], Awaitable[object]]) -> bool:
    """Whether a stream of logs ends by a change, before it would look without one."""
    async with world.client(token) as reader:
        reading = asyncio.create_task(reader.get(f"{HELLO}/logs?follow=true"))
        async with asyncio.timeout(10):
            while not len(world.services.logs):
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        await change()
        done, _ = await asyncio.wait([reading], timeout=4.5)
        if not done:
            world.services.stopping.set()
        assert (await reading).status_code == 200
        world.services.stopping.clear()
    return bool(done)


@pytest.mark.usefixtures("revision")
async def test_a_stream_of_logs_ends_with_the_key_or_the_session_or_the_role_of_who_reads(
    world: World, client: httpx.AsyncClient
) -> None:
    keys = "/api/v1/namespaces/default/keys"
    key = (await client.post(keys, json={"name": "reader", "role": "viewer"})).json()
    assert await followed(world, key["token"], lambda: client.delete(f"{keys}/{key['id']}"))
    key = (await client.post(keys, json={"name": "reader", "role": "viewer"})).json()
    assert not await followed(world, key["token"], lambda: client.post(keys, json={"name": "other", "role": "viewer"}))
    grants = [{"namespace": "default", "role": "viewer"}]
    made = (await client.post("/api/v1/users", json={"name": "ann", "grants": grants})).json()
    user = f"/api/v1/users/{made['user']['id']}"
    password = {"invitation": made["invitation"], "password": "correct horse battery"}
    tokens = (await client.post("/api/v1/auth/register", json=password)).json()
    member = f"/api/v1/namespaces/default/members/{made['user']['id']}"
    assert await followed(world, tokens["access_token"], lambda: client.put(member, json={"role": "invoker"}))
    await client.put(member, json={"role": "viewer"})
    assert await followed(world, tokens["access_token"], lambda: client.post(f"{user}/logout"))


async def test_a_revision_deleted_while_its_progress_is_followed_ends_the_stream(
    world: World, client: httpx.AsyncClient, revision: Revision
) -> None:
    reading = asyncio.create_task(client.get(f"{HELLO}/revisions/1/progress"))
    async with asyncio.timeout(10):
        while not len(world.services.progress._fanout):
            await asyncio.sleep(0.005)
    await client.delete(HELLO)
    async with asyncio.timeout(30):
        lines = [json.loads(text) for text in (await reading).text.splitlines()]
    assert lines[-1]["state"] == "failed"
    assert lines[-1]["problem"]["code"] == "not_found"


async def test_a_reader_that_is_too_slow_is_told_what_it_lost(world: World) -> None:
    logs: Fanout[tuple[str, str], LogLine] = Fanout(limit=2)
    rest = logs.subscribe(("default", "hello"))
    for number in range(5):
        logs.publish(("default", "hello"), line(number, str(number)))
    shown = read_on(Call(world.services, SYSTEM, Request({"type": "http"})), rest, [], None)
    assert await anext(shown) == []
    lost, *lines = await anext(shown)
    assert (lost.stream, lost.message[:2]) == ("platform", "3 ")
    assert [one.message for one in lines] == ["3", "4"]
