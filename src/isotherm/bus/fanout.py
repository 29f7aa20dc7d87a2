"""In-process fan-out by key. Every subscriber has a bound; a slow one loses the oldest items and is told how many."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from types import TracebackType
from typing import Generic, Self, TypeVar

import msgspec

from isotherm.base.errors import TooManyRequests

__all__ = ["Fanout", "Lost", "Subscription"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Lost(msgspec.Struct, frozen=True):
    """Stands where a slow subscriber lost `count` items."""

    count: int


class Subscription(Generic[T]):
    """One subscriber's bounded queue. Belongs to the event loop; leave it with `close` or a `with` block."""

    def __init__(self, limit: int, forget: "_Forget[T]") -> None:
        self._items: deque[T] = deque()
        self._limit = limit
        self._lost = 0
        self._ready = asyncio.Event()
        self._forget = forget

    def offer(self, item: T) -> None:
        if len(self._items) >= self._limit:
            self._items.popleft()
            self._lost += 1
        self._items.append(item)
        self._ready.set()

    async def get(self, timeout_s: float) -> T | Lost | None:
        """The next item, `Lost` where some were dropped before it, or None after `timeout_s` without one."""
        if not self._items and not self._lost:
            self._ready.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._ready.wait()
            except TimeoutError:
                return None
        if self._lost:
            lost, self._lost = Lost(self._lost), 0
            return lost
        return self._items.popleft()

    def take_all(self) -> list[T]:
        """All that is there."""
        items, self._items = list(self._items), deque()
        return items

    async def batches(self, timeout_s: float, limit: int = 256) -> AsyncIterator[list[T | Lost]]:
        """All that is there, at most `limit` at a time; an empty list after `timeout_s` without an item."""
        while True:
            first = await self.get(timeout_s)
            batch: list[T | Lost] = [] if first is None else [first]
            while first is not None and self._items and not self._lost and len(batch) < limit:
                batch.append(self._items.popleft())
            yield batch

    def close(self) -> None:
        self._forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Forget(Generic[T]):
    """Takes a subscription off its fan-out; may be called twice."""

    def __init__(self, subscribers: dict[Hashable, list[Subscription[T]]], key: Hashable) -> None:
        self._subscribers = subscribers
        self._key = key

    def __call__(self, subscription: Subscription[T]) -> None:
        listed = self._subscribers.get(self._key, [])
        if subscription in listed:
            listed.remove(subscription)
        if not listed:
            self._subscribers.pop(self._key, None)


class Fanout(Generic[K, T]):
    """`publish` to a key reaches all who subscribed to it. Belongs to the event loop: call it on no other thread."""

    def __init__(self, *, limit: int = 1000, max_subscribers: int = 1000) -> None:
        self._limit = limit
        self._max_subscribers = max_subscribers
        self._subscribers: dict[Hashable, list[Subscription[T]]] = {}

    def publish(self, key: K, item: T) -> None:
        for subscription in self._subscribers.get(key, ()):
            subscription.offer(item)

    def subscribe(self, key: K) -> Subscription[T]:
        """Raises `TooManyRequests` where as many subscribers as are allowed are there."""
        if len(self) >= self._max_subscribers:
            raise TooManyRequests(
                f"{self._max_subscribers} streams are open, which is the limit; close one or try again later",
                retry_after_s=5.0,
            )
        subscription: Subscription[T] = Subscription(self._limit, _Forget(self._subscribers, key))
        self._subscribers.setdefault(key, []).append(subscription)
        return subscription

    def __len__(self) -> int:
        return sum(len(listed) for listed in self._subscribers.values())
