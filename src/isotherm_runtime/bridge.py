"""The front end of `provided`: starts the package's bootstrap and serves it the Runtime API on the loopback.

One thread waits for all: the host's stream, the bootstrap's connections, what it prints, its end. The bootstrap is
the tenant's code like a handler: the host believes neither it nor this process.
"""

from __future__ import annotations

import codecs
import os
import select
import signal
import socket

from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.errors import ImportProblem, error_head
from isotherm_runtime.frames import PROTOCOL_VERSION, ErrorKind, FrameError, Kind, pack_frame
from isotherm_runtime.handler import layer_environment, reserved_environment
from isotherm_runtime.http1 import BadHttp, HttpConnection
from isotherm_runtime.logs import CallLog, InstanceLog, Output
from isotherm_runtime.runtime_api import RuntimeApi
from isotherm_runtime.stream import Stream, StreamBroken
from isotherm_runtime.values import encode

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["bootstrap_environment", "serve"]

EXIT_REFUSED = 1
EXIT_BROKEN_STREAM = 74
MAX_CONNECTIONS = 64
MAX_EARLY_BYTES = 32 * 1024  # of what is printed before the first call is asked for
OUTPUT_BYTES = 64 * 1024
TAIL_LINES = 20
KEPT = ("PATH", "HOME", "LANG")
SIGNAL_BASE = 128  # as a shell tells of a program that a signal ended


def serve(stream_fd: int, config: RuntimeConfig) -> int:
    """Serve until the host closes the stream or sends DRAIN, or the bootstrap ends. Returns the exit status."""
    stream = Stream(stream_fd)
    try:
        bridge = _Bridge(stream, config)
        bridge.start(bootstrap_environment(config, os.environ, bridge.address))
    except ImportProblem as problem:
        stream.send(pack_frame(Kind.ERROR, 0, problem.head()))
        return EXIT_REFUSED
    try:
        return bridge.run()
    except (StreamBroken, FrameError):
        return EXIT_BROKEN_STREAM
    finally:
        bridge.end()


def bootstrap_environment(config: RuntimeConfig, environ: Mapping[str, str], address: str) -> dict[str, str]:
    """The user's variables over ours, and over them the reserved ones."""
    code, *deps = config.path
    env = {name: environ[name] for name in KEPT if name in environ}
    env["LD_LIBRARY_PATH"] = f"{code}:{code}/lib"
    env |= layer_environment(config, env)
    if deps:
        env["PYTHONPATH"] = deps[0]
        env["NODE_PATH"] = f"{deps[0]}/node_modules"
    return env | config.env | reserved_environment(config) | {"AWS_LAMBDA_RUNTIME_API": address}


