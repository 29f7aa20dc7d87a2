"""The console's side of the supervisor: starts it, hears what it reports, stops it."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import msgspec

from isotherm.base.errors import IsothermError, Unavailable, all_errors
from isotherm.base.settings import Settings
from isotherm.storage.postgres import queue_url

__all__ = ["Platform", "Report"]

_MAX_LINE_BYTES = 256 * 1024
_STOP_S = 40.0  # for all processes to end, after the time for running calls


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the supervisor; which fields are set depends on `op`."""

    op: str  # listening, ready, died, failed, stopped
    url: str = ""
    content_url: str = ""
    pid: int = 0
    uid: int = 0
    admin_key: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    process: str = ""
    exit_code: int = 0
    restart_in_s: float = 0.0
    code: str = ""
    message: str = ""


class Platform:
    """A supervisor as a child process. Use as a context: leaving it stops the platform and waits for its end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._text = b""
        self._interrupts = 0
        words, self._words = os.pipe()
        self._report, report = os.pipe()
        self._wakeup = os.pipe()
        for fd in self._wakeup:
            os.set_blocking(fd, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._report, selectors.EVENT_READ)
        self._selector.register(self._wakeup[0], selectors.EVENT_READ)
        boot_fd = os.memfd_create("boot")
        os.write(boot_fd, json.dumps(_boot_message(settings, words, report)).encode())
        os.lseek(boot_fd, 0, os.SEEK_SET)
        # A session of its own: Ctrl-C in the terminal comes to the console alone, which then asks for a drain.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "isotherm.warden.supervisor", "--boot-fd", str(boot_fd)],
            pass_fds=(boot_fd, words, report),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        for fd in (boot_fd, words, report):
            os.close(fd)

    def __enter__(self) -> "Platform":
        self._former = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        self._former_wakeup = signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._words)
        limit_s = self._settings.drain_timeout_s + _STOP_S
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        for number, former in self._former.items():
            signal.signal(number, former)
        signal.set_wakeup_fd(self._former_wakeup)

    @property
    def interrupted(self) -> bool:
        """Whether SIGTERM or Ctrl-C came."""
        return self._interrupts > 0

    def reports(self, until_s: float | None = None) -> Iterator[Report]:
        """What the supervisor says, until `until_s` (monotonic), a signal, or its end (`Unavailable`).

        Raises the error that a `failed` line stands for.
        """
        while not self._interrupts:
            timeout_s = None if until_s is None else until_s - time.monotonic()
            if timeout_s is not None and timeout_s <= 0:
                return
            for line in self._read(timeout_s):
                if line.op == "failed":
                    raise all_errors().get(line.code, IsothermError)(line.message)
                yield line

    def stop(self) -> None:
        """Drain, as asked; a second signal ends it at once. Raises `Unavailable` where it did not end well."""
        with contextlib.suppress(OSError):
            os.write(self._words, b"stop\n")
        before = self._interrupts
        deadline = time.monotonic() + self._settings.drain_timeout_s + _STOP_S
        while time.monotonic() < deadline:
            for line in self._read(deadline - time.monotonic()):
                if line.op == "stopped":
                    return
            if self._interrupts > before:
                before = self._interrupts
                with contextlib.suppress(OSError):
                    os.write(self._words, b"kill\n")
        raise Unavailable("the platform did not stop in time")

    def _read(self, timeout_s: float | None) -> list[Report]:
        for key, _ in self._selector.select(timeout_s):
            if key.fd == self._wakeup[0]:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wakeup[0], 4096)
                continue
            chunk = os.read(self._report, 65536)
            if not chunk:
                raise Unavailable("the supervisor ended without a word; what it wrote to stderr says why")
            self._text += chunk
        *lines, self._text = self._text.split(b"\n")
        if len(self._text) > _MAX_LINE_BYTES:
            raise Unavailable("the supervisor wrote a line without end")
        return [msgspec.json.decode(line, type=Report) for line in lines if line]

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupts += 1


def _boot_message(settings: Settings, console_fd: int, report_fd: int) -> dict[str, Any]:
    """The supervisor's `Boot`; it fills in descriptors, paths and URLs itself."""
    all_settings = msgspec.to_builtins(settings)
    return {
        "data_dir": settings.data,
        "console_pid": os.getpid(),
        "console_fd": console_fd,
        "report_fd": report_fd,
        "host": settings.host,
        "port": settings.port,
        "content_port": settings.content_port,
        "service_user": settings.service_user,
        "drain_timeout_s": settings.drain_timeout_s,
        "tls_cert": settings.tls_cert,
        "tls_key": settings.tls_key,
        # Each is told of the database that it works with, and of no other's password.
        "host_boot": {"settings": all_settings | {"database": None, "queue_database": queue_url(settings)}},
        "control_boot": {"settings": all_settings | {"queue_database": None}},
        "egress_boot": {
            "resolver": settings.egress_resolver,
            "never": settings.egress_never,
            "connections": settings.egress_connections,
            "idle_s": settings.egress_idle_s,
        },
    }
