"""Routes of asynchronous calls: what the host is asked, what it answers, who may, and what is written down."""

from typing import Any

import httpx

from tests.api.conftest import QueueBook, World

QUEUED = {
    "id": "c1", "namespace": "default", "name": "f", "qualifier": None, "source": "async", "state": "dead",
    "accepted_at_ms": 1, "due_at_ms": 1, "attempts": 3,
}  # fmt: skip


def book(world: World) -> QueueBook:
    assert isinstance(world.services.queues, QueueBook)
    return world.services.queues


async def deployed(world: World, client: httpx.AsyncClient) -> None:
    body = {"package": await world.package()}
    assert (await client.put("/api/v1/namespaces/default/functions/f", json=body)).status_code == 202


async def test_calls_are_listed_page_by_page(world: World, client: httpx.AsyncClient) -> None:
    book(world).answers["calls"] = {"calls": [QUEUED], "next_below": 7}
    first = await client.get("/api/v1/namespaces/default/calls?state=dead&function=f&limit=1")
    assert (first.status_code, first.json()["items"][0]["id"]) == (200, "c1")
    await client.get(f"/api/v1/namespaces/default/calls?cursor={first.json()['next_cursor']}")
    one, two = book(world).asked
    assert (one.namespace, one.name, one.state, one.limit, one.below) == ("default", "f", "dead", 1, None)
    assert two.below == 7


async def test_a_call_that_is_not_there_is_404(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/namespaces/default/calls/nothing")
    assert (answer.status_code, "nothing" in answer.json()["detail"]) == (404, True)


async def test_who_may_invoke_may_ask_for_its_call_but_not_list_or_steer(world: World) -> None:
    book(world).answers["call"] = {"call": QUEUED, "event": 1, "result": None}
    async with world.client(await world.key("invoker")) as invoker:
        assert (await invoker.get("/api/v1/namespaces/default/calls/c1")).json()["event"] == 1
        assert (await invoker.get("/api/v1/namespaces/default/calls")).status_code == 403
        assert (await invoker.post("/api/v1/namespaces/default/functions/f/queue/purge")).status_code == 403


async def test_steering_is_in_the_audit_log_with_who_did_it(world: World, client: httpx.AsyncClient) -> None:
    await deployed(world, client)
    answers: dict[str, Any] = book(world).answers
    answers["redrive"] = {"count": 2, "ids": ["c2", "c3"]}
    url = "/api/v1/namespaces/default/functions/f/queue"
    assert (await client.post(f"{url}/redrive", json={"ids": ["c1"]})).json() == answers["redrive"]
    assert (await client.post(f"{url}/purge?state=dead")).status_code == 200
    me = (await client.get("/api/v1/me")).json()["principal_id"]
    asked = book(world).asked
    assert [(order.action, order.ids, order.state, order.principal_id) for order in asked] == [
        ("redrive", ["c1"], None, me),
        ("purge", None, "dead", me),
    ]
    events = (await client.get("/api/v1/events?namespace=default&limit=2")).json()["items"]
    assert [(event["kind"], event["principal_id"]) for event in events] == [("workload.queue_steered", me)] * 2
    assert events[1]["data"] == {"action": "redrive", "count": 2}


async def test_nothing_is_asked_about_a_function_that_is_not_there(world: World, client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/v1/namespaces/default/functions/g/queue/pause")).status_code == 404
    assert book(world).asked == []
