"""The relay between the host, the calls and a debugger: nothing is mixed up, nothing is lost, credit is kept."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from random import Random

import pytest

from isotherm_runtime.debugger import Relay
from isotherm_runtime.frames import MAX_PIECE_BYTES, WINDOW_BYTES, Kind, pack_frame, split_frames

SESSION = 7


class Bench:
    """A relay on real sockets. `host` and `calls` are the other ends of its two streams."""

    def __init__(self) -> None:
        self.host, theirs = socket.socketpair()
        mine, self.calls = socket.socketpair()
        for each in (self.host, self.calls):
            each.settimeout(10)
        self._theirs = theirs
        self.relay = Relay(theirs.fileno(), mine)
        self.left = 0
        self.relay.hang_up = self._count
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.relay.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.relay.run, daemon=True)
        self.thread.start()
        self._rest = bytearray()

    def _count(self) -> None:
        self.left += 1

    def attach(self) -> socket.socket:
        """The debugger's end of a session."""
        self.host.sendall(pack_frame(Kind.DEBUG, SESSION))
        debugger, _ = self.listener.accept()
        debugger.settimeout(10)
        return debugger

    def frames(self) -> list[tuple[int, int, int, int, bytes, bytes]]:
        """The next that come to the host."""
        while True:
            found, used = split_frames(self._rest)
            if used:
                del self._rest[:used]
                return found
            data = self.host.recv(65536)
            if not data:
                raise EOFError
            self._rest += data

    def close(self) -> None:
        for each in (self.calls, self.host, self.listener, self._theirs):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.thread.join(10)
        for each in (self.calls, self.host, self.listener, self._theirs):
            each.close()
        assert not self.thread.is_alive()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_frames_of_calls_pass_unchanged_beside_a_debuggers_bytes(bench: Bench) -> None:
    random = Random(1)
    sizes = [(random.randrange(50), random.randrange(9000)) for _ in range(300)]
    answers = [pack_frame(Kind.LOG, 1, random.randbytes(head), random.randbytes(body)) for head, body in sizes]
    debugger = bench.attach()
    said = random.randbytes(900_000)  # more than the credit at first
    stream = b"".join(answers)

    def answer() -> None:
        at = 0
        while at < len(stream):
            size = random.choice((1, 7, 19, 20, 21, 4000, 70_000))
            bench.calls.sendall(stream[at : at + size])
            at += size

    threads = [threading.Thread(target=answer), threading.Thread(target=debugger.sendall, args=(said,))]
    for thread in threads:
        thread.start()
    got, heard = [], b""
    while len(got) < len(answers) or len(heard) < len(said):
        for kind, flags, stream_id, number, head, body in bench.frames():
            if stream_id == SESSION:
                assert kind == Kind.CHUNK
                assert len(body) <= MAX_PIECE_BYTES
                heard += body
                bench.host.sendall(pack_frame(Kind.WINDOW, SESSION, deadline_ms=len(body)))
            else:
                got.append(pack_frame(Kind(kind), stream_id, head, body, flags=flags, deadline_ms=number))
    for thread in threads:
        thread.join(10)
    debugger.close()
    assert (got, heard) == (answers, said)


def test_what_the_host_sends_goes_where_it_belongs_in_whatever_pieces(bench: Bench) -> None:
    random = Random(2)
    requests = [pack_frame(Kind.REQUEST, 100 + n, b"[]", random.randbytes(random.randrange(9000))) for n in range(100)]
    debugger = bench.attach()
    words = [random.randbytes(random.randrange(1, 900)) for _ in range(100)]
    stream = b"".join(
        part for n in range(100) for part in (pack_frame(Kind.CHUNK, SESSION, b"", words[n]), requests[n])
    )
    at = 0

    def send() -> None:
        nonlocal at
        while at < len(stream):
            size = random.choice((1, 13, 20, 900, 60_000))
            bench.host.sendall(stream[at : at + size])
            at += size

    sender = threading.Thread(target=send)
    sender.start()
    assert received(bench.calls, len(b"".join(requests))) == b"".join(requests)
    assert received(debugger, len(b"".join(words))) == b"".join(words)
    sender.join(10)
    granted = 0
    while granted < len(b"".join(words)):
        granted += sum(frame[3] for frame in bench.frames() if frame[0] == Kind.WINDOW)
    debugger.close()


def received(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = source.recv(65536)
        assert more
        data += more
    return data


def test_no_more_than_the_credit_is_under_way(bench: Bench) -> None:
    debugger = bench.attach()
    threading.Thread(target=debugger.sendall, args=(bytes(WINDOW_BYTES + 1000),), daemon=True).start()
    came = 0
    while came < WINDOW_BYTES:
        came += sum(len(frame[5]) for frame in bench.frames())
    assert came == WINDOW_BYTES
    bench.host.settimeout(0.2)
    with pytest.raises(TimeoutError):
        bench.frames()
    bench.host.settimeout(10)
    bench.host.sendall(pack_frame(Kind.WINDOW, SESSION, deadline_ms=1000))
    assert sum(len(frame[5]) for frame in bench.frames()) == 1000
    debugger.close()


def test_either_side_may_hang_up_and_nothing_stands_still_then(bench: Bench) -> None:
    debugger = bench.attach()
    debugger.sendall(b"bye")
    debugger.close()
    kinds = [frame[0] for frame in bench.frames()]
    while Kind.END not in kinds:
        kinds += [frame[0] for frame in bench.frames()]
    assert (kinds, bench.left) == ([Kind.CHUNK, Kind.END], 1)
    second = bench.attach()
    bench.host.sendall(pack_frame(Kind.CHUNK, SESSION, b"", b"last words") + pack_frame(Kind.END, SESSION))
    assert received(second, 10) == b"last words"
    assert second.recv(1) == b""
    second.close()


def test_another_debugger_takes_the_place_of_the_first(bench: Bench) -> None:
    first = bench.attach()
    second = bench.attach()
    assert first.recv(1) == b""
    bench.host.sendall(pack_frame(Kind.CHUNK, SESSION, b"", b"hello"))
    assert received(second, 5) == b"hello"
    first.close()
    second.close()


def test_the_last_answers_go_out_when_the_calls_have_ended(bench: Bench) -> None:
    answer = pack_frame(Kind.RESPONSE, 1, b"", bytes(3_000_000))
    sender = threading.Thread(target=bench.calls.sendall, args=(answer,))
    sender.start()
    assert [len(frame[5]) for frame in bench.frames()] == [3_000_000]
    sender.join(10)
    bench.calls.sendall(answer[:20] + answer[20:500])  # and half of another
    bench.calls.shutdown(socket.SHUT_WR)
    assert received(bench.host, 500) == answer[:500]
    bench.thread.join(10)
    assert not bench.thread.is_alive()


def test_a_host_that_goes_in_the_middle_ends_it(bench: Bench) -> None:
    sender = threading.Thread(target=fill, args=(bench.calls,))
    sender.start()
    bench.host.close()
    bench.thread.join(10)
    assert not bench.thread.is_alive()
    sender.join(10)


def fill(stream: socket.socket) -> None:
    with contextlib.suppress(OSError):
        stream.sendall(pack_frame(Kind.RESPONSE, 1, b"", bytes(30_000_000)))
