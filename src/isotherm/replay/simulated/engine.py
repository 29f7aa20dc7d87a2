"""Costs a policy call by call: instances that start, run, wait and are let go, in compiled loops.

Where only counts a minute are known, arrivals are spread in their minute as a Poisson process would, given their
number: independent and uniform, by a generator for each unit that is made from the seed. Durations are drawn from the
percentiles of the log. An idle instance takes the next call, the one that became idle last first; a call that finds
none starts one, and waits for it. Once a minute the policy has its way: idle instances beyond what it holds are let
go, the longest idle first, and missing ones are ready at that moment. A policy that is a keep-alive and nothing else
has it to the second instead."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from isotherm.replay.simulated.log import MARKS, Doubles, Integers, Log
from isotherm.warming.drivers.compiled import compiled
from isotherm.warming.model import KEEP, LET_GO

__all__ = ["Resolved", "resolve"]

MINUTE_S = 60.0
NEVER_S = 1e18
PARTS = 16  # for each thread: units differ in how much they are called, and take what is left when they are done
MOST_THREADS = 16


@dataclass(frozen=True)
class Resolved:
    """`cold` [f]: calls that found no idle instance; `calls` [f]. Per unit: `first` [n], cold starts that nothing
    could have avoided, the unit's first call; `scale_out` [n], of the cold ones those with another instance busy;
    `idle_s`, `busy_s` [n]: of instances; `prewarmed` [n]: starts that no call waited for; `most` [n]: instances at
    once."""

    calls: Integers
    cold: Integers
    first: Integers
    scale_out: Integers
    idle_s: Doubles
    busy_s: Doubles
    prewarmed: Integers
    most: Integers


def resolve(
    log: Log, plane: Integers, keep_alive_s: float | None, start_s: float, seed: int, linger_s: float = 0.0
) -> Resolved:
    """Replay each call. `plane` [n, m] is what the policy holds; with `keep_alive_s` it does not matter. `start_s`: of
    an instance from nothing."""
    n, f = len(log.units), len(log.functions)
    calls, cold = numpy.zeros(f, numpy.int32), numpy.zeros(f, numpy.int32)
    per_unit = numpy.zeros((6, n))
    keep_s = -1.0 if keep_alive_s is None else keep_alive_s
    if log.events is not None:
        by_unit = numpy.argsort(log.unit[log.events.function], kind="stable")
        function, at_s = log.events.function[by_unit], log.events.at_s[by_unit]
        duration_s = log.events.duration_s[by_unit]
        ends = numpy.searchsorted(log.unit[function], numpy.arange(n + 1))

        def run(low: int, high: int) -> None:
            _run_events(
                at_s, duration_s, function, ends, plane, keep_s, linger_s, start_s, calls, cold, per_unit, low, high
            )
    else:
        order = numpy.argsort(log.unit, kind="stable").astype(numpy.int32)
        bounds = numpy.searchsorted(log.unit[order], numpy.arange(n + 1))
        tables = numpy.zeros((f, len(MARKS))) if log.duration_s is None else log.duration_s

        def run(low: int, high: int) -> None:
            _run_counts(
                log.counts,
                order,
                bounds,
                tables,
                plane,
                keep_s,
                linger_s,
                start_s,
                seed,
                calls,
                cold,
                per_unit,
                low,
                high,
            )

    _in_threads(run, n)
    first, scale_out, prewarmed, most = (per_unit[k].astype(numpy.int32) for k in (0, 1, 4, 5))
    return Resolved(calls, cold, first, scale_out, per_unit[2], per_unit[3], prewarmed, most)


def _in_threads(run: Callable[[int, int], None], units: int) -> None:
    """Run all units, parts of them at once. No two share anything, generators included, so that neither order nor
    number of threads changes a result; the compiled loops leave the interpreter's lock to others."""
    threads = min(MOST_THREADS, len(os.sched_getaffinity(0)))
    marks = numpy.unique(numpy.linspace(0, units, threads * PARTS + 1).astype(int)).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, marks[:-1], marks[1:]))


@compiled
def _run_events(
    at_s: Doubles,
    duration_s: Doubles,
    function: Integers,
    ends: NDArray[numpy.int64],
    plane: Integers,
    keep_s: float,
    linger_s: float,
    start_s: float,
    calls: Integers,
    cold: Integers,
    per_unit: Doubles,
    low: int,
    high: int,
) -> None:
    minutes = plane.shape[1]
    for i in range(low, high):
        begin, end = ends[i], ends[i + 1]
        _run(
            at_s[begin:end],
            duration_s[begin:end],
            function[begin:end],
            plane[i],
            keep_s,
            linger_s,
            start_s,
            minutes,
            calls,
            cold,
            per_unit,
            i,
        )


@compiled
def _run_counts(
    counts: Integers,
    order: Integers,
    bounds: NDArray[numpy.int64],
    tables: Doubles,
    plane: Integers,
    keep_s: float,
    linger_s: float,
    start_s: float,
    seed: int,
    calls: Integers,
    cold: Integers,
    per_unit: Doubles,
    low: int,
    high: int,
) -> None:
    for i in range(low, high):
        mine = order[bounds[i] : bounds[i + 1]]
        total = 0
        for f in mine:
            total += counts[f].sum()
        numpy.random.seed((seed * 1_000_003 + i) & 0x7FFFFFFF)
        at_s, duration_s, function = numpy.empty(total), numpy.zeros(total), numpy.empty(total, numpy.int32)
        _spread(counts, mine, tables, at_s, duration_s, function)
        _run(at_s, duration_s, function, plane[i], keep_s, linger_s, start_s, counts.shape[1], calls, cold, per_unit, i)


