"""Routes by netlink: just enough of it to make every address a local one."""

from __future__ import annotations

import os
import socket
import struct

__all__ = ["take_all_addresses"]

_NEWROUTE = 24
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400
_TABLE_LOCAL, _PROTOCOL_STATIC, _SCOPE_HOST, _TYPE_LOCAL = 255, 4, 254, 2
_OUTPUT_INTERFACE = 4
_LOOPBACK = 1  # the index of `lo` in every namespace


def take_all_addresses(family: socket.AddressFamily) -> None:
    """In this network namespace, deliver what is sent to any address to this namespace itself: as
    `ip route add local 0.0.0.0/0 dev lo`. Raises `OSError`."""
    body = struct.pack("=8BI", family, 0, 0, 0, _TABLE_LOCAL, _PROTOCOL_STATIC, _SCOPE_HOST, _TYPE_LOCAL, 0)
    body += struct.pack("=HHI", 8, _OUTPUT_INTERFACE, _LOOPBACK)
    flags = _REQUEST | _ACK | _CREATE | _EXCLUSIVE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
        link.settimeout(5)
        link.send(struct.pack("=IHHII", 16 + len(body), _NEWROUTE, flags, 1, 0) + body)
        (code,) = struct.unpack_from("=i", link.recv(4096), 16)
    if code:
        raise OSError(-code, f"route to all addresses: {os.strerror(-code)}")
