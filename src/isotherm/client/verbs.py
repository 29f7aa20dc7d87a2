"""Both kinds of client from one implementation.

A verb is written once, as a coroutine method of an asynchronous noun. Over a blocking wire no coroutine ever suspends,
so `run` drives it to its end on the spot; `blocking`, `streaming` and `handing` make methods of blocking nouns that
way, with the same parameters, types and docstring.
"""

import functools
from collections.abc import AsyncGenerator, Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

from isotherm.client.session import Session

__all__ = ["AsyncNoun", "AsyncStream", "Noun", "Stream", "blocking", "handing", "run", "streaming"]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A", bound="AsyncNoun")
T_co = TypeVar("T_co", covariant=True)


class AsyncStream(Generic[T]):
    """What comes piece by piece; iterate with `async for`.

    The next piece is read when it is asked for, so a slow reader holds the platform back. To leave before the end, use
    it with `async with`, or call `aclose`: the connection is closed, and what makes the pieces ends.
    """

    def __init__(self, items: AsyncGenerator[T, None]) -> None:
        self._items = items

    def __aiter__(self) -> "AsyncStream[T]":
        return self

    async def __anext__(self) -> T:
        return await anext(self._items)

    async def __aenter__(self) -> "AsyncStream[T]":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leave. Twice is once."""
        await self._items.aclose()


class Stream(Generic[T]):
    """What comes piece by piece; iterate with `for`.

    The next piece is read when it is asked for, so a slow reader holds the platform back. To leave before the end, use
    it with `with`, or call `close`: the connection is closed, and what makes the pieces ends.
    """

    def __init__(self, stream: AsyncStream[T]) -> None:
        self._stream = stream

    def __iter__(self) -> "Stream[T]":
        return self

    def __next__(self) -> T:
        try:
            return run(self._stream.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> "Stream[T]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave. Twice is once."""
        run(self._stream.aclose())


class AsyncNoun:
    """The verbs of one noun."""

    def __init__(self, session: Session) -> None:
        self._session = session


class Noun(Generic[A]):
    """The verbs of one noun, blocking."""

    def __init__(self, noun: A) -> None:
        self._noun = noun


class Method(Protocol[P, T_co]):
    """A function in a class body, as type checkers are to see it."""

    def __get__(self, noun: object, owner: type | None = None) -> Callable[P, T_co]: ...


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that never suspends returns, or raises."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return cast("T", ended.value)
    coroutine.close()
    raise RuntimeError("a coroutine over a blocking wire suspended")


def blocking(verb: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Method[P, T]:
    """The verb, waited for."""
    return handing(verb, lambda result: result)


def handing(verb: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], kind: Callable[[R], T]) -> Method[P, T]:
    """The verb, waited for, and its result as a blocking `kind`."""

    @functools.wraps(verb)
    def call(noun: Noun[Any], *args: P.args, **kwargs: P.kwargs) -> T:
        return kind(run(verb(noun._noun, *args, **kwargs)))

    return cast("Method[P, T]", call)


def streaming(verb: Callable[Concatenate[Any, P], AsyncStream[T]]) -> Method[P, Stream[T]]:
    """The verb, with a blocking stream."""

    @functools.wraps(verb)
    def call(noun: Noun[Any], *args: P.args, **kwargs: P.kwargs) -> Stream[T]:
        return Stream(verb(noun._noun, *args, **kwargs))

    return cast("Method[P, Stream[T]]", call)
