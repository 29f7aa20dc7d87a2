"""The latest value of each key, for readers on other threads: what a controller last saw."""

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Latest"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Latest(Generic[K, T]):
    """Bounded: the value that was put longest ago makes room. Put on one thread, read on any."""

    def __init__(self, *, limit: int = 1000) -> None:
        self._values: dict[K, T] = {}
        self._limit = limit

    def put(self, key: K, value: T) -> None:
        self._values.pop(key, None)
        while len(self._values) >= self._limit:
            del self._values[next(iter(self._values))]
        self._values[key] = value

    def get(self, key: K) -> T | None:
        return self._values.get(key)

    def drop(self, key: K) -> None:
        self._values.pop(key, None)
