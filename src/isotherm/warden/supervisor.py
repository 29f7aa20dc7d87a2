"""The supervisor: locks the data folder, listens, starts warden, host, control and egress, restarts what dies.

It takes its boot message on a descriptor and words on the console's pipe (`stop`, `kill`, end of file); it answers
with JSON lines on the report pipe. It holds the listening sockets, so that a client that connects while a process
restarts waits in the backlog instead of failing. Standard library alone; nothing from the network is read here.

    console → supervisor   stop (or end of file): drain and exit 0 · kill: end everything now
    supervisor → console   {"op": "listening" | "ready" | "died" | "failed" | "stopped", …}
    supervisor → children  {"op": "peer" | "egress"} with one descriptor · {"op": "stop"}, on a SEQPACKET channel
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
from types import FrameType
from typing import Any

from isotherm.warden.children import Boot, Process, Starter
from isotherm.warden.groundwork import GroundworkError, bind_port, bind_unix, lay_out, lock_folder, url_of
from isotherm.warden.launch import LaunchError, service_identity

__all__ = ["Supervisor", "main", "restart_delay_s"]

STEADY_S = 3.0  # a process that lived this long did not fail at its start
FREE_RETRIES = 4
MAX_DELAY_S = 2.0
STOP_S = {"control": 5.0, "warden": 15.0, "egress": 2.0}  # to end once asked; the warden ends and removes whatever runs
PEERS_OF_WARDEN = {"host": "peer", "egress": "egress"}  # and the word by which the warden is given its end
KILL_S = 5.0  # for the kernel to end what was killed
HOPELESS = (64, 65, 66, 71, 73, 77, 78)  # exit codes, of the error tree and of `launch`, that a retry does not mend
EXIT_OS_ERROR = 75  # no process could be made; EX_TEMPFAIL
MAX_READY_BYTES = 64 * 1024
_PR_SET_CHILD_SUBREAPER = 36


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
        self._processes = {name: Process(name) for name in ("warden", "control", "host", "egress")}
        self._listeners: dict[str, list[socket.socket]] = {}
        self._ready_text = b""
        self._was_ready = False
        self._stopping = False
        self._killing = False
        self._wakeup: tuple[int, int] = (-1, -1)

    def run(self) -> int:
        try:
            self._prepare()
            self._restart_due()
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
        lock_folder(boot.data_dir, boot.console_pid, boot.drain_timeout_s)
        identity = service_identity(boot.service_user)
        folder = lay_out(boot.data_dir, identity)
        self._listeners = {
            "api": bind_port(boot.host, boot.port, "--port"),
            "content": bind_port(boot.host, boot.content_port, "--content-port"),
            "control": [bind_unix(folder, "api.sock")],
            "link": [bind_unix(folder, "link.sock")],
        }
        tls = boot.tls_cert is not None
        urls = {
            "url": url_of(self._listeners["api"][0], boot.host, tls),
            "content_url": url_of(self._listeners["content"][0], boot.host, tls),
        }
        self._starter = Starter(boot, folder, self._listeners, urls)
        self._watch_signals()
        os.set_blocking(boot.console_fd, False)
        self._selector.register(boot.console_fd, selectors.EVENT_READ, self._on_console)
        self._report({"op": "listening", "pid": os.getpid(), "uid": identity.uid, **urls})

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
        ready_fd = self._processes["control"].ready_fd
        assert ready_fd is not None
        chunk = os.read(ready_fd, MAX_READY_BYTES)
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
        control = self._processes["control"]
        if control.ready_fd is not None:
            with contextlib.suppress(KeyError):  # the start failed before it was watched
                self._selector.unregister(control.ready_fd)
            os.close(control.ready_fd)
        control.ready_fd = None
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
        process.forget()
        process.deaths += 1
        process.failures = process.failures + 1 if lived_s < STEADY_S else 0
        process.restart_at_s = now + restart_delay_s(process.failures)
        if process.name == "control":
            self._close_ready()
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

    def _start(self, process: Process) -> None:
        try:
            self._starter.start(process)
        except OSError as exc:  # no process can be made now; that may pass
            sys.stderr.write(f"isotherm: cannot start {process.name}: {exc}\n")
            process.started_s = time.monotonic()
            self._on_death(process, EXIT_OS_ERROR)
            return
        if process.ready_fd is not None:
            self._selector.register(process.ready_fd, selectors.EVENT_READ, self._on_ready)
        for other, word in PEERS_OF_WARDEN.items():
            if process.name in ("warden", other):
                self._introduce(other, word)

    def _introduce(self, other: str, word: str) -> None:
        """Give the warden and another the two ends of a new pair; whatever pair they had is of no more use."""
        both = [self._processes["warden"], self._processes[other]]
        if any(process.pid is None or process.channel is None for process in both):
            return
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for process, end, said in zip(both, pair, (word, "peer"), strict=True):
            self._tell(process, said, [end.fileno()])
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
        """The host first, which finishes its calls with the help of the others; then control, the warden, egress."""
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
        self._stopping = True  # and drain: a warden that is killed leaves its control groups behind
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
