"""Logins over REST: tokens, refusals alike, and a storm that stops nothing else."""

import asyncio
import threading
import time
from typing import Any

import httpx
import pytest

from isotherm.api.desk import PasswordDesk
from isotherm.base.errors import TooManyRequests
from isotherm.base.settings import Settings
from tests.api.conftest import World, build_world

PASSWORD = "correct horse battery"
AUTH = "/api/v1/auth"


async def make_user(client: httpx.AsyncClient, name: str = "ann", **grants: str) -> dict[str, Any]:
    """The tokens of a new user."""
    body = {"name": name, "grants": [{"namespace": ns, "role": role} for ns, role in grants.items()]}
    invited = await client.post("/api/v1/users", json=body)
    assert invited.status_code == 201, invited.text
    assert invited.headers["location"] == f"/api/v1/users/{invited.json()['user']['id']}"
    made = await client.post(
        f"{AUTH}/register", json={"invitation": invited.json()["invitation"], "password": PASSWORD}
    )
    assert made.status_code == 201, made.text
    tokens: dict[str, Any] = made.json()
    return tokens


async def login(client: httpx.AsyncClient, password: str = PASSWORD, name: str = "ann") -> httpx.Response:
    return await client.post(f"{AUTH}/login", json={"name": name, "password": password})


