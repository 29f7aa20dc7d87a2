"""Answers in pieces: slots, limits, ends, and instances that do not keep to the protocol."""

import asyncio

import pytest

from isotherm.base.errors import HandlerFailed, InstanceCrashed, InvalidResponse, TimedOut, Unavailable
from isotherm.sandbox.model import Exit
from isotherm_runtime.frames import MAX_PIECE_BYTES, WINDOW_BYTES, Flag, Kind, pack_frame
from tests.pool.bench import Answer, PoolBench

PIECES = """
import os, time
def handler(event, context):
    for number in range(event["count"]):
        time.sleep(event.get("pause", 0))
        yield "x" * event.get("size", 1)
        while not os.path.exists(event.get("go", "/")):
            time.sleep(0.005)
    if event.get("fail"):
        raise KeyError("late")
"""
SLEEPER = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"


async def begun(bench: PoolBench, answer: Answer, size: int = 1) -> None:
    await bench.until(lambda: len(answer.pieces or b"") >= size, "the first pieces")


async def test_a_stream_holds_its_slot_until_its_end(bench: PoolBench) -> None:
    revision = bench.revision(PIECES, warm={"max_instances": 1})
    go = bench.folder / "go"
    first = bench.call(revision, {"count": 5, "go": str(go)})
    await begun(bench, first)
    second = bench.call(revision, {"count": 1})
    assert list(revision.queue) == [second.call]
    go.touch()
    assert await first.value() == b"xxxxx"
    assert await second.value() == b"x"
    (connection,) = revision.connections.values()
    assert (connection.calls, connection._answers, connection.served) == ({}, {}, 2)


async def test_what_is_not_taken_is_not_followed_by_more_than_a_window(bench: PoolBench) -> None:
    revision = bench.revision(PIECES, concurrency=2)
    stalled = bench.call(revision, {"count": 100, "size": 100_000})
    stalled.takes = False
    await begun(bench, stalled, WINDOW_BYTES)
    assert await bench.call(revision, {"count": 2}).value() == b"xx"  # the calls beside it go on
    assert len(stalled.pieces or b"") == WINDOW_BYTES
    stalled.takes = True
    stalled.stream.taken(WINDOW_BYTES)
    assert len(await stalled.value()) == 10_000_000


async def test_a_stream_that_breaks_off_fails_its_call(bench: PoolBench) -> None:
    revision = bench.revision(PIECES)
    with pytest.raises(HandlerFailed, match="late"):
        await bench.call(revision, {"count": 2, "fail": True}).value()
    dying = bench.call(revision, {"count": 1000, "pause": 0.01})
    await begun(bench, dying)
    bench.driver.instances[0].die(Exit(signal=9))
    with pytest.raises(InstanceCrashed):
        await dying.value()
    assert await bench.call(revision, {"count": 1}).value() == b"x"


async def test_secrets_are_hidden_in_what_a_stream_breaks_off_with(bench: PoolBench) -> None:
    code = "def handler(event, context):\n    yield 'x'\n    raise ValueError('the key is s3cret-value-1')\n"
    revision = bench.revision(code, env={"KEY": "s3cret-value-1"}, secrets={"KEY": "key"})
    with pytest.raises(HandlerFailed) as failed:
        await bench.call(revision).value()
    assert "the key is" in failed.value.message
    assert "s3cret" not in str(failed.value.problem("id"))


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_the_time_limit_is_for_the_whole_stream(bench: PoolBench, concurrency: int) -> None:
    revision = bench.revision(PIECES, timeout_s=0.3, concurrency=concurrency)
    call = bench.call(revision, {"count": 1000, "pause": 0.01})
    with pytest.raises(TimedOut):
        await call.value()
    assert len(call.pieces or b"") > 2
    assert await bench.call(revision, {"count": 1}).value() == b"x"


async def test_an_abandoned_stream_is_closed_and_its_slot_serves_the_next(bench: PoolBench) -> None:
    revision = bench.revision(PIECES, warm={"max_instances": 1})
    left = bench.call(revision, {"count": 100_000, "pause": 0.005})
    await begun(bench, left)
    revision.abandon(left.call)
    assert await bench.call(revision, {"count": 1}).value() == b"x"
    assert bench.driver.started == 1
    early = bench.call(revision, {"count": 1000, "pause": 0.05})  # left before its answer has begun
    await bench.until(lambda: early.call.carrier is not None)
    revision.abandon(early.call)
    assert await bench.call(revision, {"count": 1}).value() == b"x"
    assert bench.driver.started == 1


async def test_an_answer_over_the_limit_is_broken_off(bench: PoolBench) -> None:
    object.__setattr__(bench.pool.limits, "max_stream_bytes", 1_000_000)
    revision = bench.revision(PIECES, warm={"max_instances": 1})
    with pytest.raises(InvalidResponse, match="over the limit"):
        await bench.call(revision, {"count": 100, "size": 100_000}).value()
    assert await bench.call(revision, {"count": 1}).value() == b"x"
    assert bench.driver.started == 1


async def test_a_removed_revision_lets_its_streams_end(bench: PoolBench) -> None:
    revision = bench.revision(PIECES)
    running = bench.call(revision, {"count": 10, "pause": 0.02})
    await begun(bench, running)
    forgetting = asyncio.create_task(bench.pool.forget(revision.spec.id))
    await bench.until(lambda: revision.closing)
    with pytest.raises(Unavailable):
        await bench.call(revision, {"count": 1}).value()
    assert await running.value() == b"x" * 10
    await forgetting


BEGIN = pack_frame(Kind.RESPONSE, 1, flags=Flag.MORE)
PIECE = pack_frame(Kind.CHUNK, 1, b"", b"x" * MAX_PIECE_BYTES)


@pytest.mark.parametrize(
    "frames",
    [
        PIECE,
        pack_frame(Kind.END, 1),
        BEGIN + BEGIN,
        BEGIN + PIECE * 5,
        BEGIN + pack_frame(Kind.CHUNK, 1, b"", b"x" * (WINDOW_BYTES + 1)),
        BEGIN + pack_frame(Kind.CHUNK, 1, b"", b"x" * (8 << 20)),
        BEGIN + pack_frame(Kind.CHUNK, 7, b"", b"x"),
        BEGIN + pack_frame(Kind.END, 1) + PIECE,
    ],
    ids=[
        "no begin",
        "end of none",
        "twice",
        "over its credit",
        "one too large",
        "huge",
        "another call",
        "after its end",
    ],
)
async def test_an_instance_that_breaks_the_protocol_is_ended(bench: PoolBench, frames: bytes) -> None:
    revision = bench.revision(SLEEPER, concurrency=2)
    call, beside = bench.call(revision, 2), bench.call(revision, 2)
    call.takes = False
    await bench.until(lambda: beside.call.carrier is not None)
    sending = asyncio.create_task(asyncio.to_thread(bench.driver.instances[0]._end.sendall, frames))
    with pytest.raises(InstanceCrashed, match="protocol"):
        await beside.value()
    assert await bench.call(revision, 0).value() == 0
    assert bench.driver.started == 2
    await asyncio.wait([sending])
    sending.exception()  # the stream may have ended before all was sent
