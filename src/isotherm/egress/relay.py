"""One connection out: bytes between a sandbox and where it connected to, until both have said all, or nobody speaks."""

import asyncio
from collections.abc import Callable
from typing import cast

from isotherm.egress.model import Tally
from isotherm.egress.sniff import MAX_FIRST_BYTES, sniff

__all__ = ["Relay"]

HIGH_WATER_BYTES = 256 * 1024  # written and not yet taken: then the other side is not read


class Relay:
    """Two ends and what moved between them. `refuses(names)` says why the names that the client gives first may not
    be asked for; None: they are not looked at. `on_closed` is called once."""

    def __init__(
        self,
        tally: Tally,
        now: Callable[[], float],
        refuses: Callable[[tuple[str, ...]], str | None] | None,
        on_closed: Callable[["Relay"], None],
    ) -> None:
        self.client = _End(self, self._from_client)
        self.server = _End(self, self._from_server)
        self.client.other, self.server.other = self.server, self.client
        self.moved_s = now()
        self.tally = tally
        self._now = now
        self._refuses = refuses
        self._first = b""
        self._on_closed = on_closed
        self.closed = False

    @property
    def sniffing(self) -> bool:
        """Whether nothing was passed on to the server so far because it is not clear what is asked for."""
        return self._refuses is not None and bool(self._first)

    def close(self) -> None:
        """At once, for both; they see a reset. Harmless when closed."""
        if self.closed:
            return
        self.closed = True
        for end in (self.client, self.server):
            if end.transport is not None:
                end.transport.abort()
        self._on_closed(self)

    def _from_client(self, data: bytes) -> None:
        self.moved_s = self._now()
        if self._refuses is not None:
            self._first += data
            data = self._look()
            if not data:
                return
        self.tally.sent_bytes += len(data)
        self.server.write(data)

    def _from_server(self, data: bytes) -> None:
        self.moved_s = self._now()
        self.tally.received_bytes += len(data)
        self.client.write(data)

    def _look(self) -> bytes:
        """What may be passed on of what the client said first; empty: nothing yet, or nothing ever."""
        assert self._refuses is not None
        try:
            seen = sniff(self._first)
        except ValueError as exc:
            return self._refuse(f"egress was refused: a client sent {exc}")
        if not seen.complete:
            if len(self._first) > MAX_FIRST_BYTES:
                return self._refuse("egress was refused: a client's first words have no end")
            return b""
        why = self._refuses(seen.names)
        if why is not None:
            return self._refuse(why)
        first, self._first, self._refuses = self._first, b"", None
        return first

    def _refuse(self, why: str) -> bytes:
        self.tally.refuse(why)
        self.close()
        return b""

    def ended(self) -> None:
        """One side has said all. What a client said last before a decision goes the way of all that is undecided."""
        if self.client.said_all and self._first:
            self._refuse("egress was refused: a client ended before it said what it asks for")
        elif self.client.said_all and self.server.said_all:
            for end in (self.client, self.server):
                if end.transport is not None:
                    end.transport.close()

    def lost(self, exc: Exception | None) -> None:
        """One side is gone. What was written to the other is still delivered, unless this one was cut off."""
        if self.closed:
            return
        self.closed = True
        for end in (self.client, self.server):
            if end.transport is not None and exc is None:
                end.transport.close()
            elif end.transport is not None:
                end.transport.abort()
        self._on_closed(self)


class _End(asyncio.Protocol):
    """One side of a relay. What comes for it before it is connected waits."""

    def __init__(self, relay: Relay, received: Callable[[bytes], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End = self
        self.said_all = False
        self._relay = relay
        self._early = b""
        self._received = received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = self.transport = cast("asyncio.Transport", transport)  # uvloop's derive from nothing
        transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        if self._relay.closed:
            transport.abort()
            return
        if self._early:
            transport.write(self._early)
            self._early = b""
        if self.other.said_all and not self._relay.sniffing:
            transport.write_eof()

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)
        else:
            self._early += data

    def eof_received(self) -> bool:
        """True: the other direction stays open."""
        self.said_all = True
        if self.other.transport is not None and not self._relay.sniffing:
            self.other.transport.write_eof()
        self._relay.ended()
        return True

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._relay.lost(exc)
