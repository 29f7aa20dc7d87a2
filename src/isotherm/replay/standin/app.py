"""Stands in for a function of a trace: sleeps and holds memory as its percentiles say (standard library alone).

The event may bring `u` and `v` in [0, 1): where in the distributions of duration and memory this call lies. Without
them chance decides. An instance holds what its largest call so far took, as a process that does not give back.
"""

import bisect
import json
import os
import random
import time
from typing import Any

Points = list[list[float]]

PAGE = 4096
duration_ms: Points = json.loads(os.environ["STANDIN_DURATION_MS"])
memory_mb: Points = json.loads(os.environ["STANDIN_MEMORY_MB"])
held: list[bytearray] = []
held_bytes = 0


def draw(points: Points, u: float) -> float:
    """The value at the share `u` of a distribution given by (percent, value) pairs, linear between them."""
    percent = min(max(u, 0.0), 1.0) * 100
    right = min(max(bisect.bisect_right(points, [percent, float("inf")]), 1), len(points) - 1)
    (low, a), (high, b) = points[right - 1], points[right]
    return a + (b - a) * (percent - low) / (high - low)


def hold(megabytes: float) -> None:
    """Take memory until the instance holds that much; each page is written once, so that it counts."""
    global held_bytes
    missing = int(megabytes * 1024 * 1024) - held_bytes
    if missing >= PAGE:
        block = bytearray(missing)
        block[::PAGE] = b"\1" * len(range(0, missing, PAGE))
        held.append(block)
        held_bytes += missing


def handler(event: dict[str, float], context: Any) -> dict[str, float]:
    hold(draw(memory_mb, event.get("v", chance())))
    seconds = draw(duration_ms, event.get("u", chance())) / 1000
    time.sleep(seconds)
    return {"slept_ms": round(seconds * 1000, 3), "held_mb": round(held_bytes / 1024 / 1024, 3)}


def chance() -> float:
    return random.random()  # noqa: S311 - draws a sample, guards nothing
