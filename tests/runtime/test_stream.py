"""Frames, whole and in pieces, through the protocol's functions and through the runtime's reader."""

import os
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm_runtime.frames import (
    HEADER,
    MAX_FRAME_BYTES,
    MAX_HEAD_BYTES,
    FrameError,
    Kind,
    pack_frame,
    split_frames,
)
from isotherm_runtime.stream import Stream, StreamBroken

frames = st.lists(
    st.tuples(
        st.sampled_from(list(Kind)),
        st.integers(0, 7),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=200),
        st.binary(max_size=2000),
    ),
    max_size=8,
)


def pack(frame: tuple[int, int, int, int, bytes, bytes]) -> bytes:
    kind, flags, stream, deadline_ms, head, body = frame
    return pack_frame(kind, stream, head, body, flags=flags, deadline_ms=deadline_ms)


@given(frames, st.binary(max_size=19))
def test_split_gives_back_what_was_packed_and_leaves_the_rest(
    sent: list[tuple[int, int, int, int, bytes, bytes]], rest: bytes
) -> None:
    data = b"".join(map(pack, sent))
    found, used = split_frames(data + rest)
    assert found == sent
    assert used == len(data)


@given(frames, st.data())
def test_the_reader_finds_frames_wherever_reads_are_cut(
    sent: list[tuple[int, int, int, int, bytes, bytes]], data: st.DataObject
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(theirs.fileno())
        raw = b"".join(map(pack, sent))
        found = []
        while raw:
            cut = data.draw(st.integers(1, len(raw)))
            ours.sendall(raw[:cut])
            raw = raw[cut:]
            got = stream.read()
            assert got is not None
            found += got
        assert found == sent
        ours.close()
        assert stream.read() is None


@pytest.mark.parametrize(
    "header",
    [
        HEADER.pack(MAX_FRAME_BYTES + 1, 0, 1, 0, 2, 0, 0),
        HEADER.pack(10, 11, 1, 0, 2, 0, 0),
        HEADER.pack(MAX_HEAD_BYTES + 1, MAX_HEAD_BYTES + 1, 1, 0, 2, 0, 0),
    ],
)
def test_a_frame_over_its_limits_is_refused_before_its_bytes_come(header: bytes) -> None:
    with pytest.raises(FrameError):
        split_frames(header)


def test_a_frame_too_large_to_send_is_refused() -> None:
    with pytest.raises(FrameError):
        pack_frame(Kind.REQUEST, 1, b"x" * (MAX_HEAD_BYTES + 1))


def test_a_frame_of_many_megabytes_passes_through_small_reads() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(theirs.fileno())
        body = os.urandom(5_000_000)
        sender = threading.Thread(target=ours.sendall, args=(pack_frame(2, 1, b"h", body) + pack_frame(9),))
        sender.start()
        found = []
        while len(found) < 2:
            got = stream.read()
            assert got is not None
            found += got
        sender.join(5)
        assert found[0][5] == body
        assert found[1][0] == Kind.PING


def test_frames_of_many_threads_never_mix() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(theirs.fileno())

        def write(number: int) -> None:
            for size in (1, 100, 30_000):
                stream.send(pack_frame(Kind.LOG, number, b"", bytes([number]) * size))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        buffer, found = b"", []
        while len(found) < 24:
            buffer += ours.recv(1 << 16)
            got, used = split_frames(buffer)
            buffer = buffer[used:]
            found += got
        for thread in threads:
            thread.join(5)
        for number in range(8):
            assert [len(frame[5]) for frame in found if frame[2] == number] == [1, 100, 30_000]
        assert all(set(frame[5]) == {frame[2]} for frame in found)


def test_a_stream_that_the_host_closed_is_broken_for_good() -> None:
    ours, theirs = socket.socketpair()
    stream = Stream(theirs.fileno())
    ours.close()
    for _ in range(2):
        with pytest.raises(StreamBroken):
            stream.send(b"frame")
    theirs.close()


def test_a_finished_stream_writes_to_nobody() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(theirs.fileno())
        stream.queue.append(b"last")
        stream.finish(1.0)
        assert ours.recv(10) == b"last"
        with pytest.raises(StreamBroken):
            stream.send(b"late")
