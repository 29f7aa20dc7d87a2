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
CALLS = 100
SETTLE_S = 5.0  # until what was deployed has fallen asleep
PAGE = 10  # the same number of functions listed in both cases
# What is not active costs nothing but its entry: no spare, and soon no instance and no template.
ASLEEP: dict[str, Any] = {"spare": 0, "keep_alive_s": 1, "template_keep_alive_s": 1}
verbs = ("deploy", "invoke", "ls")


def measure(session: Session) -> Outcome:
    many, repeats = session.choose(10_000, 300), session.choose(15, 5)
    with isotherm(session.folder / "many") as crowded, isotherm(session.folder / "few") as sparse:
        began = time.perf_counter()
        _register(session, crowded, many)
        took_s = time.perf_counter() - began
        _register(session, sparse, FEW)
        active = [f"registered-{number}" for number in range(0, many, 100)]
        for name in active:
            crowded.invoke(name, {})
        time.sleep(SETTLE_S)
        times = _time({"few": sparse, "many": crowded}, repeats)
        host_mb = proportional_megabytes([crowded.host_pid])
    session.say(f"{many} registered in {took_s:.0f} s; host process {host_mb:.0f} MB")
    checks = [Check(f"host process with {many:,} functions", "≤", 200, "MB", round(host_mb, 1))]
    figures = []
    for verb in verbs:
        few, crowd = times["few"][verb], times["many"][verb]
        slower = statistics.median(crowd) / statistics.median(few)
        spread = f"{statistics.median(few):.2f} to {statistics.median(crowd):.2f} ms"
        what = f"{verb} with {many:,} functions to the same with {FEW}"
        checks.append(Check(what, "≤", 1.2, "x", round(slower, 2), spread))
        figures.append(Figure(verb, "ms", [_bar(f"{FEW} functions", few), _bar(f"{many:,} functions", crowd)]))
    return Outcome(
        settings={"functions": many, "active": len(active), "repeats": repeats, "asleep": ASLEEP, "page": PAGE},
        checks=checks,
        figures=figures,
        measurements={"ms": times, "register_s": took_s, "host_mb": host_mb},
        notes=["two platforms side by side, timed in turns, so that a busy moment hits both alike"],
    )


def _register(session: Session, platform: Isotherm, count: int) -> None:
    digest = platform.upload(package("probe"))

    def one(number: int) -> None:
        platform.deploy(f"registered-{number}", digest, env={"NUMBER": str(number)}, warm=ASLEEP)
        if number % 500 == 0:
            session.say(f"registered {number}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(count)))


def _time(platforms: dict[str, Isotherm], repeats: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of each verb on each platform, in turns; invoke is warm, through the Invoke route."""
    found: dict[str, dict[str, list[float]]] = {label: {verb: [] for verb in verbs} for label in platforms}
    for number in range(repeats):
        turn = list(platforms.items())
        for label, platform in turn if number % 2 else turn[::-1]:
            name = f"timed-{number}"
            digest = platform.upload(package("probe"))
            found[label]["deploy"].append(_milliseconds(partial(platform.deploy, name, digest)))
            wire = Wire(platform.by_invoke(name, "invoke"))
            try:
                calls = [wire.call({})[0] for _ in range(CALLS)]
            finally:
                wire.close()
            found[label]["invoke"].append(round(statistics.median(calls), 4))
            found[label]["ls"].append(
                statistics.median(_milliseconds(partial(platform.listing, PAGE)) for _ in range(5))
            )
            platform.remove(name)
    return found


def _milliseconds(verb: Callable[[], object]) -> float:
    began = time.perf_counter()
    verb()
    return round((time.perf_counter() - began) * 1000, 3)


def _bar(label: str, values: list[float]) -> Bar:
    return Bar(label, statistics.median(values), min(values), max(values))