async def test_from_invitation_to_logout(world: World, client: httpx.AsyncClient) -> None:
    tokens = await make_user(client, default="viewer")
    async with world.client(tokens["access_token"]) as ann:
        me = (await ann.get("/api/v1/me")).json()
        assert (me["name"], me["kind"], me["grants"]) == ("ann", "user", [{"namespace": "default", "role": "viewer"}])
        assert (await ann.get("/api/v1/namespaces/default/functions")).status_code == 200
        assert (await ann.get("/api/v1/namespaces/default/keys")).status_code == 403
        fresh = await ann.post(f"{AUTH}/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert fresh.status_code == 200
        out = await ann.post(f"{AUTH}/logout", json={"refresh_token": fresh.json()["refresh_token"]})
        assert out.status_code == 204
        assert (await ann.get("/api/v1/me")).status_code == 401
    assert len(world.settled) >= 2, "hosts know before the answer"


async def test_a_key_sees_itself_and_its_scopes(world: World, client: httpx.AsyncClient) -> None:
    body = {"name": "k", "role": "viewer", "scopes": ["read"]}
    made = (await client.post("/api/v1/namespaces/default/keys", json=body)).json()
    async with world.client(made["token"]) as key:
        me = (await key.get("/api/v1/me")).json()
    assert (me["kind"], me["name"], me["scopes"]) == ("key", None, ["read"])


async def test_refusals_are_alike_and_lock_with_retry_after(client: httpx.AsyncClient) -> None:
    await make_user(client)
    refusals = [await login(client, "wrong", name) for name in ("ann", "nobody")]
    assert {answer.status_code for answer in refusals} == {401}
    assert len({str({**answer.json(), "instance": ""}) for answer in refusals}) == 1
    for name in ("ann", "nobody"):
        for _ in range(4):
            await login(client, "wrong", name)
        locked = await login(client, PASSWORD, name)
        assert locked.status_code == 429
        assert 1 <= int(locked.headers["retry-after"]) <= 15


async def test_a_users_password_is_changed_and_a_key_has_none(world: World, client: httpx.AsyncClient) -> None:
    tokens = await make_user(client)
    body = {"current_password": PASSWORD, "new_password": "another good passphrase"}
    async with world.client(tokens["access_token"]) as ann:
        assert (await ann.put(f"{AUTH}/password", json=body)).status_code == 204
        assert (await ann.get("/api/v1/me")).status_code == 401
    assert (await login(client)).status_code == 401
    assert (await login(client, "another good passphrase")).status_code == 200
    assert (await client.put(f"{AUTH}/password", json=body)).status_code == 400


async def test_registration_is_closed(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{AUTH}/register", json={"name": "eve", "password": PASSWORD})
    assert answer.status_code == 403
    assert "registration is closed" in answer.json()["detail"]


async def test_an_invocation_of_another_function_is_not_there_for_a_key_with_a_pattern(
    world: World, client: httpx.AsyncClient
) -> None:
    detail = {
        "call": {
            "id": "call-1", "namespace": "default", "name": "img", "qualifier": None, "source": "invoke",
            "state": "succeeded", "accepted_at_ms": 1, "due_at_ms": 1, "attempts": 0,
        },
        "event": 1,
    }  # fmt: skip
    world.services.queues.answers["call"] = detail  # type: ignore[attr-defined]  # the test's own
    for scope, status in (("invoke:img", 200), ("invoke:other", 404)):
        body = {"name": "k", "role": "invoker", "scopes": [scope]}
        made = (await client.post("/api/v1/namespaces/default/keys", json=body)).json()
        async with world.client(made["token"]) as key:
            assert (await key.get("/api/v1/namespaces/default/calls/call-1")).status_code == status


async def test_lists_by_function_are_open_to_a_key_with_its_pattern(world: World, client: httpx.AsyncClient) -> None:
    body = {"name": "k", "role": "viewer", "scopes": ["read:img"]}
    made = (await client.post("/api/v1/namespaces/default/keys", json=body)).json()
    async with world.client(made["token"]) as key:
        for path in ("invocations", "calls"):
            url = f"/api/v1/namespaces/default/{path}"
            statuses = [(await key.get(url + query)).status_code for query in ("?function=img", "?function=x", "")]
            assert statuses == [200, 403, 403]
        assert (await key.get("/api/v1/namespaces/default/quota?function=img")).status_code == 403


async def test_logins_are_counted_in_the_metrics(world: World, client: httpx.AsyncClient) -> None:
    await make_user(client)
    await login(client)
    for _ in range(6):
        await login(client, "wrong")
    async with world.client(None) as nobody:
        page = (await nobody.get("/internal/metrics")).text
    for line in (
        "isotherm_logins_total 1.0",
        "isotherm_login_failures_total 5.0",
        "isotherm_login_lockouts_total 1.0",
        "isotherm_login_refused_total 1.0",
        "isotherm_refresh_reuses_total 0.0",
    ):
        assert line in page


async def test_calls_without_a_key_have_a_rate_of_their_own(data_dir: Any) -> None:
    world = await asyncio.to_thread(build_world, data_dir, Settings(api_rate_per_s=1))
    try:
        async with world.client(None) as client:
            headers = {"X-Forwarded-For": "203.0.113.5"}
            body = {"refresh_token": "isr_x"}
            statuses = [
                (await client.post(f"{AUTH}/refresh", json=body, headers=headers)).status_code for _ in range(8)
            ]
            assert statuses == [401] * 6 + [429] * 2
            other = await client.post(f"{AUTH}/refresh", json=body, headers={"X-Forwarded-For": "203.0.113.6"})
            assert other.status_code == 401
            for last, expected in ((1, 401), (2, 429)):  # of one network of IPv6 anybody has all addresses
                for number in range(6):
                    headers = {"X-Forwarded-For": f"2001:db8:0:7::{last}:{number}"}
                    answer = await client.post(f"{AUTH}/refresh", json=body, headers=headers)
                assert answer.status_code == expected
            mapped = await client.post(f"{AUTH}/refresh", json=body, headers={"X-Forwarded-For": "::ffff:203.0.113.5"})
            assert mapped.status_code == 429
    finally:
        await asyncio.to_thread(world.rooms.close)


async def test_a_full_desk_refuses_at_once_and_blocks_nobody() -> None:
    desk, go = PasswordDesk(threads=1), threading.Event()
    waiting = [asyncio.create_task(desk.run(go.wait, 10)) for _ in range(17)]
    await asyncio.sleep(0)
    began = time.monotonic()
    with pytest.raises(TooManyRequests):
        await desk.run(go.wait, 10)
    assert time.monotonic() - began < 8  # those before it wait ten seconds
    go.set()
    assert await asyncio.gather(*waiting) == [True] * 17
    assert await desk.run(lambda: 1) == 1
