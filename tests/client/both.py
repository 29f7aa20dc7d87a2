"""One suite for both clients: the asynchronous one behind a face that waits for what it returns."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from isotherm.client import AsyncCall, AsyncClient, AsyncStream

__all__ = ["KINDS", "Waited"]

KINDS = ("blocking", "asynchronous")


class Waited:
    """Runs the coroutines that an asynchronous client makes to their end, on a loop of its own."""

    def __init__(self, make: Callable[[], AsyncClient]) -> None:
        self.runner = asyncio.Runner()

        async def made() -> AsyncClient:
            return make()

        self.client = self.runner.run(made())

    def __getattr__(self, name: str) -> Any:
        return self.face(getattr(self.client, name))

    def close(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.close()

    def face(self, value: Any) -> Any:
        """What a blocking client would have in its place."""
        if inspect.iscoroutine(value):
            return self.face(self.runner.run(value))
        if isinstance(value, AsyncStream):
            return _Items(self, value)
        if isinstance(value, AsyncCall) or type(value).__name__.startswith("Async"):
            return _Noun(self, value)
        if callable(value):
            return lambda *args, **kwargs: self.face(value(*args, **kwargs))
        return value


class _Noun:
    def __init__(self, waited: Waited, noun: Any) -> None:
        self._waited = waited
        self._noun = noun

    def __getattr__(self, name: str) -> Any:
        return self._waited.face(getattr(self._noun, name))

    def __repr__(self) -> str:
        return repr(self._noun)


class _Items:
    def __init__(self, waited: Waited, stream: AsyncStream[Any]) -> None:
        self._waited = waited
        self._stream = stream

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        async def following() -> Any:
            return await anext(self._stream)

        try:
            return self._waited.runner.run(following())
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> "_Items":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._waited.runner.run(self._stream.aclose())
