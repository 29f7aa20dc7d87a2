"""The same messages on an asyncio loop; for the warden and for the host's driver, not for what runs in a sandbox."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from isotherm_runtime.seqpacket import MessageError, PeerGone, close_all, receive, send

__all__ = ["AsyncChannel"]

_MAX_WAITING = 4096  # messages that wait for a peer that does not read


class AsyncChannel:
    """Owns the socket. `on_message(message, descriptors)` owns the descriptors; `on_closed(reason)` comes once."""

    def __init__(
        self,
        peer: socket.socket,
        on_message: Callable[[dict[str, Any], list[int]], None],
        on_closed: Callable[[str], None],
    ) -> None:
        peer.setblocking(False)
        self._peer = peer
        self._on_message = on_message
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[dict[str, Any], list[int]]] = deque()
        self._open = True
        self._loop.add_reader(peer.fileno(), self._readable)

    @property
    def is_open(self) -> bool:
        return self._open

    def send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send, or queue where the peer is slow; `descriptors` are closed here once sent. A closed channel drops it."""
        owned = list(descriptors)
        if not self._open:
            close_all(owned)
            return
        if not self._waiting and self._try_send(message, owned):
            return
        if not self._open:
            return
        if len(self._waiting) >= _MAX_WAITING:
            close_all(owned)
            self.close("the other end does not read")
            return
        if not self._waiting:
            self._loop.add_writer(self._peer.fileno(), self._writable)
        self._waiting.append((message, owned))

    def close(self, reason: str = "closed") -> None:
        """Let go of the socket; `on_closed` is called at once. Harmless when closed."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._peer.fileno())
        self._loop.remove_writer(self._peer.fileno())
        for _, descriptors in self._waiting:
            close_all(descriptors)
        self._waiting.clear()
        self._peer.close()
        self._on_closed(reason)

    def _try_send(self, message: dict[str, Any], descriptors: list[int]) -> bool:
        try:
            send(self._peer, message, descriptors)
        except BlockingIOError:
            return False
        except (OSError, MessageError) as exc:
            close_all(descriptors)
            self.close(str(exc))
            return False
        close_all(descriptors)
        return True

    def _writable(self) -> None:
        while self._waiting and self._open:
            message, descriptors = self._waiting[0]
            if not self._try_send(message, descriptors):
                return
            self._waiting.popleft()
        if self._open:
            self._loop.remove_writer(self._peer.fileno())

    def _readable(self) -> None:
        for _ in range(32):  # then let others have the loop
            if not self._open:
                return
            try:
                message, descriptors = receive(self._peer)
            except (BlockingIOError, InterruptedError):
                return
            except (PeerGone, MessageError, OSError) as exc:
                self.close(str(exc))
                return
            self._on_message(message, descriptors)
