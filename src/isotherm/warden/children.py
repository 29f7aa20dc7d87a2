"""The processes below the supervisor: what each is started with, who it is, what it may see. Standard library alone."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from isotherm.warden.groundwork import Folder, GroundworkError
from isotherm.warden.launch import EGRESS_ID, Identity, Launch, interpreter_paths, start

__all__ = ["Boot", "Process", "Starter"]

MODULES = {
    "warden": "isotherm.warden",
    "host": "isotherm.host",
    "control": "isotherm.controllers",
    "egress": "isotherm.egress",
}

# What children may see of our environment. Warden and egress get no secrets.
_PLAIN_ENV = ("PATH", "LANG", "LANGUAGE", "TZ", "PYTHONPATH", "TERM", "NO_COLOR", "FORCE_COLOR")
_PLAIN_PREFIXES = ("LC_",)
_SERVICE_ENV = ("ISOTHERM_MASTER_KEY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy")
_SERVICE_PREFIXES = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "all_proxy", "ALL_PROXY")
_DATABASE_PREFIXES = ("PG",)  # libpq's: a password file, certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """The supervisor's boot message. What ends in `_boot` is `wire.boot` without what is filled in here."""

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
    egress_boot: dict[str, Any]
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
    channel: socket.socket | None = None  # our end; none of control
    ready_fd: int | None = None  # control says there that it serves

    def forget(self) -> None:
        """It is dead: close our ends."""
        self.pid = None
        if self.channel is not None:
            self.channel.close()
            self.channel = None


@dataclass(slots=True)
class _Handed:
    """What a process is handed: its boot message, the descriptors it inherits, and those of them that we then close."""

    message: dict[str, Any]
    fds: list[int]
    ours: list[int]


class Starter:
    """Starts warden, host, control and egress over one laid-out folder and its listening sockets."""

    def __init__(
        self, boot: Boot, folder: Folder, listeners: dict[str, list[socket.socket]], urls: dict[str, str]
    ) -> None:
        self._boot, self._folder, self._listeners, self._urls = boot, folder, listeners, urls
        self._tls: dict[str, bytes] = {}

    def start(self, process: Process) -> None:
        """Raises `GroundworkError` (a certificate that cannot be read), `OSError` (no process can be made)."""
        handed = {
            "warden": self._warden,
            "host": self._host,
            "control": self._control,
            "egress": self._egress,
        }[process.name](process)
        boot_fd = _in_memory("boot", json.dumps(handed.message).encode())
        try:
            process.pid = start(self._launch(process.name, boot_fd, (boot_fd, *handed.fds)))
        finally:
            for fd in (boot_fd, *handed.ours):
                os.close(fd)
        process.started_s = time.monotonic()

    def _launch(self, name: str, boot_fd: int, fds: tuple[int, ...]) -> Launch:
        argv = (sys.executable, "-P", "-m", self._boot.modules[name], "--boot-fd", str(boot_fd))
        if name == "warden" or os.geteuid() != 0:
            return Launch(argv=argv, env=self._environment(name), fds=fds)
        return Launch(
            argv=argv,
            env=self._environment(name),
            fds=fds,
            identity=Identity(EGRESS_ID, EGRESS_ID) if name == "egress" else self._folder.identity,
            readable=interpreter_paths(),
            writable=() if name == "egress" else (self._folder.path,),
            # What the host unpacks is read by sandboxes, which have users of their own; its folder is closed to others.
            umask=0o022 if name == "host" else 0o077,
        )

    def _environment(self, name: str) -> dict[str, str]:
        secretive = name in ("warden", "egress")
        names = _PLAIN_ENV if secretive else _PLAIN_ENV + _SERVICE_ENV
        prefixes: tuple[str, ...] = _PLAIN_PREFIXES if secretive else _PLAIN_PREFIXES + _SERVICE_PREFIXES
        if name == "control" or (name == "host" and self._boot.host_boot["settings"].get("queue_database")):
            prefixes += _DATABASE_PREFIXES
        kept = {key: value for key, value in os.environ.items() if key in names or key.startswith(prefixes)}
        return kept | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}

    def _warden(self, process: Process) -> _Handed:
        theirs = _channel(process)
        message = {
            "data_dir": self._folder.path,
            "supervisor_fd": theirs,
            "uid": self._folder.identity.uid,
            "gid": self._folder.identity.gid,
        }
        return _Handed(message, [theirs], [theirs])

    def _host(self, process: Process) -> _Handed:
        tls = {name: _in_memory(name, content) for name, content in self._certificate().items()}
        theirs = _channel(process)
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
            "settings": message["settings"] | {name: f"/proc/self/fd/{fd}" for name, fd in tls.items()},
        }
        return _Handed(message, [theirs, *api, *content, *tls.values()], [theirs, *tls.values()])

    def _control(self, process: Process) -> _Handed:
        process.ready_fd, theirs = os.pipe()
        os.set_blocking(process.ready_fd, False)
        api, link = self._listeners["control"][0].fileno(), self._listeners["link"][0].fileno()
        message = self._boot.control_boot | self._urls
        message |= {"data_dir": self._folder.path, "api_fd": api, "link_fd": link, "ready_fd": theirs}
        return _Handed(message, [api, link, theirs], [theirs])

    def _egress(self, process: Process) -> _Handed:
        theirs = _channel(process)
        ports = {listener.getsockname()[1] for name in ("api", "content") for listener in self._listeners[name]}
        message = self._boot.egress_boot | {"supervisor_fd": theirs, "own_ports": sorted(ports)}
        return _Handed(message, [theirs], [theirs])

    def _certificate(self) -> dict[str, bytes]:
        """Read anew at each start of the host; the service user may not be let to. A broken renewal keeps the old."""
        read = {}
        for name, path in (("tls_cert", self._boot.tls_cert), ("tls_key", self._boot.tls_key)):
            if path is None:
                continue
            try:
                with open(path, "rb") as stream:
                    read[name] = stream.read()
            except OSError as exc:
                if self._tls:
                    return self._tls
                flag = "--" + name.replace("_", "-")
                raise GroundworkError("invalid", f"{flag} {path}: {exc.strerror}; give a PEM file") from exc
        self._tls = read
        return read


def _channel(process: Process) -> int:
    """A new channel; our end goes to the process's record, theirs is returned."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    process.channel = ours
    return theirs.detach()


def _in_memory(name: str, content: bytes) -> int:
    """A descriptor of a file that is nowhere on disk."""
    fd = os.memfd_create(name)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
