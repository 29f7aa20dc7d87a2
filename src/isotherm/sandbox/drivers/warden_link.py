"""The host's end of the socket pair to the warden. It may be lost, and given anew, at any time."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Any

from isotherm.base.errors import Unavailable
from isotherm_runtime.seqpacket import close_all
from isotherm_runtime.seqpacket_async import AsyncChannel

__all__ = ["Receiver", "WardenLink"]

Receiver = Callable[[dict[str, Any], list[int]], None]


class WardenLink:
    """Requests with ids; messages about an id go to its receiver.

    `WardenLink(fd)` takes over the SEQPACKET descriptor; `WardenLink()` waits for `reconnect(fd)`. When the peer is
    lost every receiver gets `{"op": "lost"}`: the warden ends all that it ran for a host that it does not hear.
    Belongs to one running event loop.
    """

    def __init__(self, fd: int | None = None) -> None:
        self._channel: AsyncChannel | None = None
        self._receivers: dict[str, Receiver] = {}
        self._numbers = itertools.count(1)
        self._connected = asyncio.Event()
        if fd is not None:
            self.reconnect(fd)

    @property
    def is_connected(self) -> bool:
        return self._channel is not None and self._channel.is_open

    def reconnect(self, fd: int) -> None:
        """Use a new peer from now on; what ran by the old one is reported lost."""
        if self._channel is not None:
            self._channel.close("the warden was replaced")
        self._channel = AsyncChannel(socket.socket(fileno=fd), self._on_message, self._on_lost)
        self._connected.set()

    async def connected(self, timeout_s: float) -> None:
        """Wait for a peer. Raises `Unavailable`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connected.wait()
        except TimeoutError as exc:
            raise Unavailable("the warden is not there; it should be back within seconds", retry_after_s=1.0) from exc

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}"

    def send(self, message: dict[str, Any], receiver: Receiver | None = None) -> None:
        """`receiver` gets every message about `message["id"]` until `forget`. Raises `Unavailable`."""
        if self._channel is None or not self._channel.is_open:
            raise Unavailable("the warden is not there; it should be back within seconds", retry_after_s=1.0)
        if receiver is not None:
            self._receivers[message["id"]] = receiver
        self._channel.send(message)

    def forget(self, request_id: str) -> None:
        self._receivers.pop(request_id, None)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()

    def _on_message(self, message: dict[str, Any], descriptors: list[int]) -> None:
        receiver = self._receivers.get(str(message.get("id")))
        if receiver is None:
            close_all(descriptors)
        else:
            receiver(message, descriptors)

    def _on_lost(self, _reason: str) -> None:
        self._connected.clear()
        receivers, self._receivers = self._receivers, {}
        for receiver in list(receivers.values()):
            receiver({"op": "lost"}, [])
