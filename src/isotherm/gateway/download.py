"""Answers that come in pieces, on their way to a client: as they come, or gathered for an Invoke."""

from abc import ABC, abstractmethod
from typing import Protocol

from isotherm.base.errors import InvalidResponse, IsothermError
from isotherm.pool.call import Answer, Call, StreamSink

__all__ = ["Client", "Download", "Gathered", "Paced", "Resumable"]


class Client(Protocol):
    """The connection, as far as a streamed answer needs it."""

    blocked_since_s: float  # 0.0: the client reads what it is sent

    def send(self, *parts: bytes) -> None:
        """Write a part of the answer."""

    def finish(self) -> None:
        """The answer is complete."""

    def cut(self, *, at_once: bool) -> None:
        """End the connection, so that the client sees that the answer is not complete. `at_once`: by a reset."""

    def failed(self, call: Call, error: IsothermError, now_s: float) -> int:
        """Answer with an error: nothing is written yet."""

    def reply_gathered(self, call: Call, body: bytes, now_s: float) -> int:
        """Answer an Invoke with what came in pieces."""


class Resumable(Protocol):
    """What goes to a client as fast as it reads."""

    def resume(self) -> None:
        """The client reads again."""


class Pieces(ABC):
    """What all of them have."""

    def answered(self, _call: Call, _flags: int, _head: bytes, _body: bytes, _now_s: float) -> int:
        raise InvalidResponse("the instance answered anew in the middle of an answer")

    def begun(self, call: Call, answer: Answer, flags: int, head: bytes, now_s: float) -> StreamSink | None:
        raise InvalidResponse("the instance began an answer anew")

    @abstractmethod
    def piece(self, body: bytes) -> None:
        """See `StreamSink`."""


class Paced(Pieces):
    """One that goes out as it comes, as fast as the client reads."""

    answer: Answer

    def __init__(self, client: Client) -> None:
        self.client = client
        self._unread_bytes = 0

    def went(self, size: int) -> None:
        """So much was written: the instance may send as much again, at once or when the client has read it."""
        if self.client.blocked_since_s:
            self._unread_bytes += size
        else:
            self.answer.taken(size)

    def resume(self) -> None:
        """The client reads again."""
        if self._unread_bytes:
            size, self._unread_bytes = self._unread_bytes, 0
            self.answer.taken(size)


class Download(Paced):
    """To a function URL's client. `length`: what the head promised; None: the body goes in chunks, or (not `chunked`)
    up to the connection's end."""

    def __init__(self, client: Client, answer: Answer, status: int, length: int | None, *, chunked: bool) -> None:
        super().__init__(client)
        self.answer = answer
        self._status = status
        self._length = length
        self._chunked = chunked

    def piece(self, body: bytes) -> None:
        if self._length is not None and self.answer.total_bytes > self._length:
            raise InvalidResponse(f"the function's answer is longer than its content-length, {self._length} bytes")
        if self._chunked:
            self.client.send(b"%x\r\n" % len(body), body, b"\r\n")
        else:
            self.client.send(body)
        self.went(len(body))

    def ended(self, _call: Call, _now_s: float) -> int:
        if self._length is not None and self.answer.total_bytes < self._length:
            raise InvalidResponse(
                f"the function's answer has {self.answer.total_bytes} bytes; its content-length says {self._length}"
            )
        if self._chunked:
            self.client.send(b"0\r\n\r\n")
        self.client.finish()
        return self._status

    def failed(self, _call: Call, _error: IsothermError, _now_s: float) -> int:
        """An end without the last chunk, or short of the length, is an error to every client. Where nothing but the
        end of the connection says that a body is complete, it has to be a reset."""
        self.client.cut(at_once=not self._chunked and self._length is None)
        return self._status


class Gathered(Pieces):
    """For a plain Invoke, which answers with the whole."""

    def __init__(self, client: Client, answer: Answer, limit_bytes: int) -> None:
        self._client = client
        self._answer = answer
        self._limit_bytes = limit_bytes
        self._parts: list[bytes] = []

    def piece(self, body: bytes) -> None:
        if self._answer.total_bytes > self._limit_bytes:
            raise InvalidResponse(
                f"the function's answer is over the limit of {self._limit_bytes} bytes for one that is not streamed; "
                f"use its URL or InvokeWithResponseStream",
                limit_bytes=self._limit_bytes,
            )
        self._parts.append(body)
        self._answer.taken(len(body))

    def ended(self, call: Call, now_s: float) -> int:
        return self._client.reply_gathered(call, b"".join(self._parts), now_s)

    def failed(self, call: Call, error: IsothermError, now_s: float) -> int:
        return self._client.failed(call, error, now_s)
