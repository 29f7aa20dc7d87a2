"""Streamed answers of Node.js handlers: frames, credit, failures in the middle. The test plays the host."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from isotherm.base.runtimes import find_node
from isotherm_runtime.frames import Flag, Kind
from tests.conftest import require
from tests.runtime.local_instance import LocalInstance
from tests.runtime.streamed import StreamHost, body_of

CREDIT = 256 * 1024


@pytest.fixture(autouse=True)
def node() -> None:
    require(find_node() is not None, "needs Node.js 18 or newer")


@asynccontextmanager
async def serving(folder: Path, body: str, **config: int) -> AsyncIterator[StreamHost]:
    """A host of an instance whose handler `(event, stream, context)` has this body, and has said HELLO."""
    code = f"exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {{ {body} }});"
    instance = LocalInstance(folder, {"index.js": code}, runtime="nodejs20", handler="index.handler", **config)
    host = StreamHost(instance)
    try:
        assert (await host.next()).kind == Kind.HELLO
        yield host
    finally:
        instance.kill()
        await instance.exited
        instance.stream.close()


async def test_pieces_come_as_they_are_written_and_an_end(tmp_path: Path) -> None:
    body = "stream.setContentType('text/plain'); stream.write('one '); await null; stream.end('two');"
    async with serving(tmp_path, body) as host:
        host.http()
        frames = await host.until_end()
    assert [frame.kind for frame in frames[:2]] == [Kind.RESPONSE, Kind.CHUNK]
    assert (frames[0].flags, frames[0].json) == (Flag.HTTP | Flag.MORE, [200, [["content-type", "text/plain"]], []])
    assert (frames[-1].kind, frames[-1].head) == (Kind.END, b"")
    assert body_of(frames) == b"one two"


async def test_status_headers_and_cookies_are_those_of_the_metadata(tmp_path: Path) -> None:
    body = """
stream = awslambda.HttpResponseStream.from(stream, { statusCode: 418, headers: { 'X-A': 'b' }, cookies: ['c=1'] });
stream.end('tea');"""
    async with serving(tmp_path, body) as host:
        host.http()
        frames = await host.until_end()
        host.invoke({})
        plain = await host.until_end()
    assert frames[0].json == [418, [["X-A", "b"], ["content-type", "application/octet-stream"]], ["c=1"]]
    assert body_of(frames) == b"tea"
    prelude, _, rest = body_of(plain).partition(b"\0" * 8)  # as Lambda sends it where there is no HTTP
    assert (plain[0].flags, plain[0].head, rest) == (Flag.MORE, b"", b"tea")
    assert b'"statusCode":418' in prelude


async def test_an_answer_without_a_body_has_a_head_and_an_end(tmp_path: Path) -> None:
    async with serving(tmp_path, "stream.end();") as host:
        host.http()
        frames = await host.until_end()
    assert [(frame.kind, frame.body) for frame in frames] == [(Kind.RESPONSE, b""), (Kind.END, b"")]


async def test_no_more_is_sent_than_the_host_has_granted(tmp_path: Path) -> None:
    body = """
const { pipeline } = require('node:stream/promises');
const source = async function* () { for (let i = 0; i < 100; i++) yield Buffer.alloc(10_000, 97 + i % 26); };
await pipeline(source(), stream); console.log('written');"""
    async with serving(tmp_path, body) as host:
        stream = host.http()
        frames = await host.until_quiet(CREDIT)
        assert len(body_of(frames)) == CREDIT
        assert host.logs == []  # the handler waits
        host.grant(stream, 1000)
        assert len(body_of(await host.until_quiet(1000))) == 1000
        host.grant(stream, 10_000_000)
        frames += await host.until_end()
    assert frames[-1].kind == Kind.END
    assert len(body_of(frames)) + 1000 == 1_000_000
    assert host.logs == ["written"]
    assert max(len(frame.body) for frame in frames) <= 64 * 1024


async def test_an_error_before_the_first_piece_is_an_error_like_any_other(tmp_path: Path) -> None:
    async with serving(tmp_path, "throw new RangeError('early');") as host:
        host.http()
        frame = await host.next()
    assert (frame.kind, frame.json["error_type"], frame.json["error_message"]) == (Kind.ERROR, "RangeError", "early")


@pytest.mark.parametrize(
    "body",
    [
        "stream.write('half'); await null; throw new RangeError('late');",
        "stream.write('half'); stream.destroy(new RangeError('late')); await new Promise(() => {});",
        "stream.write('half'); setTimeout(() => { throw new RangeError('late'); }); await new Promise(() => {});",
    ],
)
async def test_an_error_after_it_ends_the_answer_with_an_error(tmp_path: Path, body: str) -> None:
    async with serving(tmp_path, body) as host:
        host.http()
        frames = await host.until_end()
    assert body_of(frames) == b"half"
    assert frames[-1].kind == Kind.END
    assert (frames[-1].json["error_type"], frames[-1].json["error_message"]) == ("RangeError", "late")
    assert any("late" in line for line in host.logs)


async def test_bad_metadata_fail_the_call_and_name_the_field(tmp_path: Path) -> None:
    async with serving(tmp_path, "awslambda.HttpResponseStream.from(stream, { statusCode: 9 });") as host:
        host.http()
        error = (await host.next()).json
    assert (error["kind"], "statusCode is 9" in error["error_message"]) == ("response", True)


async def test_a_cancelled_answer_ends_and_frees_the_handler(tmp_path: Path) -> None:
    body = """
stream.on('close', () => console.log('closed'));
for (;;) if (!stream.write('x'.repeat(1000))) await new Promise((resolve) => stream.once('drain', resolve));"""
    async with serving(tmp_path, body) as host:
        stream = host.http()
        await host.until_quiet(CREDIT)
        host.cancel(stream)
        frame = await host.next()
        assert (frame.kind, frame.json["kind"]) == (Kind.END, "cancelled")
        host.http()  # the instance takes the next call
        assert (await host.next()).kind == Kind.RESPONSE


async def test_answers_are_streamed_beside_each_other(tmp_path: Path) -> None:
    body = "stream.write('a'); await new Promise((resolve) => setTimeout(resolve, 50)); stream.end('b');"
    async with serving(tmp_path, body, concurrency=4) as host:
        streams = [host.http() for _ in range(4)]
        bodies, ended = dict.fromkeys(streams, b""), 0
        with contextlib.suppress(TimeoutError):
            while ended < 4:
                frame = await host.next()
                bodies[frame.stream] += frame.body
                ended += frame.kind == Kind.END
    assert set(bodies.values()) == {b"ab"}
