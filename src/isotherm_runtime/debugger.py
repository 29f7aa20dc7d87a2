"""A debugger in the instance (docs/adr/0027-debugger.md): it listens on the instance's own loopback, and a relay
carries its bytes in frames on the host's stream, between those of the calls.

The relay is a thread that the debugger neither traces nor stops, and the only one that touches the host's stream: calls
are served on a socket pair behind it, so that a handler that stands at a breakpoint holds nothing up.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
from collections import deque
from importlib import import_module

from isotherm_runtime.errors import describe, error_head
from isotherm_runtime.frames import HEADER, MAX_PIECE_BYTES, WINDOW_BYTES, ErrorKind, Kind, pack_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Debugger", "Relay", "listen"]

READ_BYTES = 64 * 1024
FULL_BYTES = 1024 * 1024  # with so much to write on one side, the other is not read
CONNECT_S = 5.0
END_S = 10.0
_NO_WARNING = "PYDEVD_DISABLE_FILE_VALIDATION"
GONE = select.POLLHUP | select.POLLERR
IN, OUT = select.POLLIN | GONE, select.POLLOUT
DEBUG, CHUNK, END, WINDOW = int(Kind.DEBUG), int(Kind.CHUNK), int(Kind.END), int(Kind.WINDOW)


class Debugger:
    """The relay, running. `stream` is the descriptor to serve calls on. `problem`: where the debugger could not be
    started, the head of an ERROR frame that says why."""

    def __init__(self, host: int, path: Sequence[str]) -> None:
        self.problem: bytes | None = None
        mine, inner = socket.socketpair()
        self.stream = inner.detach()
        relay = Relay(host, mine)
        self._thread = threading.Thread(target=relay.run, name="isotherm-debugger", daemon=True)
        for mark in ("pydev_do_not_trace", "is_pydev_daemon_thread"):
            setattr(self._thread, mark, True)
        self._thread.start()
        try:
            relay.port, relay.hang_up = listen(path)
        except Exception as exc:  # noqa: BLE001 - whatever a debugger fails with is told to the developer
            kind, message, trace = describe(exc)
            message = f"the debugger could not be started: {message}"
            self.problem = error_head(ErrorKind.IMPORT, kind, message, trace)

    def finish(self) -> None:
        """Calls are over: what is still to be written to the host goes out."""
        os.close(self.stream)
        self._thread.join(END_S)


def listen(path: Sequence[str]) -> tuple[int, Callable[[], None]]:
    """Start debugpy in this process: the port on the loopback where it waits, and what to call when a client has left,
    so that nothing stands still and no breakpoint is left. Blocks for some 0.3 s."""
    sys.path[:0] = [entry for entry in path if entry not in sys.path]
    before = os.environ.get(_NO_WARNING)
    os.environ[_NO_WARNING] = "1"  # that breakpoints in frozen modules of the standard library are missed
    debugpy = import_module("debugpy")  # of the revision's dependencies, not of this package
    _, port = debugpy.listen(("127.0.0.1", 0), in_process_debug_adapter=True)
    if before is None:
        del os.environ[_NO_WARNING]
    api = import_module("_pydevd_bundle.pydevd_api").PyDevdAPI()  # to be found once debugpy has begun
    this = import_module("_pydevd_bundle.pydevd_constants").get_global_debugger()
    # Nor is the runtime stopped in or stepped into: the developer's code begins at the handler.
    own = (os.path.dirname(str(debugpy.__file__)), os.path.dirname(__file__))
    api.set_dont_trace_start_end_patterns(this, own, ("debugpy_launcher.py",))
    return int(port), lambda: api.request_disconnect(this, resume_threads=True)


class _Session:
    """One debugger client. Never more than a window of bytes is under way beyond what the other side has granted."""

    def __init__(self, stream: int, debugger: socket.socket) -> None:
        self.stream = stream
        self.socket = debugger
        self.to_debugger = bytearray()
        self.credit = WINDOW_BYTES  # what the host lets us send
        self.ending = False  # the client is gone: what it sent last is written, then the socket is closed


class Relay:
    """Between the host's stream and that on which calls are served. `port` and `hang_up` are set once the debugger
    listens."""

    def __init__(self, host: int, inner: socket.socket) -> None:
        os.set_blocking(host, False)
        inner.setblocking(False)
        self.port = 0
        self.hang_up: Callable[[], None] = lambda: None
        self._host = host
        self._inner = inner
        self._to_host = bytearray()
        self._to_inner = bytearray()
        self._rest = bytearray()  # of what the host sent: the begin of a frame
        self._head = bytearray()  # of what the calls sent: the begin of a header
        self._left = 0  # bytes of the calls' frame that is going out
        self._own: deque[bytes] = deque()  # frames of the debugger's, for between those of the calls
        self._session: _Session | None = None
        self._host_open = self._inner_open = True

    def run(self) -> None:
        """Until the calls' end is closed and all is written, or the host is gone."""
        try:
            while self._inner_open or self._to_host:
                self._turn()
        except OSError:
            return
        finally:
            self._inner.close()

    def _turn(self) -> None:
        session = self._session
        wanted = {self._host: 0, self._inner.fileno(): 0}
        if self._host_open and len(self._to_inner) < FULL_BYTES:
            wanted[self._host] |= select.POLLIN
        if self._inner_open and len(self._to_host) < FULL_BYTES:
            wanted[self._inner.fileno()] |= select.POLLIN
        if self._to_host:
            wanted[self._host] |= OUT
        if self._to_inner:
            wanted[self._inner.fileno()] |= OUT
        if session is not None:
            reads = session.credit > 0 and len(self._to_host) < FULL_BYTES
            wanted[session.socket.fileno()] = select.POLLIN * reads | OUT * bool(session.to_debugger)
        poll = select.poll()
        for descriptor, events in wanted.items():
            if events:
                poll.register(descriptor, events)
        for descriptor, events in poll.poll():
            if descriptor == self._host:
                self._host_ready(events)
            elif descriptor == self._inner.fileno():
                self._inner_ready(events)
            elif session is self._session and session is not None:
                self._debugger_ready(session, events)
        self._interleave()

    # -- the host ------------------------------------------------------------------------------------------------------

    def _host_ready(self, events: int) -> None:
        if self._to_host and events & (OUT | GONE):  # to a host that is gone: it raises, and all ends
            del self._to_host[: os.write(self._host, self._to_host[:FULL_BYTES])]
        if events & IN and self._host_open:
            data = os.read(self._host, READ_BYTES)
            if data:
                self._take(data)
            else:
                self._host_open = False
                self._inner.shutdown(socket.SHUT_WR)

    def _take(self, data: bytes) -> None:
        """Frames of the host's: the debugger's are obeyed, all others passed on as they are."""
        rest = self._rest
        rest += data
        offset = 0
        while len(rest) - offset >= HEADER.size:
            length, head, stream, number, kind, _, _ = HEADER.unpack_from(rest, offset)
            end = offset + HEADER.size + length
            if len(rest) < end:
                break
            if kind == DEBUG:
                self._open(stream)
            elif self._session is not None and stream == self._session.stream:
                self._obey(self._session, kind, number, rest[offset + HEADER.size + head : end])
            else:
                self._to_inner += rest[offset:end]
            offset = end
        del rest[:offset]

    # -- the calls -----------------------------------------------------------------------------------------------------

    def _inner_ready(self, events: int) -> None:
        if events & OUT and self._to_inner:
            del self._to_inner[: self._inner.send(self._to_inner[:FULL_BYTES])]
        if events & IN and self._inner_open:
            data = self._inner.recv(READ_BYTES)
            if data:
                self._pass_on(memoryview(data))
            else:
                self._inner_open = False
                self._to_inner.clear()  # nobody reads it

    def _pass_on(self, data: memoryview) -> None:
        """To the host; it is known where a frame ends."""
        while data:
            if not self._left:
                missing = HEADER.size - len(self._head)
                self._head += data[:missing]
                data = data[missing:]
                if len(self._head) < HEADER.size:
                    return
                self._interleave()
                self._left = HEADER.unpack(self._head)[0]
                self._to_host += self._head
                self._head.clear()
            part = data[: self._left]
            self._to_host += part
            self._left -= len(part)
            data = data[len(part) :]

    def _interleave(self) -> None:
        if not self._left:
            while self._own:
                self._to_host += self._own.popleft()

    # -- the debugger --------------------------------------------------------------------------------------------------

    def _open(self, stream: int) -> None:
        """A client attaches; it takes the place of the one before."""
        if self._session is not None:
            self._end(self._session)
        try:
            connected = socket.create_connection(("127.0.0.1", self.port), CONNECT_S)
        except OSError as exc:
            reason = error_head(ErrorKind.INTERNAL, type(exc).__name__, f"the debugger does not listen: {exc}", [])
            self._own.append(pack_frame(END, stream, reason))
            return
        connected.setblocking(False)
        self._session = _Session(stream, connected)

    def _obey(self, session: _Session, kind: int, number: int, body: bytearray) -> None:
        if kind == CHUNK:
            session.to_debugger += body
        elif kind == WINDOW:
            session.credit += number
        elif kind == END:
            session.ending = True
            if not session.to_debugger:
                self._end(session)

    def _debugger_ready(self, session: _Session, events: int) -> None:
        try:
            if events & OUT:
                written = session.socket.send(session.to_debugger)
                del session.to_debugger[:written]
                self._own.append(pack_frame(WINDOW, session.stream, deadline_ms=written))
                if session.ending and not session.to_debugger:
                    self._end(session)
                    return
            if events & GONE and session.credit <= 0:
                session.to_debugger.clear()  # it is gone; what it said last waits for credit
                return
            if events & IN:
                data = session.socket.recv(min(session.credit, MAX_PIECE_BYTES))
                if not data:
                    self._end(session)
                    return
                session.credit -= len(data)
                self._own.append(pack_frame(CHUNK, session.stream, b"", data))
        except BlockingIOError:
            return
        except OSError:
            self._end(session)

    def _end(self, session: _Session) -> None:
        session.socket.close()
        with contextlib.suppress(Exception):  # a debugger that cannot be spoken to cannot hold anything either
            self.hang_up()
        self._own.append(pack_frame(END, session.stream))
        self._session = None
