"""The clock, injected wherever time is read, so that tests never sleep."""

import time
from typing import Protocol

__all__ = ["Clock", "ForwardClock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    def time_ms(self) -> int:
        """Wall clock, milliseconds since the epoch, UTC."""

    def monotonic_s(self) -> float:
        """Monotonic seconds, for durations and deadlines."""


class SystemClock:
    def time_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves when it is told to."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._start_ms = start_ms
        self._elapsed_s = 0.0

    def time_ms(self) -> int:
        return self._start_ms + round(self._elapsed_s * 1000)

    def monotonic_s(self) -> float:
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        self._elapsed_s += seconds


class ForwardClock:
    """Another clock whose wall time never runs back: not when it is set back, and not behind `not_before_ms`.

    While the other clock is behind, time goes on from the latest that was told, by its monotonic seconds.
    """

    def __init__(self, clock: Clock, not_before_ms: int = 0) -> None:
        self._clock = clock
        self._told_ms = max(clock.time_ms(), not_before_ms)
        self._told_at_s = clock.monotonic_s()

    def time_ms(self) -> int:
        now_s = self._clock.monotonic_s()
        went_on_ms = self._told_ms + int((now_s - self._told_at_s) * 1000)
        now_ms = self._clock.time_ms()
        if now_ms >= went_on_ms:
            self._told_ms, self._told_at_s = now_ms, now_s
            return now_ms
        return went_on_ms

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()
