"""When keys were last used: kept in memory, to the minute, until somebody writes it down."""

import threading

__all__ = ["KeyUses"]

_minute_ms = 60_000


class KeyUses:
    """Thread-safe. Holds no more than there are keys; a key that was used in this minute costs a look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[str, int] = {}  # of the last minute
        self._fresh: dict[str, int] = {}

    def note(self, key_id: str, at_ms: int) -> None:
        minute_ms = at_ms - at_ms % _minute_ms
        if self._told.get(key_id, -1) >= minute_ms:
            return
        with self._lock:
            self._told[key_id] = minute_ms
            self._fresh[key_id] = max(minute_ms, self._fresh.get(key_id, 0))

    def take(self) -> dict[str, int]:
        """What was not taken yet."""
        with self._lock:
            taken, self._fresh = self._fresh, {}
            if len(self._told) > 100_000:
                self._told = dict(taken)
        return taken
