"""Signed bodies of functions that take them as they come."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.front import Front, Reply
from tests.gateway.signer import in_chunks, refusal, send, signed
from tests.gateway.test_uploads import DIGEST, found

LARGE = b"0123456789" * 30_000  # over what is collected


@pytest.fixture
async def streaming(tmp_path: Path) -> AsyncIterator[Front]:
    front = Front(tmp_path, max_body_mb=0.1, max_stream_mb=8)
    await front.start()
    front.function("digest", DIGEST, request_body="stream", warm={"max_instances": 1})
    yield front
    await front.stop()


async def put(front: Front, headers: dict[str, str], body: bytes) -> Reply:
    return await send(front, "/digest", headers, body=body, method="PUT", port=front.content)


def declared(body: bytes) -> dict[str, str]:
    said = {"X-Amz-Content-Sha256": hashlib.sha256(body).hexdigest()}
    return signed("/digest", method="PUT", body=body, headers=said)


async def test_a_body_whose_digest_is_in_the_head_goes_on_as_it_comes(streaming: Front) -> None:
    assert (await put(streaming, declared(LARGE), LARGE)).json() == found(LARGE)


async def test_in_chunks_it_comes_decoded(streaming: Front) -> None:
    parts = [LARGE[:100_000], LARGE[100_000:]]
    headers, body = in_chunks("/digest", parts, method="PUT")
    assert (await put(streaming, headers, body)).json() == found(LARGE)


async def test_without_a_digest_it_is_collected_within_the_limit_of_whole_ones(streaming: Front) -> None:
    small = b"x" * 5_000
    assert (await put(streaming, signed("/digest", method="PUT", body=small), small)).json() == found(small)
    assert refusal(await put(streaming, signed("/digest", method="PUT", body=small), small + b"y"))[0] == 403
    reply = await put(streaming, signed("/digest", method="PUT", body=LARGE), LARGE)
    assert refusal(reply) == (413, "RequestEntityTooLargeException")


async def test_the_handler_is_told_that_another_body_broke_off(streaming: Front) -> None:
    reply = await put(streaming, declared(LARGE), LARGE[:-1] + b"x")
    assert refusal(reply) == (403, "InvalidSignatureException")
    for _ in range(100):
        log = (
            await send(
                streaming, "/digest/log", signed("/digest/log", method="GET"), method="GET", port=streaming.content
            )
        ).json()
        if log:
            break
        await asyncio.sleep(0.02)
    assert log == ["broken"]
