"""10,000 functions registered, 1 % of them active: deploy, invoke and ls beside what they take with 10."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks.calls import Wire
from benchmarks.contestants.isotherm import Isotherm, isotherm, package
from benchmarks.machine import proportional_megabytes
from benchmarks.result import Bar, Check, Figure
from benchmarks.session import Outcome, Session

__all__ = ["measure"]

FEW = 10
AT_ONCE = 4
PAGE = 10  # the same number of functions listed in both cases
# What is not active costs nothing but its entry: no spare, and soon no instance and no template.
ASLEEP: dict[str, Any] = {"spare": 0, "keep_alive_s": 1, "template_keep_alive_s": 1}
verbs = ("deploy", "invoke", "ls")


def measure(session: Session) -> Outcome:
    many, repeats = session.choose(10_000, 300), session.choose(9, 5)
    with isotherm(session.folder / "isotherm") as platform:
        digest = platform.upload(package("probe"))
        _register(session, platform, digest, 0, FEW)
        few = _time(platform, digest, FEW, repeats)
        began = time.perf_counter()
        _register(session, platform, digest, FEW, many)
        took_s = time.perf_counter() - began
        active = [f"registered-{number}" for number in range(FEW, many, 100)]
        for name in active:
            platform.invoke(name, {})
        crowded = _time(platform, digest, many, repeats)
        host_mb = proportional_megabytes([platform.host_pid])
    session.say(f"{many} registered in {took_s:.0f} s; host process {host_mb:.0f} MB")
    checks = [Check(f"host process with {many:,} functions", "≤", 200, "MB", round(host_mb, 1))]
    figures = []
    for verb in verbs:
        slower = statistics.median(crowded[verb]) / statistics.median(few[verb])
        checks.append(Check(f"{verb} with {many:,} functions to the same with {FEW}", "≤", 1.2, "x", round(slower, 2)))
        bars = [_bar(f"{FEW} functions", few[verb]), _bar(f"{many:,} functions", crowded[verb])]
        figures.append(Figure(verb, "ms", bars))
    return Outcome(
        settings={"functions": many, "active": len(active), "repeats": repeats, "asleep": ASLEEP},
        checks=checks,
        figures=figures,
        measurements={"few_ms": few, "many_ms": crowded, "register_s": took_s, "host_mb": host_mb},
    )


def _register(session: Session, platform: Isotherm, digest: str, first: int, end: int) -> None:
    def one(number: int) -> None:
        platform.deploy(f"registered-{number}", digest, env={"NUMBER": str(number)}, warm=ASLEEP)
        if number % 500 == 0:
            session.say(f"registered {number}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(first, end)))


def _time(platform: Isotherm, digest: str, existing: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each verb, one after the other, `repeats` times; invoke is warm, through the Invoke route."""
    names = [f"timed-{existing}-{number}" for number in range(repeats)]
    deploys = [_milliseconds(partial(platform.deploy, name, digest, env={"NAME": name})) for name in names]
    wire = Wire(platform.by_invoke(names[0], "invoke"))
    try:
        calls = [wire.call({})[0] for _ in range(repeats * 100)]
    finally:
        wire.close()
    listings = [_milliseconds(lambda: platform.listing(PAGE)) for _ in range(repeats)]
    for name in names:
        platform.remove(name)
    return {"deploy": deploys, "invoke": [round(value, 4) for value in calls], "ls": listings}


def _milliseconds(verb: Callable[[], object]) -> float:
    began = time.perf_counter()
    verb()
    return round((time.perf_counter() - began) * 1000, 3)


def _bar(label: str, values: list[float]) -> Bar:
    return Bar(label, statistics.median(values), min(values), max(values))
