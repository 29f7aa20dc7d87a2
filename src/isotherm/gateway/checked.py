"""Signed bodies on their way: passed on as they come and held against what was signed, or collected first."""

from isotherm.base.errors import IsothermError, SignatureRefused, TooLarge
from isotherm.gateway.connection import ClientConnection
from isotherm.gateway.proxy import Exchange
from isotherm.gateway.request import BodyStream
from isotherm.gateway.signed import SignedHead

__all__ = ["CheckedBody", "CollectedBody"]


class CheckedBody:
    """Around a stream that counts a body as complete at its `end` alone, which comes once the body has passed."""

    def __init__(self, inner: BodyStream, connection: ClientConnection, signed: SignedHead) -> None:
        self._inner = inner
        self._connection = connection
        self._check = signed.check()

    def begin(self) -> None:
        self._inner.begin()

    def feed(self, data: bytes) -> None:
        try:
            data = self._check.feed(data)
        except SignatureRefused as error:
            self._connection.reject(error)
            return
        if data:
            self._inner.feed(data)

    def end(self) -> None:
        try:
            self._check.end()
        except SignatureRefused as error:
            self._connection.closing = True
            self._inner.cut(error)
            return
        self._inner.end()

    def cut(self, error: IsothermError) -> None:
        self._inner.cut(error)


class CollectedBody:
    """For control, where the signature says nothing of the body before all of it is there. One that is not in turn is
    not read."""

    def __init__(self, exchange: Exchange, connection: ClientConnection, signed: SignedHead, limit_bytes: int) -> None:
        self._exchange = exchange
        self._connection = connection
        self._signed = signed
        self._limit_bytes = limit_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._in_turn = self._whole = False

    def begin(self) -> None:
        self._in_turn = True
        self._connection.hold(False)
        self._go_on()

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit_bytes:
            self._connection.reject(
                TooLarge(f"the body is over the limit of {self._limit_bytes} bytes", limit_bytes=self._limit_bytes)
            )
            return
        self._parts.append(data)
        self._connection.count(len(data))
        if not self._in_turn:
            self._connection.hold(True)

    def end(self) -> None:
        self._whole = True
        self._go_on()

    def cut(self, error: IsothermError) -> None:
        self._parts.clear()
        self._exchange.cut(error)

    def _go_on(self) -> None:
        if not (self._whole and self._in_turn):
            return
        body = b"".join(self._parts)
        self._parts.clear()
        try:
            body = self._signed.take(body)
        except SignatureRefused as error:
            self._exchange.cut(error)
            return
        self._exchange.begin()
        self._exchange.feed(body)
        self._exchange.end()
