"""Signed bodies on their way: passed on as they come and held against what was signed, or collected first."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable

from isotherm.base.errors import IsothermError, SignatureRefused, TooLarge
from isotherm.gateway.connection import ClientConnection
from isotherm.gateway.request import BodyStream, Request
from isotherm.gateway.signed import SignedHead

__all__ = ["CheckedBody", "CollectedBody"]


class SignedBody(ABC):
    """A request that is refused before its turn is answered in its turn, and nothing more is read."""

    digest: str | None = None

    def __init__(self, connection: ClientConnection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.in_turn = False
        self.refused: IsothermError | None = None

    def begin(self) -> None:
        self.in_turn = True
        if self.refused is not None:
            self.connection.reply_error(self.refused)
        else:
            self.go_on()

    def cut(self, error: IsothermError) -> None:
        self.connection.closing = True
        self.request.keep_alive = False
        if self.in_turn:
            self.break_off(error)
        elif self.refused is None:
            self.refused = error

    @abstractmethod
    def go_on(self) -> None:
        """It is this request's turn."""

    @abstractmethod
    def break_off(self, error: IsothermError) -> None:
        """The rest will not come, or may not count. In turn."""


class CheckedBody(SignedBody):
    """Around a stream that counts a body as complete at its `end` alone, which comes once the body has passed."""

    def __init__(self, inner: BodyStream, connection: ClientConnection, request: Request, signed: SignedHead) -> None:
        super().__init__(connection, request)
        self._inner = inner
        self._check = signed.check()

    def go_on(self) -> None:
        self._inner.begin()

    def break_off(self, error: IsothermError) -> None:
        self._inner.cut(error)

    def feed(self, data: bytes) -> None:
        if self.refused is not None:
            return
        try:
            data = self._check.feed(data)
        except SignatureRefused as error:
            self.connection.reject(error)
            return
        if data:
            self._inner.feed(data)

    def end(self) -> None:
        try:
            self._check.end()
        except SignatureRefused as error:
            self.cut(error)
        else:
            if self.refused is None:
                self._inner.end()


class CollectedBody(SignedBody):
    """For what needs the whole body before it can be checked. One that is not in turn is not read.

    `use` gets its parts, in turn; `digest` is then that of the whole: it was taken piece by piece, since of a large
    body it takes long enough to hold up all others. What `use` raises is the answer.
    """

    def __init__(
        self,
        connection: ClientConnection,
        request: Request,
        limit_bytes: int,
        use: Callable[[list[bytes]], None],
    ) -> None:
        super().__init__(connection, request)
        self._limit_bytes = limit_bytes
        self._use = use
        self._parts: list[bytes] = []
        self._sum = hashlib.sha256()
        self._size = 0
        self._whole = False
        self._check(request.length)

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        try:
            self._check(self._size)
        except TooLarge as error:
            self.connection.reject(error)
            return
        self._parts.append(data)
        self._sum.update(data)
        self.connection.count(len(data))
        if not self.in_turn:
            self.connection.hold(True)

    def end(self) -> None:
        self._whole = True
        if self.in_turn:
            self.go_on()

    def go_on(self) -> None:
        self.connection.hold(False)
        if not self._whole:
            return
        self.digest = self._sum.hexdigest()
        parts, self._parts = self._parts, []
        try:
            self._use(parts)
        except IsothermError as error:
            self.connection.reply_error(error)

    def break_off(self, error: IsothermError) -> None:
        self._parts.clear()
        self.connection.reply_error(error)

    def _check(self, size: int) -> None:
        if size > self._limit_bytes:
            raise TooLarge(
                f"the body has {size} bytes or more; the limit is {self._limit_bytes}", limit_bytes=self._limit_bytes
            )