@compiled
def _spread(
    counts: Integers, mine: Integers, tables: Doubles, at_s: Doubles, duration_s: Doubles, function: Integers
) -> None:
    """The calls of one unit in order. Ordered uniforms of one function come from partial sums of exponentials."""
    at = 0
    for minute in range(counts.shape[1]):
        begin, several = at, 0
        for f in mine:
            count = counts[f, minute]
            if count == 0:
                continue
            several += 1
            total = 0.0
            for k in range(count):
                total += -numpy.log(1.0 - numpy.random.random())
                at_s[at + k] = total
            total += -numpy.log(1.0 - numpy.random.random())
            for k in range(at, at + count):
                at_s[k] = (minute + at_s[k] / total) * MINUTE_S
                function[k] = f
                if tables[f, -1] > 0:
                    duration_s[k] = numpy.interp(numpy.random.random(), MARKS, tables[f])
            at += count
        if several > 1:
            sorted_ = numpy.argsort(at_s[begin:at])
            at_s[begin:at] = at_s[begin:at][sorted_]
            duration_s[begin:at] = duration_s[begin:at][sorted_]
            function[begin:at] = function[begin:at][sorted_]


@compiled
def _run(  # noqa: C901 - one compiled loop: calls into others would pass all its state
    at_s: Doubles,
    duration_s: Doubles,
    function: Integers,
    plane: Integers,
    keep_s: float,
    linger_s: float,
    start_s: float,
    minutes: int,
    calls: Integers,
    cold: Integers,
    per_unit: Doubles,
    i: int,
) -> None:
    """One unit. Idle instances stand in a row by when they became idle; ends of running calls in a heap."""
    idle = numpy.empty(64)
    low, high = 0, 0  # of the row within `idle`
    ends = numpy.empty(64)
    running = 0
    idle_s, busy_s = 0.0, 0.0
    first, scale_out, prewarmed, most = 0, 0, 0, 0
    tick = 0  # the next minute whose beginning the policy has not seen
    for k in range(len(at_s) + 1):
        last = k == len(at_s)
        now = minutes * MINUTE_S if last else at_s[k]
        while True:
            boundary = tick * MINUTE_S if tick < minutes and keep_s < 0 else NEVER_S
            until = min(now, boundary)
            while running > 0 and ends[0] <= until:
                if high == len(idle):
                    if low > len(idle) // 2:
                        idle[: high - low] = idle[low:high].copy()
                    else:
                        idle = numpy.concatenate((idle[low:high], numpy.empty(len(idle) + low)))
                    low, high = 0, high - low
                idle[high] = ends[0]
                high += 1
                running = _pop(ends, running)
            if boundary > now:
                break
            held = plane[tick]
            tick += 1
            if held != KEEP:
                wanted = max(0, held - running) if held != LET_GO else 0
                while high - low > wanted and (held <= 0 or idle[low] + linger_s <= boundary):
                    idle_s += boundary - idle[low]
                    low += 1
                missing = wanted - (high - low)
                if missing > 0:
                    grown = numpy.empty(2 * (high - low + missing) + 64)
                    grown[: high - low] = idle[low:high]
                    idle, high, low = grown, high - low, 0
                    for _ in range(missing):
                        idle[high] = boundary
                        high += 1
                    prewarmed += missing
                    idle_s += missing * start_s
                    most = max(most, running + high - low)
        if keep_s >= 0:
            while low < high and idle[low] + keep_s < now:
                idle_s += keep_s
                low += 1
        if last:
            break
        f = function[k]
        calls[f] += 1
        waited = 0.0
        if low < high:
            high -= 1
            idle_s += now - idle[high]
            if duration_s[k] <= 0.0:  # it is idle again, and the last that became so
                idle[high] = now
                high += 1
                most = max(most, running + high - low)
                continue
        else:
            cold[f] += 1
            waited = start_s
            if k == 0:
                first = 1
            elif running > 0:
                scale_out += 1
        if running == len(ends):
            ends = numpy.concatenate((ends, numpy.empty(len(ends))))
        running = _push(ends, running, now + waited + duration_s[k])
        busy_s += waited + duration_s[k]
        most = max(most, running + high - low)
    while low < high:
        idle_s += minutes * MINUTE_S - idle[low]
        low += 1
    per_unit[0, i], per_unit[1, i], per_unit[2, i] = first, scale_out, idle_s
    per_unit[3, i], per_unit[4, i], per_unit[5, i] = busy_s, prewarmed, most


@compiled
def _push(heap: Doubles, size: int, value: float) -> int:
    at = size
    while at > 0 and heap[(at - 1) // 2] > value:
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = value
    return size + 1


@compiled
def _pop(heap: Doubles, size: int) -> int:
    size -= 1
    value = heap[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = value
    return size
