"""A quiet function while 20 instances of another start: its p99 beside what it is when nothing else goes on."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from time import perf_counter

from benchmarks.calls import Wire, burst, request_bytes
from benchmarks.contestants.isotherm import Isotherm, isotherm, package
from benchmarks.result import Check, Curve, Figure
from benchmarks.rows.cold import most_at_once
from benchmarks.samples import percentile
from benchmarks.session import Outcome, Session
from isotherm.replay.client import Answer

__all__ = ["measure"]

STARTS = 20
HOLD_S = 0.2  # longer than it takes to start them all, so that each call needs an instance of its own
PAUSE_S = 0.002  # between the calls of the quiet function
WARM_CALLS = 200
APART_S = 1.0  # between rounds: the instances of the round before are gone


def measure(session: Session) -> Outcome:
    rounds = session.choose(20, 4)
    with isotherm(session.folder / "isotherm") as platform:
        digest = platform.upload(package("probe"))
        platform.deploy("quiet", digest, warm={"min_instances": 1, "max_instances": 1})
        platform.deploy("noisy", digest, warm={"max_instances": STARTS, "keep_alive_s": 0.1})
        alone, beside, instances = _rounds(platform, rounds)
    quiet_p99, beside_p99 = percentile(alone, 99), percentile(beside, 99)
    session.say(f"quiet p99 {quiet_p99:.2f} ms, while {STARTS} start {beside_p99:.2f} ms")
    what = f"p99 of a quiet function while {STARTS} instances of another start, to its quiet p99"
    return Outcome(
        settings={"rounds": rounds, "starts": STARTS, "hold_s": HOLD_S, "pause_s": PAUSE_S},
        checks=[Check(what, "≤", 3, "x", round(beside_p99 / quiet_p99, 2), f"{quiet_p99:.2f} to {beside_p99:.2f} ms")],
        figures=[
            Figure(
                "A quiet function: share of calls within",
                "ms",
                distributions=[Curve("alone", alone), Curve(f"while {STARTS} instances start", beside)],
            )
        ],
        measurements={"alone_ms": alone, "beside_ms": beside, "instances_started": instances},
    )


def _rounds(platform: Isotherm, rounds: int) -> tuple[list[float], list[float], list[int]]:
    """(times alone, times that overlap a burst of starts, instances that each burst started)."""
    wire = Wire(platform.by_invoke("quiet", "quiet"))
    requests = [request_bytes(platform.by_invoke("noisy", "noisy"), {"hold_s": HOLD_S})] * STARTS
    alone: list[float] = []
    beside: list[float] = []
    instances: list[int] = []
    # In a process of its own: a thread here would hold up the clock of the quiet function by the interpreter's lock.
    other = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    try:
        other.submit(burst, platform.address, []).result()
        for _ in range(WARM_CALLS):
            wire.call({})
        for _ in range(rounds):
            alone += [took_ms for took_ms, _ in _calls(wire, _before(perf_counter() + APART_S))]
            running = other.submit(burst, platform.address, requests)
            timed = _calls(wire, lambda burst=running: not burst.done())
            answers = running.result()
            began, ended = _window(answers)
            beside += [took_ms for took_ms, at in timed if at >= began and at - took_ms / 1000 <= ended]
            instances.append(most_at_once(answers)[1])
    finally:
        other.shutdown()
        wire.close()
    return [round(value, 4) for value in alone], [round(value, 4) for value in beside], instances


def _before(end: float) -> Callable[[], bool]:
    return lambda: perf_counter() < end


def _calls(wire: Wire, go_on: Callable[[], bool]) -> list[tuple[float, float]]:
    """(milliseconds, when it ended) of one call after the other."""
    timed = []
    while go_on():
        timed.append((wire.call({})[0], perf_counter()))
        time.sleep(PAUSE_S)
    return timed


def _window(answers: list[Answer]) -> tuple[float, float]:
    """From when the first start was asked for until the last instance was there."""
    return min(one.sent_at for one in answers), max(one.done_at for one in answers) - HOLD_S
