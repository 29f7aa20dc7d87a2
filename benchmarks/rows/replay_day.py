"""How long it takes to replay a day of 1,000 functions under one policy, every call resolved."""

import os
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.result import Bar, Check, Figure
from benchmarks.session import Outcome, Session
from isotherm.replay.drivers.logs import read_log
from isotherm.replay.simulated.engine import resolve
from isotherm.replay.simulated.log import Log
from isotherm.replay.simulated.policies import Target, parse_target, play
from isotherm.replay.simulated.service import LINGER_S, START_MS

__all__ = ["measure"]

POLICIES = ("fixed:10", "histogram:240", "foresight")


def measure(session: Session) -> Outcome:
    log = read_log(Path(os.environ.get("ISOTHERM_TRACES", "../shared/data")) / "azure_functions_2019" / "day")
    target = parse_target("idle=fixed:10", log)
    repeats = session.choose(5, 2)
    found: dict[str, list[tuple[float, float]]] = {}
    for name in POLICIES:
        _replay(log, target, name)  # what is compiled is compiled now
        found[name] = [_replay(log, target, name) for _ in range(repeats)]
        session.say(f"{name}: {', '.join(f'{wall_s:.2f}' for wall_s, _ in found[name])} s")
    wall = {name: [wall_s for wall_s, _ in each] for name, each in found.items()}
    cpu_s = statistics.median(cpu for _, cpu in found["foresight"])
    what = f"replay of the day, {log.invocations:,} calls, under foresight"
    ours = wall["foresight"]
    spread = f"{min(ours):.2f} to {max(ours):.2f} of {repeats}; {cpu_s:.2f} s of CPU"
    settings: dict[str, Any] = {"policies": POLICIES, "repeats": repeats, "functions": len(log.functions)}
    bars = [Bar(name, statistics.median(each), min(each), max(each)) for name, each in wall.items()]
    return Outcome(
        settings=settings,
        checks=[Check(what, "≤", 5, "s", round(statistics.median(ours), 2), spread)],
        figures=[Figure("Replay of a day of 1,000 functions", "s", bars)],
        measurements={"wall_s and cpu_s": found},
        notes=[
            "a policy is played minute by minute, then each call is resolved; reading and compiling are not counted"
        ],
    )


def _replay(log: Log, target: Target, name: str) -> tuple[float, float]:
    """Seconds, and those of CPU."""
    began = time.perf_counter(), time.process_time()
    played = play(name, log, target)
    resolve(log, played.plane, played.policy.keep_alive_s, START_MS / 1000, 1, LINGER_S)
    return round(time.perf_counter() - began[0], 3), round(time.process_time() - began[1], 3)
