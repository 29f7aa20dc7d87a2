"""The network namespace of a revision that has egress: no way out of it but three sockets of the platform's.

It has loopback alone. Every address is local there, so a connection to anywhere arrives where it began, and a BPF
program gives it to one listening socket; the address that was meant is the accepted socket's own. Names are asked of
127.0.0.1. The sockets go to the egress process; the namespace belongs to root, so no sandbox can change it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Callable

from isotherm.warden.bpf import attach_listener
from isotherm.warden.netlink import take_all_addresses
from isotherm.warden.tree import NAME_SERVER
from isotherm_runtime import linux
from isotherm_runtime.seqpacket import close_all

__all__ = ["NetworkError", "RevisionNetwork"]

_DNS_PORT = 53
_BACKLOG = 512


class NetworkError(RuntimeError):
    """Egress cannot be had on this machine; the message says why."""


class RevisionNetwork:
    """`namespace_fd` is for the launcher. `sockets`: for TCP, for names by UDP, for names by TCP."""

    def __init__(self) -> None:
        """Raises `NetworkError`."""
        self.namespace_fd = -1
        self.sockets: list[socket.socket] = []
        self._link = -1
        try:
            _in_new_namespace(self._build)
        except OSError as exc:
            self.close()
            raise NetworkError(f"egress cannot be had on this host ({exc}); `isotherm doctor` says more") from exc

    @property
    def inode(self) -> int:
        """What identifies the namespace."""
        return os.fstat(self.namespace_fd).st_ino

    def duplicates(self) -> list[int]:
        """Descriptors of the sockets, the caller's to close."""
        return [os.dup(each.fileno()) for each in self.sockets]

    def close(self) -> None:
        """The namespace ends with the last process in it. Harmless when closed."""
        for each in self.sockets:
            each.close()
        close_all(fd for fd in (self._link, self.namespace_fd) if fd >= 0)
        self.sockets, self._link, self.namespace_fd = [], -1, -1

    def _build(self) -> None:
        self.namespace_fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        linux.bring_up_loopback()
        take_all_addresses(socket.AF_INET)
        with contextlib.suppress(OSError):  # a machine may be without IPv6
            take_all_addresses(socket.AF_INET6)
        listener = _listen_everywhere()
        self.sockets.append(listener)
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            names = socket.socket(socket.AF_INET, kind)
            self.sockets.append(names)
            names.bind((NAME_SERVER, _DNS_PORT))
            if kind == socket.SOCK_STREAM:
                names.listen(_BACKLOG)
        for each in self.sockets:
            each.setblocking(False)
        self._link = _attach(self.namespace_fd, listener.fileno())


def _attach(namespace_fd: int, listener_fd: int) -> int:
    """Kernels before 5.11 count the program against locked memory."""
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    return attach_listener(namespace_fd, listener_fd)


def _listen_everywhere() -> socket.socket:
    """For both families where there are both. Its own port matters to nobody: the program finds it."""
    with contextlib.suppress(OSError):
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(("::", 0))
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("0.0.0.0", 0))  # noqa: S104  (of a namespace that has loopback alone)
    listener.listen(_BACKLOG)
    return listener


def _in_new_namespace(build: Callable[[], None]) -> None:
    """Run it in a fresh network namespace, and come back whatever it does. Raises what it raises, `OSError`."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.unshare(linux.NEWNET)
        try:
            build()
        finally:
            try:
                linux.setns(home, linux.NEWNET)
            except OSError:
                os._exit(71)  # in the wrong namespace nothing that follows would be right
    finally:
        os.close(home)
