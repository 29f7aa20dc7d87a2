"""Messages between warden, keeper and template: one JSON object with descriptors per SEQPACKET message, capped.

A peer that sends more than the cap, more descriptors, or no JSON object breaks the protocol: `MessageError`.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

__all__ = ["MAX_DESCRIPTORS", "MAX_MESSAGE_BYTES", "MessageError", "PeerGone", "close_all", "receive", "send"]

MAX_MESSAGE_BYTES = 160 * 1024  # below the kernel's default socket buffer
MAX_DESCRIPTORS = 12


class MessageError(ValueError):
    """The peer sent what is no message."""


class PeerGone(ConnectionError):
    """The other end is closed."""


def send(channel: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Raises `MessageError` where the message is over the cap, `PeerGone`, `BlockingIOError`, `TimeoutError`."""
    packed = json.dumps(message, separators=(",", ":")).encode()
    if len(packed) > MAX_MESSAGE_BYTES or len(descriptors) > MAX_DESCRIPTORS:
        raise MessageError(f"message of {len(packed)} bytes with {len(descriptors)} descriptors is over the limit")
    try:
        if descriptors:
            socket.send_fds(channel, [packed], descriptors, socket.MSG_NOSIGNAL)
        else:
            channel.send(packed, socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError, ConnectionRefusedError) as exc:
        raise PeerGone("the other end is closed") from exc


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next message and its descriptors (close-on-exec, the caller's to close).

    Raises `PeerGone` at the end, `MessageError`, `BlockingIOError`, `TimeoutError`.
    """
    try:
        # Not socket.recv_fds: it leaves out the flags, so close-on-exec would be lost.
        packed, ancillary, flags, _ = channel.recvmsg(
            MAX_MESSAGE_BYTES, socket.CMSG_SPACE(MAX_DESCRIPTORS * 4), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError as exc:
        raise PeerGone("the other end is closed") from exc
    descriptors = _descriptors(ancillary)
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise MessageError("a message over the limit")
        if not packed:
            raise PeerGone("the other end is closed")
        try:
            message = json.loads(packed)
        except (ValueError, RecursionError) as exc:
            raise MessageError("a message that is not JSON") from exc
        if not isinstance(message, dict):
            raise MessageError("a message that is no object")
    except BaseException:
        close_all(descriptors)
        raise
    return message, descriptors


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