class _Bridge:
    def __init__(self, stream: Stream, config: RuntimeConfig) -> None:
        self._stream = stream
        self._config = config
        self._output = Output(stream, config.log_limit_bytes)
        self._instance_log = InstanceLog(self._output)
        self._call_log: CallLog | None = None
        self._early = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode
        self._api = RuntimeApi(config, stream.send, self._on_asked, self._on_answered, self._on_refused)
        self._connections: dict[int, HttpConnection] = {}
        self._poll = select.poll()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=MAX_CONNECTIONS)
        self._listener.setblocking(False)
        self._printed = -1
        self._pid = self._pidfd = -1
        self._ready = self._draining = False
        self._status: int | None = None  # once it is known how we end

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def start(self, env: dict[str, str]) -> None:
        """Start the bootstrap. Raises `ImportProblem`."""
        program = os.path.join(self._config.path[0], "bootstrap")
        if self._config.layers and not os.path.exists(program):
            program = os.path.join(self._config.layers, "bootstrap")  # a runtime that a layer brings
        self._printed, printed_end = os.pipe()
        os.set_blocking(self._printed, False)
        actions = [(os.POSIX_SPAWN_DUP2, printed_end, 1), (os.POSIX_SPAWN_DUP2, printed_end, 2)]
        try:
            _check_program(program)
            self._pid = os.posix_spawn(
                program, [program], env, file_actions=actions, setsigdef=(signal.SIGPIPE, signal.SIGXFSZ)
            )
        except OSError as exc:
            hint = "; where it is a script, its first line must name a program that is here" if exc.errno == 2 else ""
            raise ImportProblem("Runtime.InvalidEntrypoint", f"bootstrap cannot be run: {exc.strerror}{hint}") from exc
        finally:
            os.close(printed_end)
        self._pidfd = os.pidfd_open(self._pid)

    def run(self) -> int:
        """The exit status. Raises `StreamBroken`, `FrameError`."""
        for descriptor in (self._stream.fd, self._listener.fileno(), self._printed, self._pidfd):
            self._poll.register(descriptor, select.POLLIN)
        while self._status is None:
            for descriptor, events in self._poll.poll():
                self._serve(descriptor, events)
        return self._status

    def end(self) -> None:
        """With us ends the bootstrap, also where no namespace ends with us."""
        try:
            os.kill(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _serve(self, descriptor: int, events: int) -> None:
        if descriptor == self._stream.fd:
            self._read_frames()
        elif descriptor == self._printed:
            self._read_printed()
        elif descriptor == self._pidfd:
            self._reap()
        elif descriptor == self._listener.fileno():
            self._accept()
        elif descriptor in self._connections:
            self._serve_connection(self._connections[descriptor], events)

    # The host

    def _read_frames(self) -> None:
        frames = self._stream.read()
        if frames is None:
            self._status = 0
            return
        for frame in frames:
            kind, stream = frame[0], frame[2]
            if kind == Kind.REQUEST:
                self._call_log = CallLog(self._output, stream)
                self._api.begin(frame)
            elif kind == Kind.WINDOW:
                self._api.grant(stream, frame[3])  # the field that carries the bytes
                for connection in list(self._connections.values()):
                    self._serve_connection(connection, 0)
            elif kind == Kind.PING:
                self._stream.send(pack_frame(Kind.PING, stream))
            elif kind == Kind.DRAIN:
                self._draining = True
        self._watch_connections()
        self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._draining and not self._api.busy:
            self._status = 0

    # The bootstrap

    def _on_asked(self) -> None:
        """It asks for a call: the first time, it is ready."""
        if not self._ready:
            self._ready = True
            hello = {"v": PROTOCOL_VERSION, "runtime": self._config.runtime, "import_ms": 0.0}
            self._stream.send(pack_frame(Kind.HELLO, 0, encode(hello)))
            self._instance_log.write("output", self._early)
            self._early = ""

    def _on_answered(self) -> None:
        self._read_printed()
        if self._call_log is not None:
            self._call_log.close()
            self._call_log = None

    def _on_refused(self, head: bytes) -> None:
        if not self._ready:
            self._stream.send(pack_frame(Kind.ERROR, 0, head))
        self._status = EXIT_REFUSED

    def _read_printed(self) -> None:
        """What it has printed, to the log of the call that it works on."""
        while self._printed >= 0:
            try:
                data = os.read(self._printed, OUTPUT_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._poll.unregister(self._printed)
                os.close(self._printed)
                self._printed = -1
                return
            text = self._decode(data)
            if not self._ready:
                self._early = (self._early + text)[:MAX_EARLY_BYTES]  # the host does not read yet
            else:
                (self._call_log or self._instance_log).write("output", text)

    def _reap(self) -> None:
        """Collect it, and orphans, whose parent we are; its end is ours."""
        while self._status is None:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid == self._pid:
                self._read_printed()
                code = os.waitstatus_to_exitcode(status)
                self._status = code if code >= 0 else SIGNAL_BASE - code
                self._report_end(code)

    def _report_end(self, code: int) -> None:
        if self._ready:
            self._on_answered()
            return
        how = f"was ended by signal {-code}" if code < 0 else f"exited with status {code}"
        message = f"bootstrap {how} before it asked for a call"
        head = error_head(ErrorKind.IMPORT, "Runtime.ExitError", message, self._early.splitlines()[-TAIL_LINES:])
        self._stream.send(pack_frame(Kind.ERROR, 0, head))

    # Its connections

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:  # it is gone again
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            peer.close()
            return
        api = self._api
        self._connections[peer.fileno()] = HttpConnection(
            peer, api.on_head, api.on_request, self._config.max_response_bytes
        )
        self._poll.register(peer, select.POLLIN)

    def _serve_connection(self, connection: HttpConnection, events: int) -> None:
        try:
            is_open = True
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                is_open = connection.read()
            else:
                connection.advance()
            is_open = connection.write() and is_open
        except (BadHttp, OSError):
            is_open = False
        if not is_open:
            self._close(connection)
        self._watch_connections()
        self._reap()
        self._end_if_drained()

    def _close(self, connection: HttpConnection) -> None:
        self._poll.unregister(connection.peer)
        del self._connections[connection.peer.fileno()]
        connection.peer.close()
        self._api.closed(connection)

    def _watch_connections(self) -> None:
        for descriptor, connection in self._connections.items():
            reading = select.POLLIN if connection.wants_to_read else 0
            self._poll.modify(descriptor, reading | (select.POLLOUT if connection.wants_to_write else 0))


def _check_program(program: str) -> None:
    """Raises `ImportProblem`."""
    if not os.path.isfile(program):
        message = (
            "the package has no file bootstrap, which the runtime provided starts: build it first, or see what "
            ".isothermignore leaves out"
        )
    elif not os.access(program, os.X_OK):
        message = "bootstrap is not executable; `chmod +x bootstrap` before it is packed"
    else:
        return
    raise ImportProblem("Runtime.InvalidEntrypoint", message)
