"""The clock of the database that hosts share: whatever theirs say, they agree on when a call is due."""

import time
from collections.abc import Callable

from isotherm.base.clock import Clock

__all__ = ["SharedClock", "boottime_s"]

JUMP_MS = 1000.0  # the database's clock against ours: more than this is no drift


def boottime_s() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SharedClock:
    """The database's clock, which all hosts of a queue have: as it was last told, and the seconds since then."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._told: tuple[float, float] | None = None  # (ms of the database, our seconds)

    def tell(self, database_ms: float, at_s: float) -> bool:
        """Whether it went on as ours did since it was told last."""
        before, self._told = self._told, (database_ms, at_s)
        return before is None or abs(database_ms - before[0] - (at_s - before[1]) * 1000) < JUMP_MS

    def time_ms(self) -> int | None:
        """None: it was never told."""
        return None if self._told is None else int(self._told[0] + (self._now() - self._told[1]) * 1000)

    def beside(self, host: Clock) -> Clock:
        """This one where it is known, that of the host before."""
        return _Beside(self, host)


class _Beside:
    def __init__(self, shared: SharedClock, host: Clock) -> None:
        self._shared = shared
        self._host = host

    def time_ms(self) -> int:
        shared_ms = self._shared.time_ms()
        return self._host.time_ms() if shared_ms is None else shared_ms

    def monotonic_s(self) -> float:
        return self._host.monotonic_s()
