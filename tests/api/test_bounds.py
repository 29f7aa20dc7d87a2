"""Bounds in time and number: slow bodies, uploads at once, calls at once, package size."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from isotherm.base.settings import Settings
from tests.api.conftest import World, build_world, make_zip

PACKAGES = "/api/v1/namespaces/default/packages"
ZIP = {"Content-Type": "application/zip"}


@pytest.fixture
async def small(data_dir: Path) -> AsyncIterator[World]:
    """A platform with tight bounds."""
    settings = Settings(api_rate_per_s=100_000, body_timeout_s=0.05, max_package_mb=1)
    world = await asyncio.to_thread(build_world, data_dir, settings)
    yield world
    await asyncio.to_thread(world.rooms.close)


async def stalling(release: asyncio.Event) -> AsyncIterator[bytes]:
    yield b"PK"
    await release.wait()
    yield b""


async def test_a_body_that_stalls_is_given_up(small: World) -> None:
    release = asyncio.Event()
    async with small.client(small.admin) as client:
        answer = await client.post(PACKAGES, content=stalling(release), headers=ZIP)
        body = await client.post(
            "/api/v1/namespaces", content=stalling(release), headers={"Content-Type": "application/json"}
        )
    assert (answer.status_code, answer.json()["code"]) == (408, "request_timeout")
    assert body.status_code == 408


async def test_a_package_over_the_limit_is_cut_off_with_and_without_its_length(small: World) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b"\0" * 65536

    async with small.client(small.admin) as client:
        announced = await client.post(PACKAGES, content=b"\0" * 1_100_000, headers=ZIP)
        streamed = await client.post(PACKAGES, content=endless(), headers=ZIP)
    assert announced.json()["code"] == streamed.json()["code"] == "too_large"
    assert sent < 1_300_000


async def test_a_package_within_the_limit_leaves_no_file_behind(
    world: World, client: httpx.AsyncClient, data_dir: Path
) -> None:
    before = await asyncio.to_thread(lambda: sorted(path.name for path in data_dir.iterdir()))
    assert (await client.post(PACKAGES, content=make_zip({"app.py": b"#" * 300_000}), headers=ZIP)).status_code == 201
    after = await asyncio.to_thread(lambda: sorted(path.name for path in data_dir.iterdir()))
    assert set(after) - set(before) <= {"blobs"}


async def test_more_uploads_at_once_than_allowed_are_told_to_come_back(world: World, client: httpx.AsyncClient) -> None:
    release = asyncio.Event()
    uploads = [asyncio.create_task(client.post(PACKAGES, content=stalling(release), headers=ZIP)) for _ in range(8)]
    async with asyncio.timeout(10):
        while not world.api.framework.state.upload_slots.locked():
            await asyncio.sleep(0.005)
    refused = await client.post(PACKAGES, content=make_zip(), headers=ZIP)
    release.set()
    answers = await asyncio.gather(*uploads)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert {answer.json()["code"] for answer in answers} == {"invalid_package"}
    assert (await client.post(PACKAGES, content=make_zip(), headers=ZIP)).status_code == 201


async def test_calls_beyond_the_bound_are_refused_at_the_entrance(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isotherm.api.entrance._calls_at_once", 1)
    release, asked = asyncio.Event(), []

    async def noted() -> AsyncIterator[bytes]:
        asked.append(True)  # the endpoint reads: the call is under way
        async for part in stalling(release):
            yield part

    first = asyncio.create_task(client.post(PACKAGES, content=noted(), headers=ZIP))
    async with asyncio.timeout(10):
        while not asked:
            await asyncio.sleep(0.005)
    refused = await client.get("/api/v1/me")
    assert refused.json()["code"] == "unavailable"
    assert refused.headers["retry-after"] == "1"
    release.set()
    await first
    assert (await client.get("/api/v1/me")).status_code == 200
