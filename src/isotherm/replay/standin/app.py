"""Stands in for a function of a trace: sleeps and holds memory as its percentiles say (standard library alone).

The event may bring `u` and `v` in [0, 1): where in the distributions of duration and memory this call lies. Without
them chance decides. An instance holds what its largest call so far took, as a process that does not give back. With
`pieces` the answer comes in so many, the sleep spread over them.
"""

import bisect
import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

Points = list[list[float]]

PAGE = 4096
duration_ms: Points = json.loads(os.environ["STANDIN_DURATION_MS"])
memory_mb: Points = json.loads(os.environ["STANDIN_MEMORY_MB"])
held: list[bytearray] = []
held_bytes = 0
mark: BinaryIO | None = None


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


def show_name() -> None:
    """Keep a file without a name open, once: who may look at this process sees by it which function it is of. A replay
    that kills instances tells by it which calls it broke."""
    global mark
    name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    if mark is None and name:
        path = f"/tmp/{name}"  # noqa: S108 - in an instance /tmp is its own
        mark = open(path, "wb")  # noqa: SIM115 - for as long as the process lives
        os.unlink(path)  # noqa: PTH108 - pathlib would be imported for this alone


def handler(event: dict[str, float], context: Any) -> Any:
    show_name()
    hold(draw(memory_mb, event.get("v", chance())))
    seconds = draw(duration_ms, event.get("u", chance())) / 1000
    if "pieces" in event:
        return in_pieces(seconds, int(event["pieces"]))
    time.sleep(seconds)
    return answer(seconds)


def in_pieces(seconds: float, count: int) -> Iterator[dict[str, float]]:
    """Lines of JSON; the last one is the answer."""
    for number in range(1, count):
        time.sleep(seconds / count)
        yield {"piece": number}
    time.sleep(seconds / count)
    yield answer(seconds)


def answer(seconds: float) -> dict[str, float]:
    return {"slept_ms": round(seconds * 1000, 3), "held_mb": round(held_bytes / 1024 / 1024, 3)}


def chance() -> float:
    return random.random()  # noqa: S311 - draws a sample, guards nothing
