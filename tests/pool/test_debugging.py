"""A debugger's session on the host's side: credit, what it reads along, and the time of calls that stand still."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import TimedOut
from isotherm.pool import deadlines
from isotherm.pool.debugging import DapReader, DebugStream
from isotherm_runtime.frames import MAX_PIECE_BYTES, WINDOW_BYTES, Kind, split_frames
from tests.pool.bench import PoolBench

SLEEPER = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"


def said(event: str, **body: Any) -> bytes:
    text = json.dumps({"type": "event", "seq": 1, "event": event, "body": body}).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(text), text)


class Client:
    def __init__(self) -> None:
        self.heard = b""
        self.why: list[str] = []
        self.rooms = 0

    def received(self, data: bytes) -> None:
        self.heard += data

    def room(self) -> None:
        self.rooms += 1

    def ended(self, why: str) -> None:
        self.why.append(why)


class Session:
    """A stream with what it wrote and said."""

    def __init__(self) -> None:
        self.client = Client()
        self.frames: list[tuple[int, int, int, int, bytes, bytes]] = []
        self.paused: list[bool] = []
        self.stream = DebugStream(
            5, lambda data: self.frames.extend(split_frames(data)[0]), self.client, self.paused.append
        )

    def sent(self) -> bytes:
        return b"".join(frame[5] for frame in self.frames if frame[0] == Kind.CHUNK)


messages = st.lists(
    st.sampled_from(
        [
            said("stopped", threadId=1),
            said("continued", threadId=1, allThreadsContinued=True),
            said("continued", threadId=1, allThreadsContinued=False),
            said("output", output='"event": "stopped"'),
            b'Content-Length: 27\r\n\r\n{"type": "response", "a": 1}'[:-1],
            said("terminated"),
        ]
    )
)


@given(messages, st.lists(st.integers(1, 40)))
def test_it_knows_whether_the_program_stands_however_the_bytes_fall(parts: list[bytes], cuts: list[int]) -> None:
    text = b"".join(parts)
    reader, stands, at = DapReader(), None, 0
    for size in [*cuts, max(1, len(text))]:
        heard = reader.feed(text[at : at + size])
        stands, at = (stands if heard is None else heard), at + size
    told = [each for each in parts if b'"event"' in each and b"output" not in each and b"false" not in each]
    assert stands == (None if not told else b'"stopped"' in told[-1])


@given(st.binary(max_size=10_000))
def test_bytes_that_are_no_such_protocol_do_no_harm(data: bytes) -> None:
    reader = DapReader()
    reader.feed(data)
    assert len(reader._text) <= 10_000


def test_a_message_that_is_too_large_is_passed_over() -> None:
    reader = DapReader()
    reader.feed(b"Content-Length: 99000000\r\n\r\n")
    for _ in range(99):
        assert reader.feed(bytes(1_000_000)) is None
    assert reader.feed(said("stopped")) is True


@given(st.lists(st.binary(min_size=1, max_size=100_000), max_size=12), st.lists(st.integers(1, 200_000), max_size=12))
def test_no_more_is_sent_than_was_granted_and_all_in_order(parts: list[bytes], grants: list[int]) -> None:
    session = Session()
    for data in parts:
        session.stream.send(data)
        assert len(session.sent()) <= WINDOW_BYTES
    whole, taken = b"".join(parts), 0
    for grant in grants:
        size = min(grant, len(session.sent()) - taken)
        taken += size
        assert session.stream.granted(size)
        assert len(session.sent()) - taken <= WINDOW_BYTES
    assert whole.startswith(session.sent())
    assert session.stream.full() == (len(session.sent()) < len(whole))
    assert all(len(frame[5]) <= MAX_PIECE_BYTES for frame in session.frames)


def test_an_instance_that_goes_over_its_credit_is_known() -> None:
    session = Session()
    assert session.stream.came(Kind.CHUNK, bytes(WINDOW_BYTES), b"")
    session.stream.taken(100)
    assert session.stream.came(Kind.CHUNK, bytes(100), b"")
    assert not session.stream.came(Kind.CHUNK, b"x", b"")
    assert not Session().stream.granted(1), "it took what it was not sent"


def test_the_end_is_told_once_and_nothing_stands_after_it() -> None:
    session = Session()
    session.stream.came(Kind.CHUNK, said("stopped"), b"")
    session.stream.came(Kind.END, b"", b'{"error_message": "gone"}')
    session.stream.end("again")
    session.stream.send(b"late")
    assert session.client.why == ["the debugger in the instance ended: gone"]
    assert session.paused == [True, False]
    assert session.sent() == b""


async def test_a_call_that_stands_at_a_breakpoint_has_all_its_time_afterwards(bench: PoolBench) -> None:
    revision = bench.revision(
        SLEEPER, timeout_s=0.5, queue_wait_s=0.2, development=True, debug=True, warm={"max_instances": 1}
    )
    answer = bench.call(revision, 0.3)
    await bench.until(lambda: revision.debugged() is not None and answer.call.sent_s > 0)
    (connection,) = revision.connections.values()
    stream = connection.attach(Client())
    stream.came(Kind.CHUNK, said("stopped"), b"")
    waiting = bench.call(revision, 0)
    bench.clock.skip(60)
    assert await answer.value() == 0.3, "it went on by itself here; its time had stood still"
    assert await waiting.value() == 0
    stream.came(Kind.CHUNK, said("continued"), b"")
    late = bench.call(revision, 2)
    await bench.until(lambda: late.call.sent_s > 0)
    bench.clock.skip(1)
    with pytest.raises(TimedOut):
        await late.value()


async def test_a_breakpoint_that_nobody_goes_on_from_ends_its_call(bench: PoolBench) -> None:
    revision = bench.revision(SLEEPER, timeout_s=0.5, development=True, debug=True, warm={"max_instances": 1})
    answer = bench.call(revision, 3)
    await bench.until(lambda: revision.debugged() is not None and answer.call.sent_s > 0)
    (connection,) = revision.connections.values()
    connection.attach(Client()).came(Kind.CHUNK, said("stopped"), b"")
    bench.clock.skip(deadlines.MAX_PAUSE_S - 10)
    await asyncio.sleep(0.1)
    assert not answer.done.done()
    bench.clock.skip(20)
    with pytest.raises(TimedOut):
        await answer.value()
