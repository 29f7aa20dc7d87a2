"""Answers in pieces: what counts as one, and the frames that it becomes. `invoke` and `tasks` do the waiting."""

from __future__ import annotations

from isotherm_runtime import values
from isotherm_runtime.frames import Flag, Kind, pack_frame
from isotherm_runtime.responses import BadResponse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

__all__ = ["Outgoing", "Pieces", "Stepped", "find_pieces"]

BINARY, TEXT, LINES = "application/octet-stream", "text/plain; charset=utf-8", "application/x-ndjson"


class Pieces(Exception):
    """No error: how `Invoker.finish` hands over an answer that is not whole. `source` is the handler's generator or
    iterator, `head` the object that it came in as its body."""

    def __init__(self, source: object, head: dict[str, object] | None) -> None:
        super().__init__()
        self.source = source
        self.head = head
        self.is_async = hasattr(source, "__anext__")


def find_pieces(result: object) -> Pieces | None:
    """A generator, async generator or other iterator, by itself or as the body of an answer; None for all else."""
    head, source = None, result
    if isinstance(result, dict) and "statusCode" in result:
        head, source = result, result.get("body")
    if hasattr(source, "__anext__") or hasattr(source, "__next__"):
        return Pieces(source, head)
    return None


class Outgoing:
    """One answer on its way out. `head` packs a status, headers and cookies; None for an Invoke, which has none."""

    __slots__ = ("_head", "begun", "stream_id")

    def __init__(self, stream_id: int, head: Callable[[dict[str, object]], bytes] | None) -> None:
        self.stream_id = stream_id
        self._head = head
        self.begun = False

    def begin(self, head: dict[str, object], content_type: str = BINARY) -> bytes:
        """The RESPONSE frame. Raises `BadResponse`."""
        frame = pack_frame(Kind.RESPONSE, self.stream_id, flags=Flag.MORE)
        if self._head is not None:
            raw = self._head(_typed(head, content_type))
            frame = pack_frame(Kind.RESPONSE, self.stream_id, raw, flags=Flag.MORE | Flag.HTTP)
        self.begun = True
        return frame

    def begin_with(self, item: object) -> tuple[bytes, bytes]:
        """`(RESPONSE frame, data)` by the first item: an object with a `statusCode` is the head, and no data."""
        if isinstance(item, dict) and "statusCode" in item:
            return self.begin(item), b""
        data, content_type = _data(item)
        return self.begin({"statusCode": 200}, content_type), data

    def data(self, item: object) -> bytes:
        """The bytes of any later item. Raises `BadResponse`."""
        return _data(item)[0]

    def end(self) -> bytes:
        """The END frame, behind a RESPONSE where nothing has been sent."""
        begin = b"" if self.begun else self.begin({"statusCode": 200})
        return begin + pack_frame(Kind.END, self.stream_id)


class Stepped:
    """An async generator that a sync handler returned, as an iterator: on an event loop of this call's own."""

    def __init__(self, source: AsyncGenerator[object, None]) -> None:
        import asyncio  # it takes 40 ms; who makes async generators has paid for it

        self._source = source
        self._loop = asyncio.new_event_loop()

    def __iter__(self) -> Iterator[object]:
        return self

    def __next__(self) -> object:
        try:
            return self._loop.run_until_complete(_next(self._source))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        try:
            if hasattr(self._source, "aclose"):
                self._loop.run_until_complete(self._source.aclose())
        finally:
            self._loop.close()


async def _next(source: AsyncGenerator[object, None]) -> object:
    return await source.__anext__()


def _typed(head: dict[str, object], content_type: str) -> dict[str, object]:
    """The head with a content type: not JSON, as a whole answer would have, but what its pieces are."""
    headers = head.get("headers")
    if headers is not None and not isinstance(headers, dict):
        return head  # refused where it is packed
    if any(isinstance(name, str) and name.lower() == "content-type" for name in headers or {}):
        return head
    return {**head, "headers": {**(headers or {}), "content-type": content_type}}


def _data(item: object) -> tuple[bytes, str]:
    """`(bytes, content type)` of an item: bytes as they are, text as UTF-8, any other as a line of JSON."""
    if isinstance(item, bytes):
        return item, BINARY
    if isinstance(item, str):
        return item.encode("utf-8", "surrogatepass"), TEXT
    if isinstance(item, (bytearray, memoryview)):
        return bytes(item), BINARY
    try:
        return values.encode(item) + b"\n", LINES
    except values.NotJson as exc:
        raise BadResponse(f"what the handler yielded is neither bytes nor text nor JSON: {exc}") from None
