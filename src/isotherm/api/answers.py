"""Shaping answers: JSON of typed values, ETags and If-Match, pages, NDJSON streams."""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Header, Path, Query
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from isotherm.base.ids import FUNCTION_PATTERN, NAME_PATTERN
from isotherm.bus.fanout import Subscription
from isotherm.db.pages import MAX_PAGE, Page

__all__ = [
    "NDJSON_TYPE",
    "Cursor",
    "IfMatch",
    "Limit",
    "Name",
    "Namespace",
    "Number",
    "content_etag",
    "json_answer",
    "ndjson_answer",
    "no_content",
    "page_answer",
]

T = TypeVar("T")
NDJSON_TYPE = "application/x-ndjson"

Namespace = Annotated[str, Path(alias="ns", pattern=NAME_PATTERN, max_length=63, description="Name of a namespace")]
Name = Annotated[str, Path(pattern=FUNCTION_PATTERN, max_length=64, description="Name of a function")]
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="Number of a revision")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items at most")]
Cursor = Annotated[
    str | None, Query(min_length=1, max_length=500, description="`next_cursor` of the page before this one")
]
IfMatch = Annotated[
    str | None, Header(max_length=500, description="Only where the ETag is still this one; otherwise 412")
]


def json_answer(value: Any, *, status: int = 200, etag: str | None = None, location: str | None = None) -> Response:
    headers = {}
    if etag is not None:
        headers["ETag"] = f'"{etag}"'
    if location is not None:
        headers["Location"] = location
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def page_answer(page: Page[T], shape: Callable[[T], Any] | None = None) -> Response:
    items: Sequence[Any] = page.items if shape is None else [shape(item) for item in page.items]
    return json_answer({"items": items, "next_cursor": page.next_cursor})


def no_content() -> Response:
    return Response(status_code=204)


def ndjson_answer(lines: AsyncIterator[list[Any]], subscription: Subscription[Any]) -> Response:
    """A stream of JSON lines; each list is sent at once. Closes the subscription however the stream ends."""

    async def encoded() -> AsyncIterator[bytes]:
        async for batch in lines:
            yield b"".join(msgspec.json.encode(line) + b"\n" for line in batch)

    return _Stream(encoded(), subscription)


class _Stream(StreamingResponse):
    def __init__(self, content: AsyncIterator[bytes], subscription: Subscription[Any]) -> None:
        super().__init__(content, media_type=NDJSON_TYPE, headers={"X-Accel-Buffering": "no"})
        self._subscription = subscription

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._subscription.close()


def content_etag(value: Any) -> str:
    """The ETag of what never changes but by being replaced: of its content."""
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:20]
