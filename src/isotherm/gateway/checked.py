"""Signed bodies on their way: passed on as they come and held against what was signed, or collected first."""

from isotherm.base.errors import IsothermError, SignatureRefused, TooLarge
from isotherm.gateway.connection import ClientConnection
from isotherm.gateway.proxy import Exchange
from isotherm.gateway.request import BodyStream, Request
from isotherm.gateway.signed import SignedHead

__all__ = ["CheckedBody", "CollectedBody"]


class SignedBody:
    """A request that is refused before its turn is answered in its turn, and nothing more is read."""

    def __init__(self, inner: BodyStream, connection: ClientConnection, request: Request) -> None:
        self.inner = inner
        self.connection = connection
        self.in_turn = False
        self._request = request
        self._error: IsothermError | None = None

    def begin(self) -> None:
        self.in_turn = True
        if self._error is not None:
            self.connection.reply_error(self._error)
        else:
            self.go_on()

    def cut(self, error: IsothermError) -> None:
        self.connection.closing = True
        if self.in_turn:
            self.inner.cut(error)
        elif self._error is None:
            self._error = error
            self._request.keep_alive = False

    @property
    def refused(self) -> bool:
        return self._error is not None

    def go_on(self) -> None:
        """It is this request's turn."""


class CheckedBody(SignedBody):
    """Around a stream that counts a body as complete at its `end` alone, which comes once the body has passed."""

    def __init__(self, inner: BodyStream, connection: ClientConnection, request: Request, signed: SignedHead) -> None:
        super().__init__(inner, connection, request)
        self._check = signed.check()

    def go_on(self) -> None:
        self.inner.begin()

    def feed(self, data: bytes) -> None:
        if self.refused:
            return
        try:
            data = self._check.feed(data)
        except SignatureRefused as error:
            self.connection.reject(error)
            return
        if data:
            self.inner.feed(data)

    def end(self) -> None:
        try:
            self._check.end()
        except SignatureRefused as error:
            self.cut(error)
        else:
            if not self.refused:
                self.inner.end()


class CollectedBody(SignedBody):
    """For control, where the signature says nothing of the body before all of it is there. One that is not in turn is
    not read."""

    def __init__(self, exchange: Exchange, connection: ClientConnection, request: Request, signed: SignedHead) -> None:
        super().__init__(exchange, connection, request)
        self._limit_bytes = exchange.max_body_bytes
        self._signed = signed
        self._parts: list[bytes] = []
        self._size = 0
        self._whole = False

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit_bytes:
            self.connection.reject(
                TooLarge(f"the body is over the limit of {self._limit_bytes} bytes", limit_bytes=self._limit_bytes)
            )
            return
        self._parts.append(data)
        self.connection.count(len(data))
        if not self.in_turn:
            self.connection.hold(True)

    def end(self) -> None:
        self._whole = True
        self.go_on()

    def cut(self, error: IsothermError) -> None:
        self._parts.clear()
        super().cut(error)

    def go_on(self) -> None:
        if not self.in_turn:
            return
        self.connection.hold(False)
        if not self._whole:
            return
        body = b"".join(self._parts)
        self._parts.clear()
        try:
            body = self._signed.take(body)
        except SignatureRefused as error:
            self.inner.cut(error)
            return
        self.inner.begin()
        self.inner.feed(body)
        self.inner.end()
