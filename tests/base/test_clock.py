"""The injected clock: real time moves by itself, manual time when it is told to."""

import time

from isotherm.base.clock import ManualClock, SystemClock


def test_manual_time_moves_only_when_told_to() -> None:
    clock = ManualClock(start_ms=1000)
    assert (clock.time_ms(), clock.monotonic_s()) == (1000, 0.0)
    clock.advance(2.5)
    assert (clock.time_ms(), clock.monotonic_s()) == (3500, 2.5)


def test_system_time_is_the_systems() -> None:
    clock = SystemClock()
    assert abs(clock.time_ms() - time.time() * 1000) < 1000
    assert abs(clock.monotonic_s() - time.monotonic()) < 1
