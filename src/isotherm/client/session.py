"""Requests to one platform: sent again where that is safe; refusals as errors, answers as values, lists by pages."""

import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, TypeVar

import msgspec

from isotherm.base.errors import (
    Forbidden,
    HeadersTooLarge,
    Invalid,
    IsothermError,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    TimedOut,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    error_from_problem,
)
from isotherm.client.model import Page
from isotherm.client.policy import Attempts
from isotherm.client.port import Opened, Wire
from isotherm.client.request import JSON_TYPE, UNREADABLE, Request, encoded, given, segment

__all__ = ["READ_S", "RETRY_S", "Reply", "Session"]

READ_S = 30.0
RETRY_S = 10.0  # control restarts within two seconds
MAX_ANSWER_BYTES = 1 << 30
MAX_REFUSAL_BYTES = 4 << 20
MAX_LINE_BYTES = 16 << 20
PAGE = 100
T = TypeVar("T")
_foreign_kinds = (
    Unauthenticated, Forbidden, NotFound, MethodNotAllowed, RequestTimeout, TooLarge, TooManyRequests, HeadersTooLarge,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Session:
    """A wire with what holds for each request: the namespace, limits of time. `timeout_s` None: each its own."""

    wire: Wire
    namespace: str
    timeout_s: float | None = None
    retry_s: float = RETRY_S

    def path(self, path: str) -> str:
        """Below the namespace."""
        return f"/api/v1/namespaces/{segment(self.namespace)}/{path}"

    def limit_s(self, asked: float | None, default: float) -> float:
        """The time limit of a request: what the call says, else the client, else its own."""
        limit = next((each for each in (asked, self.timeout_s) if each is not None), default)
        if limit <= 0:
            raise Invalid(f"timeout_s must be above 0, not {limit:g}")
        return limit

    async def fetch(self, path: str, *, timeout_s: float | None = None, **params: Any) -> Reply:
        limit_s = self.limit_s(timeout_s, READ_S)
        return await self.send(
            Request(method="GET", path=path, params=given(**params), timeout_s=limit_s, repeatable=True)
        )

    async def get(self, path: str, kind: type[T], *, timeout_s: float | None = None, **params: Any) -> T:
        return self.decode((await self.fetch(path, timeout_s=timeout_s, **params)).content, kind)

    async def post(self, path: str, kind: type[T], body: Any = None, **params: Any) -> T:
        return self.decode((await self.send(self.request("POST", path, body, params))).content, kind)

    async def put(self, path: str, kind: type[T], body: Any, *, etag: str | None = None, **params: Any) -> T:
        """Not repeated where it is bound to an ETag: the second one would be refused for what the first one did."""
        request = replace(self.request("PUT", path, body, params), repeatable=etag is None)
        if etag is not None:
            request = replace(request, headers={**request.headers, "If-Match": etag})
        return self.decode((await self.send(request)).content, kind)

    async def delete(self, path: str, *, etag: str | None = None, **params: Any) -> None:
        """Raises `NotFound`, but not where an attempt before, of which no answer came, may have deleted it."""
        headers = {} if etag is None else {"If-Match": etag}
        request = Request(
            method="DELETE", path=path, params=given(**params), headers=headers,
            timeout_s=self.limit_s(None, READ_S), repeatable=etag is None,
        )  # fmt: skip
        attempts = Attempts(request, self.retry_s)
        try:
            await self._repeated(attempts, lambda: self._whole(request))
        except NotFound:
            if not attempts.maybe_done:
                raise

    async def send(self, request: Request) -> Reply:
        """A whole answer that is no refusal. Raises what the platform refused it with, `Unavailable`, `TimedOut`."""
        return await self._repeated(Attempts(request, self.retry_s), lambda: self._whole(request))

    async def open(self, request: Request) -> Opened:
        """An answer that is no refusal, to be read and closed. Raises as `send` does."""
        return await self._repeated(Attempts(request, self.retry_s), lambda: self._accepted(request))

    async def pages(
        self, path: str, kind: type[T], limit: int | None, *, at_once: int = PAGE, **params: Any
    ) -> AsyncGenerator[T, None]:
        """The items of a list, at most `limit`; a page of `at_once` is asked for when the one before is used up."""
        left, cursor = limit, None
        while left is None or left > 0:
            size = at_once if left is None else min(left, at_once)
            asked = self.get(path, Page[kind], limit=size, cursor=cursor, **params)  # type: ignore[valid-type]  # a type made at run time
            page = await asked
            for item in page.items:
                yield item
            left = None if left is None else left - len(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def lines(self, path: str, kind: type[T], timeout_s: float | None, **params: Any) -> AsyncGenerator[T, None]:
        """JSON lines as they come. `timeout_s` bounds the wait for each; None: no bound. Blank lines are skipped."""
        request = Request(method="GET", path=path, params=given(**params), timeout_s=timeout_s, repeatable=True)
        async with aclosing(self.body(request)) as parts:
            rest = b""
            async for part in parts:
                *lines, rest = (rest + part).split(b"\n")
                if len(rest) > MAX_LINE_BYTES:
                    raise TooLarge(f"{self.wire.url}: a line of {path} has more than {MAX_LINE_BYTES} bytes")
                for line in lines:
                    if line.strip():
                        yield self.decode(line, kind)
            if rest.strip():
                yield self.decode(rest, kind)

    async def body(self, request: Request) -> AsyncGenerator[bytes, None]:
        """The body of an answer that is no refusal, as it comes."""
        opened = await self.open(request)
        try:
            async with aclosing(opened.parts()) as parts:
                async for part in parts:
                    yield part
        finally:
            await opened.close()

    def decode(self, content: bytes, kind: type[T]) -> T:
        """Raises `IsothermError` where it is not what this client understands."""
        try:
            return msgspec.json.decode(content, type=kind)
        except UNREADABLE as exc:
            raise IsothermError(
                f"{self.wire.url} gave an answer that this client does not understand ({exc}); "
                f"is it an Isotherm of version {version('isotherm')}?"
            ) from exc

    def request(self, method: str, path: str, body: Any = None, params: Mapping[str, Any] | None = None) -> Request:
        """One that is not repeated, with a JSON body."""
        headers = {} if body is None else {"Content-Type": JSON_TYPE}
        content = b"" if body is None else encoded(body)
        limit_s = self.limit_s(None, READ_S)
        return Request(
            method=method,
            path=path,
            params=given(**(params or {})),
            headers=headers,
            content=content,
            timeout_s=limit_s,
        )

    async def _repeated(self, attempts: Attempts, once: Callable[[], Awaitable[T]]) -> T:
        """A platform that this client never reached is not waited for: it may not be there at all."""
        began_s = time.monotonic()
        while True:
            try:
                return await once()
            except IsothermError as exc:
                pause_s = attempts.pause_s(exc, time.monotonic() - began_s, random.random())  # noqa: S311 (no secret)
                if pause_s is None or not self.wire.reached:
                    raise
            await self.wire.sleep(pause_s)

    async def _whole(self, request: Request) -> Reply:
        began_s = time.monotonic()
        opened = await self._accepted(request)
        try:
            content = bytearray()
            async with aclosing(opened.parts()) as parts:
                async for part in parts:
                    content += part
                    if len(content) > MAX_ANSWER_BYTES:
                        raise TooLarge(f"{self.wire.url}: the answer has more than {MAX_ANSWER_BYTES} bytes")
                    if request.timeout_s is not None and time.monotonic() - began_s > request.timeout_s:
                        raise TimedOut(f"{self.wire.url} did not end its answer within {request.timeout_s:g} s")
            return Reply(opened.status, opened.headers, bytes(content))
        finally:
            await opened.close()

    async def _accepted(self, request: Request) -> Opened:
        opened = await self.wire.open(request)
        if 200 <= opened.status < 300:
            return opened
        try:
            raise await self._refusal(opened)
        finally:
            await opened.close()

    async def _refusal(self, opened: Opened) -> IsothermError:
        """The error that an answer stands for which is no success."""
        content = bytearray()
        async with aclosing(opened.parts()) as parts:
            async for part in parts:
                content += part
                if len(content) > MAX_REFUSAL_BYTES:
                    break
        error = _problem(bytes(content)) or self._foreign(opened, bytes(content))
        if error.retry_after_s is None:
            with suppress(KeyError, ValueError):
                error.retry_after_s = max(0.0, float(opened.headers["retry-after"]))
        error.request_id = error.request_id or opened.headers.get("x-amzn-requestid")
        return error

    def _foreign(self, opened: Opened, content: bytes) -> IsothermError:
        """What answers there is no Isotherm, or something stands before it."""
        url, status = self.wire.url, opened.status
        if 300 <= status < 400:
            return Invalid(f"{url} redirects to {opened.headers.get('location', 'nowhere')}; name that as the URL")
        text = content.decode("utf-8", "replace").strip()[:200]
        kind = next(
            (kind for kind in _foreign_kinds if kind.status == status), Unavailable if status >= 500 else Invalid
        )
        return kind(f"{url} answered {status}: {text}")


def _problem(content: bytes) -> IsothermError | None:
    try:
        problem = msgspec.json.decode(content)
    except UNREADABLE:
        return None
    return error_from_problem(problem) if isinstance(problem, dict) and "code" in problem else None
