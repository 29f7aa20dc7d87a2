"""The stream of one instance: frames out, frames in, and which calls are in it.

The hot path of the platform runs through `send` and `data_received`; they are longer than they would otherwise be.
What comes from the instance is not trusted: every length is checked before it is believed.
"""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Protocol, cast

from isotherm.base.errors import InvalidResponse, IsothermError
from isotherm.pool.call import Call, UploadCall
from isotherm.pool.debugging import DebugClient, DebugStream
from isotherm.pool.model import Phase
from isotherm.pool.stream import AnswerStream
from isotherm.pool.tenants import Place
from isotherm.sandbox.model import Exit
from isotherm.sandbox.port import Instance
from isotherm_runtime.frames import HEADER, MAX_FRAME_BYTES, MAX_HEAD_BYTES, Flag, Kind, pack_frame

__all__ = ["InstanceConnection", "Owner"]

header_size = HEADER.size
pack_header = HEADER.pack
unpack_header = HEADER.unpack_from
MAX_STREAM = 0xFFFF_FF00  # stream ids are never reused on a connection: an instance is replaced before they run out
MAX_UNSENT_BYTES = 16 * 1024 * 1024  # requests that an instance has not read: more, and it gets no new ones
UNLIMITED_MS = 86_400_000  # what an instance under a debugger is told of its time
MAX_GATHERED = 16  # frames of one turn in one write; more, and the instance could have begun with the first

REQUEST, RESPONSE, ERROR, LOG, HELLO, PING = (
    int(Kind.REQUEST),
    int(Kind.RESPONSE),
    int(Kind.ERROR),
    int(Kind.LOG),
    int(Kind.HELLO),
    int(Kind.PING),
)
CHUNK, END, WINDOW = int(Kind.CHUNK), int(Kind.END), int(Kind.WINDOW)
MORE = int(Flag.MORE)


class Owner(Protocol):
    """The revision that the instance belongs to."""

    def answered(
        self, connection: "InstanceConnection", call: Call, flags: int, head: bytes, body: bytes, now_s: float
    ) -> None: ...

    def errored(self, connection: "InstanceConnection", call: Call | None, head: bytes, now_s: float) -> None: ...

    def began(
        self,
        connection: "InstanceConnection",
        call: Call,
        answer: AnswerStream,
        flags: int,
        head: bytes,
        body: bytes,
        now_s: float,
    ) -> None: ...

    def piece(
        self, connection: "InstanceConnection", call: Call, answer: AnswerStream, body: bytes, now_s: float
    ) -> None: ...

    def ended(
        self, connection: "InstanceConnection", call: Call, answer: AnswerStream, head: bytes, now_s: float
    ) -> None: ...

    def spoiled(self, connection: "InstanceConnection", call: Call, error: InvalidResponse, now_s: float) -> None: ...

    def logged(
        self, connection: "InstanceConnection", call: Call | None, flags: int, head: bytes, body: bytes
    ) -> None: ...

    def freed(self, connection: "InstanceConnection", now_s: float) -> None: ...

    def blocked(self, connection: "InstanceConnection") -> None: ...

    def disconnected(self, connection: "InstanceConnection") -> None: ...


