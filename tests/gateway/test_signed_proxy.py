"""Signed requests for control: whose they are is vouched for, and nothing reaches control that was not signed."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from isotherm.base.errors import Unauthenticated
from isotherm.sigv4.caller import CallerSeal
from tests.gateway.front import Front
from tests.gateway.signer import in_chunks, presigned, refusal, send, signed
from tests.gateway.test_proxy import Control, hello

PATH = "/api/v1/namespaces?limit=5"


class Upstream:
    """What control got: heads, and the bodies that came whole."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        self.targets: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        first, *lines = head.decode().strip().split("\r\n")
        self.targets.append(first.split(" ")[1])
        headers = dict(line.lower().split(": ", 1) for line in lines)
        self.heads.append(headers)
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
        elif "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        self.bodies.append(body)
        await hello(reader, writer, head)


@pytest.fixture
async def upstream(front: Front) -> AsyncIterator[Upstream]:
    found = Upstream()
    async with Control(front, found.serve):
        yield found


def vouched(front: Front, upstream: Upstream, method: str = "GET") -> str:
    """Whose key the gateway said that it was. Raises `Unauthenticated`."""
    caller = upstream.heads[-1]["x-isotherm-caller"]
    return CallerSeal(front.vault).read(caller, method.encode(), upstream.targets[-1].encode(), front.time_ms())


async def test_control_is_told_whose_key_signed(front: Front, upstream: Upstream) -> None:
    for service in ("execute-api", "lambda"):
        headers = signed(PATH, method="GET", service=service)
        assert (await send(front, PATH, headers, method="GET")).body == b"hello"
        assert vouched(front, upstream) == "key_iso_admin"
        assert upstream.targets[-1] == PATH
        assert "authorization" not in upstream.heads[-1]
    target = presigned(PATH)
    assert (await send(front, target, {}, method="GET")).body == b"hello"
    assert (vouched(front, upstream), upstream.targets[-1]) == ("key_iso_admin", PATH)


async def test_the_word_holds_for_this_request_and_this_moment(front: Front, upstream: Upstream) -> None:
    await send(front, PATH, signed(PATH, method="GET"), method="GET")
    caller = upstream.heads[-1]["x-isotherm-caller"]
    seal, target, now_ms = CallerSeal(front.vault), PATH.encode(), front.time_ms()
    assert seal.read(caller, b"GET", target, now_ms) == "key_iso_admin"
    for value, method, path, at_ms in (
        (caller, b"DELETE", target, now_ms),
        (caller, b"GET", b"/api/v1/hosts", now_ms),
        (caller, b"GET", target, now_ms + 61_000),
        (caller.replace("key_iso_admin", "key_iso_other"), b"GET", target, now_ms),
        ("", b"GET", target, now_ms),
        ("key_iso_admin 1 é", b"GET", target, now_ms),
        ("x" * 300, b"GET", target, now_ms),
    ):
        with pytest.raises(Unauthenticated):
            seal.read(value, method, path, at_ms)


