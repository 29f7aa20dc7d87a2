"""The supervisor: locks the data folder, listens, starts warden, host and control, and starts again what dies.

It takes its boot message on a descriptor and words on the console's pipe (`stop`, `kill`, end of file); it answers
with JSON lines on the report pipe. It holds the listening sockets, so that a client that connects while a process
restarts waits in the backlog instead of failing. Standard library alone; nothing from the network is read here.

    console → supervisor   stop (or end of file): drain and exit 0 · kill: end everything now
    supervisor → console   {"op": "listening" | "ready" | "died" | "failed" | "stopped", …}
    supervisor → children  {"op": "peer"} with one descriptor · {"op": "stop"}, on a SEQPACKET channel
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from isotherm.warden.groundwork import Folder, GroundworkError, bind_port, bind_unix, lay_out, lock_folder, url_of
from isotherm.warden.launch import Identity, Launch, LaunchError, interpreter_paths, service_identity, start

__all__ = ["Boot", "Process", "Supervisor", "main", "restart_delay_s"]

MODULES = {"warden": "isotherm.warden", "host": "isotherm.host", "control": "isotherm.controllers"}
STEADY_S = 3.0  # a process that lived this long did not fail at its start
FREE_RETRIES = 4
MAX_DELAY_S = 2.0
STOP_S = {"control": 5.0, "warden": 15.0}  # to end once asked; the warden ends and removes whatever runs
KILL_S = 5.0  # for the kernel to end what was killed
HOPELESS = (64, 65, 66, 71, 73, 77, 78)  # exit codes, of the error tree and of `launch`, that a retry does not mend
MAX_READY_BYTES = 64 * 1024
_PR_SET_CHILD_SUBREAPER = 36

# What children may see of our environment. The warden gets no secrets.
_PLAIN_ENV = ("PATH", "LANG", "LANGUAGE", "TZ", "PYTHONPATH", "TERM", "NO_COLOR", "FORCE_COLOR")
_PLAIN_PREFIXES = ("LC_",)
_SERVICE_ENV = ("ISOTHERM_MASTER_KEY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy")
_SERVICE_PREFIXES = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "all_proxy", "ALL_PROXY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """The supervisor's boot message. `host_boot` and `control_boot` are `wire.boot` without what is filled in here."""

    data_dir: str
    console_pid: int
    console_fd: int
    report_fd: int
    host: str
    port: int
    content_port: int
    service_user: str | None
    drain_timeout_s: float
    tls_cert: str | None
    tls_key: str | None
    host_boot: dict[str, Any]
    control_boot: dict[str, Any]
    modules: dict[str, str] = field(default_factory=lambda: dict(MODULES))

    @classmethod
    def read(cls, fd: int) -> Boot:
        with os.fdopen(fd, "rb") as stream:
            return cls(**json.loads(stream.read()))


@dataclass(slots=True)
class Process:
    """One supervised process, through all its lives."""

    name: str
    pid: int | None = None
    started_s: float = 0.0
    restart_at_s: float = 0.0
    deaths: int = 0
    failures: int = 0  # deaths in a row soon after a start
    channel: socket.socket | None = None  # our end


def restart_delay_s(failures: int) -> float:
    """Seconds to wait before the next start: none at first, then doubling up to `MAX_DELAY_S`."""
    if failures <= FREE_RETRIES:
        return 0.0
    return float(min(MAX_DELAY_S, 0.25 * 2 ** (failures - FREE_RETRIES - 1)))


