"""The streamed bodies of one call: how much of its answer may still go out, what of its request has come.

Whoever reads the host's stream puts frames in (`Flows.take`); the call's own thread or task takes them out. Each
counter is written by one side alone, so no lock is needed.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque

from isotherm_runtime.frames import MAX_PIECE_BYTES, WINDOW_BYTES, Kind, pack_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isotherm_runtime.stream import Frame

    MakeBell = Callable[[], "Bell"]

__all__ = ["Bell", "Flow", "Flows", "Gone", "chunks"]

CHUNK, END, WINDOW, CANCEL = int(Kind.CHUNK), int(Kind.END), int(Kind.WINDOW), int(Kind.CANCEL)


class Gone(BaseException):
    """Nobody waits for this call any more. Unwinds what sends its answer; the handler's code never sees it."""


class Bell:
    """Wakes a thread that waits for frames of its call."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def ring(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            return  # it has rung already, and nobody has heard it yet

    def wait(self, limit_s: float) -> None:
        self._lock.acquire(timeout=max(0.0, limit_s))


class Flow:
    """One call. `gone` says why it has ended before its time; None: it has not."""

    __slots__ = ("arrival", "gone", "granted", "parts", "room", "sent", "stream_id", "whole")

    def __init__(self, stream_id: int, make_bell: MakeBell) -> None:
        self.stream_id = stream_id
        self.granted = WINDOW_BYTES  # of the answer, in all
        self.sent = 0
        self.room = make_bell()  # rung when `granted` grows
        self.parts: deque[bytes] = deque()  # of the request's body: come, and not yet taken
        self.whole = False  # all of it has come
        self.arrival = make_bell()  # rung when a part comes, or the end
        self.gone: str | None = None

    def may_send(self) -> bool:
        return self.granted > self.sent or self.gone is not None

    def may_take(self) -> bool:
        return bool(self.parts) or self.whole or self.gone is not None

    def end(self, why: str) -> None:
        if self.gone is None:
            self.gone = why
        self.room.ring()
        self.arrival.ring()


class Flows(dict[int, Flow]):
    """The calls with streamed bodies, by their stream's id. A dict, since dispatchers ask at each read whether it has
    any."""

    make_bell: MakeBell = Bell

    def open(self, stream_id: int) -> Flow:
        """The flow of a call, made at its first use."""
        found = self.get(stream_id)
        if found is None:
            found = self[stream_id] = Flow(stream_id, self.make_bell)
        return found

    def close(self, stream_id: int) -> None:
        """The call is over: what still comes for it is dropped."""
        flow = self.pop(stream_id, None)
        if flow is not None:
            flow.end("the call is over")

    def take(self, frame: Frame) -> bool:
        """Obey a CHUNK, END, WINDOW or CANCEL; False where its call has no flow, or has no more."""
        kind, _, stream_id, number, _, body = frame
        flow = self.get(stream_id)
        if flow is None:
            return False
        if kind == WINDOW:
            flow.granted += number
            flow.room.ring()
        elif kind == CHUNK:
            if body:
                flow.parts.append(body)
                flow.arrival.ring()
        elif kind == END:
            flow.whole = True
            flow.arrival.ring()
        elif kind == CANCEL:
            flow.end("nobody waits for this call any more")
        return True


def chunks(flow: Flow, data: bytes) -> Iterator[bytes | None]:
    """The CHUNK frames of `data`; None where the credit is used up: wait, then go on. Raises `Gone`."""
    view = memoryview(data)
    while view:
        if flow.gone is not None:
            raise Gone(flow.gone)
        room = min(flow.granted - flow.sent, MAX_PIECE_BYTES)
        if room <= 0:
            yield None
            continue
        part = view[:room]
        flow.sent += len(part)
        yield pack_frame(CHUNK, flow.stream_id, b"", bytes(part))
        view = view[room:]
