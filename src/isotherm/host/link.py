"""The host's end of the link to control: connects, says hello, takes state and orders, connects again."""

import asyncio
import random
import struct
from typing import Protocol

from isotherm.telemetry.logging import get_logger
from isotherm.wire.desired import Desired
from isotherm.wire.link import (
    MAX_MESSAGE_BYTES,
    PROTOCOL,
    Ack,
    FromControl,
    FromHost,
    Hello,
    LinkError,
    Order,
    State,
    Welcome,
    decode_from_control,
    encode,
)
from isotherm.wire.warmth import Warmth

__all__ = ["LinkClient", "LinkUser"]

CONNECT_TIMEOUT_S = 5.0
WELCOME_TIMEOUT_S = 10.0
RETRY_S = 0.5
MAX_UNSENT_BYTES = 64 * 1024 * 1024
length_field = struct.Struct("<I")


class LinkUser(Protocol):
    """What the link brings."""

    def hello(self) -> Hello: ...

    def desired(self, desired: Desired) -> None:
        """Handled before the next message is read."""

    def order(self, order: Order) -> None: ...

    def warmth(self, warmth: Warmth) -> None: ...

    async def acknowledged(self, boot_id: str, sequence: int) -> None: ...

    async def connected(self) -> None: ...

    def disconnected(self) -> None: ...


class LinkClient:
    """One connection at a time, for as long as `run` runs."""

    def __init__(self, path: str, user: LinkUser) -> None:
        self._path = path
        self._user = user
        self._writer: asyncio.StreamWriter | None = None
        self._log = get_logger("link")

    def connected(self) -> bool:
        return self._writer is not None and not self._writer.is_closing()

    def send(self, message: FromHost) -> None:
        """Send, where there is a connection; whoever waits at the other end knows what a lost one means."""
        self.send_raw(encode(message))

    def send_raw(self, message: bytes) -> None:
        writer = self._writer
        if writer is None or writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._log.error("control does not read; the connection is made anew")
            writer.transport.abort()
            return
        writer.write(message)

    async def run(self) -> None:
        """Until cancelled."""
        told = False
        while True:
            try:
                await self._converse()
            except (OSError, LinkError, TimeoutError, asyncio.IncompleteReadError) as exc:
                if not told:
                    self._log.warning("no link to control; calls go on", problem=str(exc) or type(exc).__name__)
                told = self._writer is None
            finally:
                self._drop()
            await asyncio.sleep(RETRY_S * (0.5 + random.random() / 2))  # noqa: S311 -- spreads reconnects, no secret

    async def _converse(self) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(self._path, limit=1024 * 1024)
        self._writer = writer
        self.send(self._user.hello())
        async with asyncio.timeout(WELCOME_TIMEOUT_S):
            welcome = await _read(reader)
        if not isinstance(welcome, Welcome):
            raise LinkError(f"control began with {type(welcome).__name__} instead of a welcome")
        if welcome.protocol != PROTOCOL:
            raise LinkError(
                f"control speaks link protocol {welcome.protocol}, this host {PROTOCOL}: upgrade one of them"
            )
        self._log.info("linked to control", control_version=welcome.isotherm_version)
        await self._user.connected()
        while True:
            await self._take(await _read(reader))

    async def _take(self, message: FromControl) -> None:
        if isinstance(message, State):
            self._user.desired(message.desired)
        elif isinstance(message, Order):
            self._user.order(message)
        elif isinstance(message, Warmth):
            self._user.warmth(message)
        elif isinstance(message, Ack):
            await self._user.acknowledged(message.boot_id, message.sequence)
        else:
            raise LinkError("a second welcome on one connection")

    def _drop(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            self._user.disconnected()


async def _read(reader: asyncio.StreamReader) -> FromControl:
    (length,) = length_field.unpack(await reader.readexactly(4))
    if length > MAX_MESSAGE_BYTES:
        raise LinkError(f"message of {length} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    return decode_from_control(await reader.readexactly(length))