class Supervisor:
    """See the module's text. `run` returns the exit code."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._selector = selectors.DefaultSelector()
        self._processes = {name: Process(name) for name in ("warden", "control", "host")}
        self._listeners: dict[str, list[socket.socket]] = {}
        self._folder = Folder(boot.data_dir, Identity(os.geteuid(), os.getegid()))
        self._urls: dict[str, str] = {}
        self._ready_fd: int | None = None
        self._ready_text = b""
        self._was_ready = False
        self._stopping = False
        self._killing = False
        self._wakeup: tuple[int, int] = (-1, -1)

    def run(self) -> int:
        try:
            self._prepare()
            for process in self._processes.values():
                self._start(process)
            while not self._stopping:
                self._wait(self._next_restart_s())
                self._reap()
                self._restart_due()
        except (GroundworkError, LaunchError) as exc:
            return self._fail(getattr(exc, "code", "unavailable"), str(exc))
        self._drain()
        self._report({"op": "stopped"})
        return 0

    # Setting up

    def _prepare(self) -> None:
        boot = self._boot
        os.umask(0o077)
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans of a dead warden come to us
        lock_folder(boot.data_dir, boot.console_pid)
        identity = service_identity(boot.service_user)
        self._folder = lay_out(boot.data_dir, identity)
        self._listeners = {
            "api": bind_port(boot.host, boot.port, "--port"),
            "content": bind_port(boot.host, boot.content_port, "--content-port"),
            "control": [bind_unix(self._folder, "api.sock")],
            "link": [bind_unix(self._folder, "link.sock")],
        }
        tls = boot.tls_cert is not None
        self._urls = {
            "url": url_of(self._listeners["api"][0], boot.host, tls),
            "content_url": url_of(self._listeners["content"][0], boot.host, tls),
        }
        self._watch_signals()
        os.set_blocking(boot.console_fd, False)
        self._selector.register(boot.console_fd, selectors.EVENT_READ, self._on_console)
        self._report({"op": "listening", "pid": os.getpid(), "uid": identity.uid, **self._urls})

    def _watch_signals(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self._wakeup = (reader, writer)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._selector.register(reader, selectors.EVENT_READ, self._on_wakeup)

    # The loop

    def _wait(self, timeout_s: float | None) -> None:
        for key, _ in self._selector.select(timeout_s):
            key.data()

    def _next_restart_s(self) -> float | None:
        due = [process.restart_at_s for process in self._processes.values() if process.pid is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _on_stop_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _on_wakeup(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup[0], 4096)

    def _on_console(self) -> None:
        try:
            words = os.read(self._boot.console_fd, 4096)
        except BlockingIOError:
            return
        self._stopping = True
        if b"kill" in words:
            self._killing = True
        if not words:
            self._selector.unregister(self._boot.console_fd)

    def _on_ready(self) -> None:
        """Control says that it serves; the console gets its line unread but for its shape."""
        assert self._ready_fd is not None
        chunk = os.read(self._ready_fd, MAX_READY_BYTES)
        self._ready_text += chunk
        if b"\n" in self._ready_text and len(self._ready_text) < MAX_READY_BYTES:
            with contextlib.suppress(ValueError):
                line = json.loads(self._ready_text.split(b"\n", 1)[0])
                if isinstance(line, dict):
                    self._was_ready = True
                    self._report({"op": "ready", **line})
            self._close_ready()
        elif not chunk or len(self._ready_text) >= MAX_READY_BYTES:
            self._close_ready()

    def _close_ready(self) -> None:
        if self._ready_fd is not None:
            self._selector.unregister(self._ready_fd)
            os.close(self._ready_fd)
        self._ready_fd = None
        self._ready_text = b""

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for process in self._processes.values():
                if process.pid == pid:
                    self._on_death(process, os.waitstatus_to_exitcode(status))

    def _on_death(self, process: Process, exit_code: int) -> None:
        now = time.monotonic()
        lived_s = now - process.started_s
        process.pid = None
        process.deaths += 1
        process.failures = process.failures + 1 if lived_s < STEADY_S else 0
        process.restart_at_s = now + restart_delay_s(process.failures)
        if process.channel is not None:
            process.channel.close()
            process.channel = None
        if process.name == "warden":
            self._end_orphans()
        if self._stopping:
            return
        self._report(
            {
                "op": "died",
                "process": process.name,
                "exit_code": exit_code,
                "lived_s": round(lived_s, 3),
                "restart_in_s": round(process.restart_at_s - now, 3),
            }
        )
        if not self._was_ready and (process.deaths > FREE_RETRIES or exit_code in HOPELESS):
            times = "" if process.deaths == 1 else f" {process.deaths} times"
            raise GroundworkError(
                "unavailable",
                f"the {process.name} process ended{times} at its start (exit {exit_code}); "
                f"what it wrote to stderr says why",
            )

    def _restart_due(self) -> None:
        now = time.monotonic()
        for process in self._processes.values():
            if process.pid is None and process.restart_at_s <= now and not self._stopping:
                self._start(process)

    # Starting one process

    def _start(self, process: Process) -> None:
        message, fds, close_after = getattr(self, f"_{process.name}_boot")(process)
        boot_fd = os.memfd_create("boot")
        os.write(boot_fd, json.dumps(message).encode())
        os.lseek(boot_fd, 0, os.SEEK_SET)
        process.pid = start(self._launch(process.name, boot_fd, (boot_fd, *fds)))
        process.started_s = time.monotonic()
        for fd in (boot_fd, *close_after):
            os.close(fd)
        if process.name != "control":
            self._introduce()

    def _launch(self, name: str, boot_fd: int, fds: tuple[int, ...]) -> Launch:
        argv = (sys.executable, "-P", "-m", self._boot.modules[name], "--boot-fd", str(boot_fd))
        if name == "warden" or os.geteuid() != 0:
            return Launch(argv=argv, env=self._environment(name), fds=fds)
        return Launch(
            argv=argv,
            env=self._environment(name),
            fds=fds,
            identity=self._folder.identity,
            readable=interpreter_paths(),
            writable=(self._folder.path,),
            # What the host unpacks is read by sandboxes, which have users of their own; its folder is closed to others.
            umask=0o022 if name == "host" else 0o077,
        )

    def _environment(self, name: str) -> dict[str, str]:
        names = _PLAIN_ENV if name == "warden" else _PLAIN_ENV + _SERVICE_ENV
        prefixes = _PLAIN_PREFIXES if name == "warden" else _PLAIN_PREFIXES + _SERVICE_PREFIXES
        kept = {key: value for key, value in os.environ.items() if key in names or key.startswith(prefixes)}
        return kept | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}

    def _warden_boot(self, process: Process) -> tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]:
        theirs = self._channel(process)
        message = {
            "data_dir": self._folder.path,
            "supervisor_fd": theirs,
            "uid": self._folder.identity.uid,
            "gid": self._folder.identity.gid,
        }
        return message, (theirs,), (theirs,)

    def _host_boot(self, process: Process) -> tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]:
        theirs = self._channel(process)
        api = [listener.fileno() for listener in self._listeners["api"]]
        content = [listener.fileno() for listener in self._listeners["content"]]
        message = self._boot.host_boot | self._urls
        message |= {
            "data_dir": self._folder.path,
            "supervisor_fd": theirs,
            "api_fds": api,
            "content_fds": content,
            "link_path": self._folder.run("link.sock"),
            "api_path": self._folder.run("api.sock"),
        }
        tls = self._tls_fds()
        settings = dict(message["settings"])
        settings |= {name: f"/proc/self/fd/{fd}" for name, fd in tls.items()}
        message["settings"] = settings
        return message, (theirs, *api, *content, *tls.values()), (theirs, *tls.values())

    def _control_boot(self, _process: Process) -> tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]:
        self._close_ready()
        self._ready_fd, theirs = os.pipe()
        os.set_blocking(self._ready_fd, False)
        self._selector.register(self._ready_fd, selectors.EVENT_READ, self._on_ready)
        api, link = self._listeners["control"][0].fileno(), self._listeners["link"][0].fileno()
        message = self._boot.control_boot | self._urls
        message |= {"data_dir": self._folder.path, "api_fd": api, "link_fd": link, "ready_fd": theirs}
        return message, (api, link, theirs), (theirs,)

    def _tls_fds(self) -> dict[str, int]:
        """The certificate and its key as files in memory: the service user may not be let to read them on disk."""
        fds = {}
        for name, path in (("tls_cert", self._boot.tls_cert), ("tls_key", self._boot.tls_key)):
            if path is None:
                continue
            try:
                with open(path, "rb") as stream:
                    content = stream.read()
            except OSError as exc:
                flag = "--" + name.replace("_", "-")
                raise GroundworkError("invalid", f"{flag} {path}: {exc.strerror}; give a PEM file") from exc
            fds[name] = os.memfd_create(name)
            os.write(fds[name], content)
            os.lseek(fds[name], 0, os.SEEK_SET)
        return fds

    def _channel(self, process: Process) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        process.channel = ours
        return theirs.detach()

    def _introduce(self) -> None:
        """Give warden and host the two ends of a new pair; whatever pair they had is of no more use."""
        ends = [self._processes["warden"], self._processes["host"]]
        if any(process.pid is None or process.channel is None for process in ends):
            return
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for process, end in zip(ends, pair, strict=True):
            self._tell(process, "peer", [end.fileno()])
            end.close()

    def _tell(self, process: Process, word: str, fds: list[int]) -> None:
        if process.channel is None:
            return
        try:
            socket.send_fds(process.channel, [json.dumps({"op": word}).encode()], fds)
        except BlockingIOError:  # it has not read for a long time
            self._kill(process)
        except OSError:
            pass  # it is dead; its death is on its way to us

    # Stopping

    def _drain(self) -> None:
        """The host first, which finishes its calls with the help of the others; then control; the warden last."""
        for name in ("api", "content"):
            for listener in self._listeners.get(name, []):
                listener.close()
        limits_s = {"host": self._boot.drain_timeout_s + 2.0, **STOP_S}
        for name, limit_s in limits_s.items():
            process = self._processes[name]
            self._ask_to_stop(process)
            deadline = time.monotonic() + limit_s
            while process.pid is not None and not self._killing and time.monotonic() < deadline:
                self._wait(deadline - time.monotonic())
                self._reap()
            self._end(process)
        self._end_orphans()

    def _ask_to_stop(self, process: Process) -> None:
        if process.channel is not None:
            self._tell(process, "stop", [])
        elif process.pid is not None:
            os.kill(process.pid, signal.SIGTERM)

    def _end(self, process: Process) -> None:
        if process.pid is not None:
            self._kill(process)
        deadline = time.monotonic() + KILL_S
        while process.pid is not None and time.monotonic() < deadline:
            self._wait(deadline - time.monotonic())
            self._reap()

    def _kill(self, process: Process) -> None:
        if process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)

    def _end_orphans(self) -> None:
        """Kill what a dead process left to us; `_reap` collects it."""
        known = {process.pid for process in self._processes.values()}
        with contextlib.suppress(OSError), open("/proc/thread-self/children") as stream:
            for text in stream.read().split():
                if int(text) not in known:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(text), signal.SIGKILL)

    # The console

    def _fail(self, code: str, message: str) -> int:
        self._stopping = self._killing = True
        self._report({"op": "failed", "code": code, "message": message})
        if self._listeners:
            self._drain()
        return 1

    def _report(self, line: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the console is gone: its pipe ends and we drain
            os.write(self._boot.report_fd, json.dumps(line).encode() + b"\n")


def main(argv: list[str]) -> int:
    if len(argv) != 2 or argv[0] != "--boot-fd":
        sys.stderr.write("usage: python -m isotherm.warden.supervisor --boot-fd N (started by `isotherm up`)\n")
        return 64
    boot = Boot.read(int(argv[1]))
    os.set_blocking(boot.report_fd, False)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return Supervisor(boot).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
