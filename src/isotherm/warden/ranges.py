"""User ids: a range of 65,536 per revision or job, and in it one per instance. None is handed out while it lives."""

from __future__ import annotations

import zlib

__all__ = ["RANGE_SIZE", "NoIdsLeft", "RangeAllocator", "UidAllocator"]

RANGE_SIZE = 1 << 16
_FIRST = 0x7000_0000  # above what systemd and container engines hand out
_RANGES = (0x7FFF_0000 - _FIRST) // RANGE_SIZE
_FIRST_UID, _LAST_UID = 1001, 60_000  # within a range; 0 to 1000 have a meaning there


class NoIdsLeft(RuntimeError):
    """All are in use."""


class RangeAllocator:
    """Ranges of host ids. `owner` spreads several platforms on one machine over them."""

    def __init__(self, owner: str) -> None:
        self._next = zlib.crc32(owner.encode()) % _RANGES
        self._live: set[int] = set()

    def take(self) -> int:
        """The first id of a free range, the longest unused first. Raises `NoIdsLeft`."""
        if len(self._live) >= _RANGES:
            raise NoIdsLeft(f"all {_RANGES} ranges of user ids are in use")
        while self._next in self._live:
            self._next = (self._next + 1) % _RANGES
        index = self._next
        self._live.add(index)
        self._next = (index + 1) % _RANGES
        return _FIRST + index * RANGE_SIZE

    def give_back(self, base: int) -> None:
        self._live.discard((base - _FIRST) // RANGE_SIZE)


class UidAllocator:
    """Ids of instances within one range."""

    def __init__(self, first: int = _FIRST_UID, last: int = _LAST_UID) -> None:
        self._first, self._last = first, last
        self._next = first
        self._live: set[int] = set()

    def take(self) -> int:
        """Raises `NoIdsLeft`."""
        if len(self._live) > self._last - self._first:
            raise NoIdsLeft("all user ids of the revision are in use")
        while self._next in self._live:
            self._advance()
        uid = self._next
        self._live.add(uid)
        self._advance()
        return uid

    def give_back(self, uid: int) -> None:
        self._live.discard(uid)

    def _advance(self) -> None:
        self._next = self._first if self._next >= self._last else self._next + 1