class InstanceConnection(asyncio.Protocol):
    """One instance as the pool sees it."""

    __slots__ = (
        "_answers",
        "_blocked",
        "_debug",
        "_have",
        "_loop",
        "_max_frame",
        "_need",
        "_parts",
        "_skip",
        "_timeout_ms",
        "_unsent",
        "_write",
        "calls",
        "capacity",
        "exit",
        "hello",
        "id",
        "idle_since_s",
        "instance",
        "kill_reason",
        "last_error",
        "listed",
        "next_stream",
        "now",
        "owner",
        "paused_since_s",
        "phase",
        "place",
        "served",
        "start_ms",
        "start_steps_ms",
        "stuck",
        "stuck_since_s",
        "timeout_s",
        "transport",
        "used_bytes",
        "used_cpu_s",
        "warmed",
    )

    def __init__(
        self,
        instance: Instance,
        owner: Owner,
        place: Place,
        *,
        capacity: int,
        timeout_s: float,
        max_body_bytes: int,
        debug: bool = False,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """`debug`: a debugger may be attached. Then this side alone looks at time limits: they stand still while the
        handler does."""
        self._loop = asyncio.get_running_loop()
        self.id = instance.id
        self.instance = instance
        self.place = place
        place.occupied = True
        self.owner = owner
        self.capacity = capacity
        self.timeout_s = timeout_s
        self._timeout_ms = UNLIMITED_MS if debug else int(timeout_s * 1000)
        self.now = now
        self.phase = Phase.STARTING
        self.calls: dict[int, Call] = {}  # in the order they were sent, so also in that of their deadlines
        self.stuck: dict[int, Call] = {}  # over their deadline, answered to the caller, still running
        self.stuck_since_s = 0.0
        self._answers: dict[int, AnswerStream] = {}  # that have begun and not ended, by call
        self.next_stream = 1
        self.served = 0
        self.warmed = False
        self.idle_since_s = now()
        self.start_ms = 0.0
        self.start_steps_ms: Mapping[str, float] = instance.start_steps_ms
        self.used_bytes = 0  # as last looked at, like its CPU time
        self.used_cpu_s = 0.0
        self.exit: Exit | None = None
        self.kill_reason: str | None = None
        self.last_error: IsothermError | None = None  # of the instance itself, reported before it exits
        self.listed = False  # among those of its revision that have room
        self.hello: asyncio.Future[None] = self._loop.create_future()
        self.transport: asyncio.Transport | None = None
        self._write: Callable[[bytes], None] = _nowhere
        self._unsent: list[bytes] = []
        self._max_frame = max_body_bytes + MAX_HEAD_BYTES
        self._parts: list[bytes] = []
        self._have = self._need = self._skip = 0
        self._blocked = False
        self._debug: DebugStream | None = None
        self.paused_since_s: float | None = None  # the handler stands at a breakpoint

    # -- towards the instance ------------------------------------------------------------------------------------

    def send(self, call: Call, now_s: float) -> None:
        """Send a call that was lent to this instance; the caller has seen that there is room."""
        stream = self.next_stream
        self.next_stream = stream + 1
        call.stream = stream
        call.carrier = self
        call.sent_s = now_s
        call.deadline_s = now_s + self.timeout_s
        self.calls[stream] = call
        head = call.head
        body = call.body
        size = len(head)
        self._write(pack_header(size + len(body), size, stream, self._timeout_ms, REQUEST, call.flags, 0) + head + body)

    def cancel(self, call: Call) -> None:
        """Tell the instance that nobody waits for `call` any more."""
        self._write(pack_frame(Kind.CANCEL, call.stream))

    def send_piece(self, call: Call, data: bytes) -> None:
        """See `call.Carrier`."""
        self._write(pack_frame(CHUNK, call.stream, b"", data))

    def send_end(self, call: Call) -> None:
        """See `call.Carrier`."""
        self._write(pack_frame(END, call.stream))

    def grant(self, stream: int, size: int) -> None:
        """See `stream.Granter`."""
        self._write(pack_frame(WINDOW, stream, deadline_ms=size))

    def attach(self, client: DebugClient) -> DebugStream:
        """A debugger attaches, in the place of the one before."""
        if self._debug is not None:
            self._debug.end("another debugger was attached")
        stream = self.next_stream
        self.next_stream = stream + 1
        self._write(pack_frame(Kind.DEBUG, stream))
        self._debug = DebugStream(stream, lambda frame: self._write(frame), client, self._stands)
        return self._debug

    def paused_s(self, now_s: float) -> float:
        """How long the handler has stood at a breakpoint; 0 where it does not."""
        return 0.0 if self.paused_since_s is None else now_s - self.paused_since_s

    def _stands(self, paused: bool) -> None:
        """The debugger says that the handler stopped, or goes on: what it stood is given back to its calls."""
        if paused and self.paused_since_s is None:
            self.paused_since_s = self.now()
        elif not paused and self.paused_since_s is not None:
            since_s, self.paused_since_s = self.paused_since_s, None
            for call in self.calls.values():
                call.deadline_s += self.now() - max(since_s, call.sent_s)

    def answered_twice(self, call: Call) -> None:
        """A whole answer came to a call whose answer had begun: what the instance says can be believed no more."""
        if self._answers.pop(call.stream, None) is not None:
            self._broken(f"it answered call {call.stream} anew in the middle of an answer")

    def room(self) -> bool:
        """Whether one more call may be sent now."""
        return (
            self.phase == Phase.READY
            and not self.stuck
            and not self._blocked
            and len(self.calls) < self.capacity
            and self.next_stream < MAX_STREAM
        )

    def worn_out(self) -> bool:
        """Whether its stream ids have run out, so that it has to be replaced."""
        return self.next_stream >= MAX_STREAM

    def kill(self, reason: str | None) -> None:
        """End it now. `reason` is what the calls in it are answered with; None: whatever the kernel says."""
        if self.kill_reason is None:
            self.kill_reason = reason
        if self.phase < Phase.DRAINING:
            self.phase = Phase.DRAINING
        self.instance.kill()

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        # A transport writes at once: one system call a frame. Where there can be many, those of one turn go together.
        self._write = self.transport.write if self.capacity == 1 else self._gather

    def connection_lost(self, _exc: Exception | None) -> None:
        self._write = _nowhere
        self.phase = Phase.LOST
        self._parts.clear()
        if self._debug is not None:
            self._debug.end("the instance ended")
        if not self.hello.done():
            self.hello.cancel()
        self.owner.disconnected(self)

    def pause_writing(self) -> None:
        self._blocked = True
        self.owner.blocked(self)

    def resume_writing(self) -> None:
        self._blocked = False
        self.owner.freed(self, self.now())

    def data_received(self, data: bytes) -> None:  # noqa: C901 -- one pass over the frames, measured
        if self._skip or self._parts:
            joined = self._joined(data)
            if joined is None:
                return
            data = joined
        now_s = self.now()
        owner = self.owner
        calls = self.calls
        offset, end = 0, len(data)
        while end - offset >= header_size:
            length, head_length, stream, number, kind, flags, _ = unpack_header(data, offset)
            start = offset + header_size
            if head_length > length or head_length > MAX_HEAD_BYTES or length > MAX_FRAME_BYTES:
                self._broken(f"a frame of {length} bytes with a head of {head_length} is over the limit")
                return
            if length > self._max_frame:
                if kind == CHUNK or flags & MORE:
                    self._broken(f"a piece of {length} bytes is over its credit")
                    return
                self._oversized(stream, length, now_s)
                self._skip = max(0, length - (end - start))
                offset = min(end, start + length)
                continue
            if end - start < length:
                self._need = header_size + length
                break
            middle = start + head_length
            offset = start + length
            if kind == RESPONSE and not flags & MORE:
                call = calls.pop(stream, None)
                if call is not None:
                    owner.answered(self, call, flags, data[start:middle], data[middle:offset], now_s)
                elif not self._gave_up(stream, now_s):
                    self._broken(f"it answered call {stream}, which it does not have")
                    return
            elif kind == WINDOW:
                if not self._window(stream, number):
                    return
            elif not self._other(kind, flags, stream, data[start:middle], data[middle:offset], now_s):
                return
        if offset < end:
            rest = data[offset:] if offset else data
            self._parts.append(rest)
            self._have = len(rest)
            if self._have < header_size:
                self._need = header_size

    def _gather(self, frame: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(frame)
        if len(self._unsent) >= MAX_GATHERED:
            self._flush()

    def _flush(self) -> None:
        frames = self._unsent
        self._unsent = []
        if frames and self.transport is not None:
            self.transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    # -- the rarer frames ------------------------------------------------------------------------------------------

    def _joined(self, data: bytes) -> bytes | None:
        """`data` behind what came before, or None where no whole frame is there yet."""
        if self._skip:
            if len(data) <= self._skip:
                self._skip -= len(data)
                return None
            data = data[self._skip :]
            self._skip = 0
            if not self._parts:
                return data
        self._parts.append(data)
        self._have += len(data)
        if self._have < self._need:
            return None
        joined = b"".join(self._parts)
        self._parts.clear()
        self._have = self._need = 0
        return joined

    def _other(self, kind: int, flags: int, stream: int, head: bytes, body: bytes, now_s: float) -> bool:
        """Any frame but a whole response. False: the connection is of no more use."""
        if kind == LOG:
            call = self.calls.get(stream) or self.stuck.get(stream) if stream else None
            self.owner.logged(self, call, flags, head, body)
        elif self._debug is not None and stream == self._debug.stream and kind in (CHUNK, END):
            if not self._debug.came(kind, body, head):
                self._broken("it sent more of a debugger's bytes than it was granted")
                return False
        elif kind in (RESPONSE, CHUNK, END):
            return self._streamed(kind, flags, stream, head, body, now_s)
        elif kind == ERROR:
            call = self.calls.pop(stream, None) if stream else None
            self._answers.pop(stream, None)
            if call is not None or not stream:
                self.owner.errored(self, call, head, now_s)
            elif not self._gave_up(stream, now_s):
                self._broken(f"it reported an error of call {stream}, which it does not have")
                return False
        elif kind == HELLO and not self.hello.done():
            self.hello.set_result(None)
        elif kind != PING:
            self._broken(f"it sent a frame of kind {kind}, which it may not send now")
            return False
        return True

    def _window(self, stream: int, size: int) -> bool:
        """Credit for the request's body of a call, or for a debugger; either may be over by now."""
        if self._debug is not None and stream == self._debug.stream:
            if not self._debug.granted(size):
                self._broken("it granted a debugger more than it was sent")
                return False
            return True
        call = self.calls.get(stream)
        if isinstance(call, UploadCall) and not call.feeder.granted(size):
            self._broken(f"it granted call {stream} more than it was sent")
            return False
        return True

    def _streamed(self, kind: int, flags: int, stream: int, head: bytes, body: bytes, now_s: float) -> bool:
        """A part of an answer in pieces. What comes for a call that is over for its caller is counted and dropped."""
        call, answer = self.calls.get(stream), self._answers.get(stream)
        if (answer is None) != (kind == RESPONSE) or (call is None and stream not in self.stuck):
            self._broken(f"it sent a part of an answer to call {stream}, which has no place for it")
            return False
        if answer is None:
            answer = self._answers[stream] = AnswerStream(self, stream)
        if not answer.came(len(body)):
            self._broken(f"it sent more of the answer to call {stream} than it was granted")
            return False
        if kind == END:
            del self._answers[stream]
            if self.calls.pop(stream, None) is None:
                self._gave_up(stream, now_s)
        if call is None:
            return True
        if kind == CHUNK:
            self.owner.piece(self, call, answer, body, now_s)
        elif kind == END:
            self.owner.ended(self, call, answer, head, now_s)
        else:
            self.owner.began(self, call, answer, flags, head, body, now_s)
        return True

    def _gave_up(self, stream: int, now_s: float) -> bool:
        """A call that was over its deadline has ended after all."""
        if self.stuck.pop(stream, None) is None:
            return False
        if not self.stuck:
            if self.phase == Phase.STUCK:
                self.phase = Phase.READY
            self.owner.freed(self, now_s)
        return True

    def _oversized(self, stream: int, length: int, now_s: float) -> None:
        call = self.calls.pop(stream, None)
        if call is None:
            self._gave_up(stream, now_s)
            return
        limit = self._max_frame - MAX_HEAD_BYTES
        error = InvalidResponse(
            f"the function's answer has about {length} bytes; the limit is {limit}", limit_bytes=limit, bytes=length
        )
        self.owner.spoiled(self, call, error, now_s)

    def _broken(self, what: str) -> None:
        self.kill(f"the instance broke the sandbox protocol: {what}")
        if self.transport is not None:
            self.transport.abort()


def _nowhere(_data: bytes) -> None:
    """Writes of a connection that is not there."""
