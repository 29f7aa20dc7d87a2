"""What must stand before the first process starts: the data folder with its lock, and the listening sockets.

The supervisor does this as root in a folder that an unprivileged user shares, so that folder is sticky: the user
cannot replace what root made there (`lock`, `run`, `warden`) by links to elsewhere. Standard library alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isotherm.warden.launch import Identity

__all__ = ["Folder", "GroundworkError", "bind_port", "bind_unix", "lay_out", "lock_folder", "url_of"]

BACKLOG = 4096
MAX_SOCKET_PATH = 107
FREE_PORT_TRIES = 20
ENDING_S = 10.0  # for all processes to end, after the time for running calls
ENDING_POLL_S = 0.05
OF_SERVICE = ("keys", "blobs", "host")  # folders that the unprivileged processes own
OF_ROOT = ("warden",)
Address = tuple[int, int, int, str, Any]  # as getaddrinfo gives it


class GroundworkError(Exception):
    """Starting is refused. `code` is one of the codes of `isotherm.base.errors`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Folder:
    """The data folder, laid out."""

    path: str
    identity: Identity

    def run(self, name: str) -> str:
        """Path of a socket."""
        return os.path.join(self.path, "run", name)


def lock_folder(path: str, holder: int, drain_timeout_s: float) -> int:
    """Make the folder where it is missing and lock it; returns the descriptor that holds the lock.

    `holder` is the pid to name to whoever comes second. A platform whose console was killed is still ending: it is
    waited for, as long as its calls may take and `ENDING_S`. Raises `GroundworkError` (`conflict`).
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        fd = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise GroundworkError("invalid", f"--data {path}: {exc.strerror}; choose a folder that can be written") from exc
    deadline_s = time.monotonic() + drain_timeout_s + ENDING_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as exc:
            other = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            if _is_gone(other) and time.monotonic() < deadline_s:
                time.sleep(ENDING_POLL_S)
                continue
            os.close(fd)
            raise GroundworkError(
                "conflict", f"{path} is in use by another isotherm (pid {other}); stop it, or choose another --data"
            ) from exc
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{holder}\n".encode(), 0)
    return fd


def _is_gone(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, PermissionError):
        return False
    except ProcessLookupError:
        return True
    return False


def lay_out(path: str, identity: Identity) -> Folder:
    """Make the folders of the layout, owned by whom they must be. Raises `GroundworkError`."""
    root = os.geteuid() == 0
    try:
        os.chmod(path, 0o1770 if root else 0o700)
        if root:
            os.chown(path, 0, identity.gid)
        former = _owner(os.path.join(path, "keys"))
        _folder(os.path.join(path, "run"), 0o750, (0, identity.gid) if root else None)
        for name in OF_ROOT:
            _folder(os.path.join(path, name), 0o700, (0, 0) if root else None)
        for name in OF_SERVICE:
            _folder(os.path.join(path, name), 0o700, (identity.uid, identity.gid) if root else None)
        if root and former not in (None, identity.uid):
            _hand_over(path, former, identity)
    except OSError as exc:
        raise GroundworkError("invalid", f"--data {path}: {exc}; choose a folder on a local file system") from exc
    return Folder(path, identity)


def bind_port(host: str, port: int, flag: str) -> list[socket.socket]:
    """Listen on every address of `host`, all on one port; 0 takes a free one. Raises `GroundworkError`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as exc:
        raise GroundworkError("invalid", f"--host {host}: {exc}; give an address of this machine") from exc
    addresses = list(dict.fromkeys(found))
    for attempt in range(FREE_PORT_TRIES):
        try:
            return _bind_all(addresses)
        except OSError as exc:
            # What is free at one address may be taken at the next.
            if port == 0 and exc.errno == errno.EADDRINUSE and attempt < FREE_PORT_TRIES - 1:
                continue
            raise _refused(host, port, flag, exc) from exc
    raise AssertionError("unreachable: the last try returns or raises")


def bind_unix(folder: Folder, name: str) -> socket.socket:
    """Listen on `run/NAME`, in place of what a former run left there. Raises `GroundworkError`."""
    path = folder.run(name)
    if len(path.encode()) > MAX_SOCKET_PATH:
        raise GroundworkError("invalid", f"--data {folder.path}: the path is too long for sockets; at most 90 bytes")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    os.chmod(path, 0o600)
    if os.geteuid() == 0:
        os.chown(path, folder.identity.uid, folder.identity.gid)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket, host: str, tls: bool) -> str:
    """How clients on this machine reach it."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 (compared, not bound)
    port = listener.getsockname()[1]
    return f"{'https' if tls else 'http'}://{f'[{name}]' if ':' in name else name}:{port}"


def _bind_all(addresses: Sequence[Address]) -> list[socket.socket]:
    """All on the port that the first one got. Raises `OSError`."""
    bound: list[socket.socket] = []
    for family, kind, protocol, _, address in addresses:
        if bound:
            address = (address[0], bound[0].getsockname()[1], *address[2:])
        try:
            bound.append(_listen_tcp(family, kind, protocol, address))
        except OSError as exc:
            if bound and exc.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue  # a name such as localhost where IPv6 is switched off
            for other in bound:
                other.close()
            raise
    return bound


def _listen_tcp(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _refused(host: str, port: int, flag: str, exc: OSError) -> GroundworkError:
    if exc.errno == errno.EADDRINUSE:
        return GroundworkError(
            "conflict", f"{flag} {port}: another program listens there; choose another port, or 0 for a free one"
        )
    return GroundworkError("invalid", f"cannot listen on {host} port {port} ({flag}): {exc.strerror}")


def _folder(path: str, mode: int, owner: tuple[int, int] | None) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    # Through a descriptor that refuses links: what stands here may be the unprivileged user's own.
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if owner is not None:
            os.fchown(fd, *owner)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _owner(path: str) -> int | None:
    try:
        return os.stat(path, follow_symlinks=False).st_uid
    except FileNotFoundError:
        return None


def _hand_over(path: str, former: int, identity: Identity) -> None:
    """Give what the former service user made to the present one."""
    for folder, folders, files in os.walk(path):
        if folder == path:
            folders[:] = [name for name in folders if name not in (*OF_ROOT, "run")]
        for name in (*folders, *files):
            entry = os.path.join(folder, name)
            if _owner(entry) == former and name != "lock":
                os.chown(entry, identity.uid, identity.gid, follow_symlinks=False)
