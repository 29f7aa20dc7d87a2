"""Whom control believes that a request was signed: the gateway alone, for that request, while the key is good."""

import asyncio

import pytest

from isotherm.base.clock import SystemClock
from isotherm.sigv4.caller import CALLER_HEADER
from isotherm.tenancy.model import SYSTEM, NewKey
from tests.api.conftest import World
from tests.api.test_permissions import code_of as code

ME = "/api/v1/me"


def now_ms() -> int:
    return SystemClock().time_ms()


async def made(world: World, **options: int) -> NewKey:
    return await asyncio.to_thread(
        world.rooms.tenancy.create_key, SYSTEM, "default", name="k", role="viewer", **options
    )


def word(world: World, key_id: str, target: str = ME, method: str = "GET") -> dict[str, str]:
    return {CALLER_HEADER: world.rooms.caller_seal.write(key_id, method.encode(), target.encode(), now_ms())}


async def test_the_gateways_word_counts_as_the_key_that_it_names(world: World) -> None:
    key = await made(world)
    async with world.client(None) as client:
        answer = await client.get(ME, headers=word(world, key.key.id))
        assert (answer.status_code, answer.json()["principal_id"]) == (200, key.key.principal_id)
        target = "/api/v1/namespaces?limit=3"
        assert (await client.get(target, headers=word(world, key.key.id, target))).status_code == 200
        path = "/api/v1/namespaces/default/keys"
        assert (await client.get(path, headers=word(world, key.key.id, path))).status_code == 403


async def test_it_counts_for_no_other_request_and_from_nobody_else(world: World) -> None:
    key = await made(world)
    async with world.client(None) as client:
        for headers in (
            word(world, key.key.id, "/api/v1/status"),
            word(world, key.key.id, method="POST"),
            {CALLER_HEADER: f"{key.key.id} {now_ms()} {'0' * 64}"},
            {CALLER_HEADER: ""},
            {"Authorization": "AWS4-HMAC-SHA256 Credential=x"},
        ):
            answer = await client.get(ME, headers=headers)
            assert (answer.status_code, code(answer)) == (401, "unauthenticated")
        bearer = {"Authorization": f"Bearer {world.admin}", CALLER_HEADER: "forged"}
        assert (await client.get(ME, headers=bearer)).status_code == 401


async def test_a_key_that_was_revoked_or_has_expired_signs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await made(world)
    brief = await made(world, expires_at_ms=now_ms() + 60_000)
    async with world.client(None) as client:
        for each in (key, brief):
            assert (await client.get(ME, headers=word(world, each.key.id))).status_code == 200
        await asyncio.to_thread(world.rooms.tenancy.revoke_key, SYSTEM, "default", key.key.id)
        monkeypatch.setattr(SystemClock, "time_ms", lambda _: brief.key.expires_at_ms)
        for each in (key, brief):
            answer = await client.get(ME, headers=word(world, each.key.id))
            assert (answer.status_code, code(answer)) == (401, "unauthenticated")