@pytest.mark.parametrize("name", ["X-Isotherm-Caller", "x-isotherm-caller", "X-ISOTHERM-CALLER"])
async def test_nobody_outside_vouches_for_themselves(front: Front, upstream: Upstream, name: str) -> None:
    forged = CallerSeal(front.vault).write("key_iso_admin", b"GET", PATH.encode(), front.time_ms())
    await send(front, PATH, {name: forged}, method="GET")
    assert "x-isotherm-caller" not in upstream.heads[-1]
    await send(front, PATH, signed(PATH, method="GET", token="iso_admin") | {name: "x"}, method="GET")
    assert vouched(front, upstream) == "key_iso_admin"


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("size", [2, 300_000])
async def test_a_signed_body_arrives_whole(front: Front, upstream: Upstream, declared: bool, size: int) -> None:
    body = (b"0123456789" * (size // 10 + 1))[:size]
    said = {"X-Amz-Content-Sha256": hashlib.sha256(body).hexdigest()} if declared else {}
    headers = signed(PATH, body=body, headers=said)
    assert (await send(front, PATH, headers, body=body)).body == b"hello"
    assert upstream.bodies == [body]
    assert vouched(front, upstream, "POST") == "key_iso_admin"


@pytest.mark.parametrize("declared", [True, False])
async def test_another_body_never_counts_as_whole(front: Front, upstream: Upstream, declared: bool) -> None:
    body = b"x" * 100_000
    said = {"X-Amz-Content-Sha256": hashlib.sha256(body).hexdigest()} if declared else {}
    reply = await send(front, PATH, signed(PATH, body=body, headers=said), body=body[:-1] + b"y")
    assert (reply.status, reply.json()["code"]) == (401, "signature_refused")
    assert reply.json()["data"]["reason"] == ("payload" if declared else "mismatch")
    assert upstream.bodies == []


async def test_chunks_are_taken_apart_on_the_way(front: Front, upstream: Upstream) -> None:
    parts = [b"a" * 70_000, b"b" * 70_000, b"c"]
    headers, body = in_chunks(PATH, parts)
    assert (await send(front, PATH, headers, body=body)).body == b"hello"
    assert upstream.bodies == [b"".join(parts)]
    assert "content-encoding" not in upstream.heads[-1]
    assert "x-amz-decoded-content-length" not in upstream.heads[-1]
    reply = await send(front, PATH, headers, body=body.replace(b"b", b"d"))
    assert (reply.status, reply.json()["code"]) == (401, "signature_refused")
    assert upstream.bodies == [b"".join(parts)]


async def test_refusals_on_our_own_paths_are_problems_and_on_lambdas_are_awss(front: Front, upstream: Upstream) -> None:
    reply = await send(front, PATH, signed(PATH, method="GET", secret="wrong"), method="GET")
    assert (reply.status, reply.json()["code"], reply.json()["data"]["reason"]) == (
        401,
        "signature_refused",
        "mismatch",
    )
    functions = "/2015-03-31/functions"
    for secret, token, name in (
        ("wrong", "iso_admin", "InvalidSignatureException"),
        (None, "iso_nobody", "UnrecognizedClientException"),
    ):
        headers = signed(functions, method="GET", token=token, secret=secret)
        assert refusal(await send(front, functions, headers, method="GET")) == (403, name)
    headers = signed(PATH, body=b"1", secret="wrong")
    assert (await send(front, PATH, headers, body=b"1")).json()["data"]["reason"] == "mismatch"
    assert upstream.heads == []


async def test_a_body_that_is_too_large_is_refused_by_its_head_and_as_it_comes(
    front: Front, upstream: Upstream
) -> None:
    wire = await front.wire(front.api)
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed(PATH).items())
    wire.send(f"POST {PATH} HTTP/1.1\r\nHost: test\r\n{lines}Content-Length: 1000001\r\n\r\n".encode())
    assert (await wire.reply()).status == 413
    wire = await front.wire(front.api)
    wire.send(f"POST {PATH} HTTP/1.1\r\nHost: test\r\n{lines}Transfer-Encoding: chunked\r\n\r\n".encode())
    for _ in range(17):
        wire.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    assert (await wire.reply()).status == 413
    assert upstream.heads == []
    assert front.api.buffered_bytes == 0


async def test_signed_and_bearer_requests_take_turns_on_a_connection(front: Front, upstream: Upstream) -> None:
    wire = await front.wire(front.api)
    sent = b""
    for number in range(3):
        body = b"%d" % number * 1000
        lines = "".join(f"{name}: {value}\r\n" for name, value in signed(PATH, body=body).items())
        sent += f"POST {PATH} HTTP/1.1\r\nHost: test\r\n{lines}Content-Length: 1000\r\n\r\n".encode() + body
        sent += b"GET /api/v1/me HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer iso_admin\r\n\r\n"
    wire.send(sent)
    assert [(await wire.reply()).body for _ in range(6)] == [b"hello"] * 6
    assert [body[:1] for body in upstream.bodies] == [b"0", b"", b"1", b"", b"2", b""]


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(front: Front, upstream: Upstream) -> None:
    wire = await front.wire(front.api)
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed(PATH, body=b"x" * 200_000).items())
    wire.send(f"POST {PATH} HTTP/1.1\r\nHost: test\r\n{lines}Content-Length: 200000\r\n\r\n".encode() + b"x" * 100_000)
    await front.bench.until(lambda: front.api.buffered_bytes == 100_000, "half of the body")
    wire.close()
    await front.bench.until(lambda: front.api.buffered_bytes == 0, "the client's end")
    assert upstream.heads == []
