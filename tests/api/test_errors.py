"""Every failure is problem+json: what the framework says, what a body may be, what nobody foresaw."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from isotherm.base.settings import Settings
from tests.api.conftest import World, build_world

NAMESPACES = "/api/v1/namespaces"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/api/v1/me/", 404, "not_found"),
        ("PATCH", "/api/v1/namespaces/default", 405, "method_not_allowed"),
        ("GET", "/api/v1/namespaces?limit=0", 400, "invalid"),
        ("GET", "/api/v1/namespaces?limit=many", 400, "invalid"),
        ("GET", "/api/v1/namespaces?cursor=%00", 400, "invalid"),
        ("GET", "/api/v1/namespaces?limt=5", 400, "invalid"),
        ("GET", "/api/v1/me?limit=5", 400, "invalid"),
        ("GET", "/api/v1/namespaces/default/functions/not.one", 400, "invalid"),
        ("GET", "/api/v1/namespaces/default/functions/f/revisions/0", 400, "invalid"),
        ("GET", "/api/v1/namespaces/default/functions/f/revisions/99999999999999999999", 400, "invalid"),
        ("GET", "/api/v1/namespaces/default/functions/absent", 404, "not_found"),
    ],
)
async def test_a_failure_is_a_problem(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == answer.headers["x-amzn-requestid"]


async def test_a_405_names_every_method_of_the_path(client: httpx.AsyncClient) -> None:
    answer = await client.patch("/api/v1/namespaces/default/functions/f")
    assert answer.headers["allow"] == "DELETE, GET, PUT"


@pytest.mark.parametrize(
    ("content", "media", "status", "code"),
    [
        (b"", "application/json", 400, "malformed_request"),
        (b"{", "application/json", 400, "malformed_request"),
        (b"\xff\xfe", "application/json", 400, "malformed_request"),
        (b"[" * 100_000, "application/json", 400, "invalid"),
        (b'{"name": ' + b"[" * 100_000, "application/json", 400, None),
        (b'{"name": "\\ud800"}', "application/json", 400, None),
        (b'"text"', "application/json", 400, "invalid"),
        (b"{}", "application/json", 400, "invalid"),
        (b'{"name": "x", "more": 1}', "application/json", 400, "invalid"),
        (b'{"name": "x"}', "text/plain", 415, "unsupported_media_type"),
        (b'{"name": "' + b"x" * 5_000_000 + b'"}', "application/json", 413, "too_large"),
    ],
)
async def test_a_bad_body_is_refused(
    client: httpx.AsyncClient, content: bytes, media: str, status: int, code: str | None
) -> None:
    answer = await client.post(NAMESPACES, content=content, headers={"Content-Type": media})
    assert answer.status_code == status, answer.text
    assert code is None or answer.json()["code"] == code


async def test_a_body_without_length_is_cut_off_at_the_limit(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 65536
            yield b" " * 65536

    answer = await client.post(NAMESPACES, content=endless(), headers={"Content-Type": "application/json"})
    assert answer.json()["code"] == "too_large"
    assert sent < 6_000_000


async def test_what_nobody_foresaw_is_a_500_without_its_cause(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the secret cause")

    monkeypatch.setattr(world.rooms.tenancy, "namespaces", broken)
    answer = await client.get(NAMESPACES)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret cause" not in answer.text
    assert answer.headers["x-amzn-requestid"] in answer.json()["detail"]


async def test_a_key_that_calls_too_often_is_told_when_to_come_back(data_dir: Path) -> None:
    world = await asyncio.to_thread(build_world, data_dir, Settings(api_rate_per_s=5))
    async with world.client(world.admin) as client:
        answers = [await client.get("/api/v1/me") for _ in range(12)]
    limited = [answer for answer in answers if answer.status_code == 429]
    assert limited
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in limited)
    assert limited[0].json()["code"] == "too_many_requests"
    await asyncio.to_thread(world.rooms.close)


async def test_an_address_that_guesses_keys_is_slowed_down_and_good_keys_are_not(data_dir: Path) -> None:
    world = await asyncio.to_thread(build_world, data_dir, Settings(api_rate_per_s=2))
    async with world.client("iso_guess") as guesser:
        codes = {
            (await guesser.get("/api/v1/me", headers={"X-Forwarded-For": "203.0.113.9"})).status_code for _ in range(20)
        }
    assert codes == {401, 429}
    async with world.client(world.admin) as client:
        assert (await client.get("/api/v1/me", headers={"X-Forwarded-For": "203.0.113.9"})).status_code == 200
    await asyncio.to_thread(world.rooms.close)


async def test_answers_are_not_to_be_stored_by_anyone(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/me")
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")


async def test_the_index_is_json_for_programs(client: httpx.AsyncClient) -> None:
    index = (await client.get("/")).json()
    assert (index["name"], index["openapi"]) == ("isotherm", "/api/v1/openapi.json")


async def test_index_and_reference_are_pages_without_scripts(client: httpx.AsyncClient) -> None:
    for path in ("/", "/api/v1/docs"):
        page = await client.get(path, headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "rollback" in (await client.get("/api/v1/docs")).text
