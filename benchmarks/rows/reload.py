"""`isotherm dev`: from a save to the first answer of the new code, for a Python function, and where the time goes."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.contestants.isotherm import isotherm
from benchmarks.result import Bar, Check, Curve, Figure
from benchmarks.samples import percentile
from benchmarks.session import Outcome, Session

__all__ = ["measure"]

CODE = 'def handler(event, context):\n    return {"number": %d}\n'
PAUSE_S = 0.3  # between saves: the former revision is let go meanwhile
LIMIT_S = 20.0


def measure(session: Session) -> Outcome:
    saves = session.choose(30, 5)
    folder = session.folder / "function"
    folder.mkdir()
    (folder / "isotherm.toml").write_text('name = "reload"\nhandler = "app.handler"\n')
    (folder / "app.py").write_text(CODE % 0)
    with isotherm(session.folder / "isotherm") as platform:
        environment = os.environ | {"ISOTHERM_URL": platform.ready["url"], "ISOTHERM_KEY": platform.key}
        argv = [sys.executable, "-m", "isotherm", "dev", str(folder), "--json"]
        dev = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            took_ms, steps = _saves(dev, folder, platform.key, saves)
        finally:
            dev.terminate()
            dev.wait(60)
    p50, p95 = percentile(took_ms, 50), percentile(took_ms, 95)
    mean_steps = {step: statistics.median(each.get(step, 0.0) for each in steps) for step in steps[0]}
    session.say(f"save to served: p50 {p50:.0f} ms, p95 {p95:.0f} ms; {mean_steps}")
    spread = f"{min(took_ms):.0f} to {max(took_ms):.0f} ms"
    bars = [Bar(step, value, *_range(steps, step)) for step, value in mean_steps.items()]
    return Outcome(
        settings={"saves": saves, "pause_s": PAUSE_S},
        checks=[
            Check(
                "save to the first answer of the new code, `isotherm dev`: p50", "≤", 1000, "ms", round(p50, 1), spread
            ),
            Check(
                "save to the first answer of the new code, `isotherm dev`: p95", "≤", 1000, "ms", round(p95, 1), spread
            ),
        ],
        figures=[
            Figure("From a save to its first answer: share within", "ms", distributions=[Curve("saves", took_ms)]),
            Figure("Where the time of a reload goes", "ms", bars),
        ],
        measurements={"took_ms": took_ms, "steps_ms": steps},
        notes=["a client asks anew every 2 ms until the new code answers"],
    )


def _saves(
    dev: "subprocess.Popen[str]", folder: Path, key: str, saves: int
) -> tuple[list[float], list[dict[str, float]]]:
    url = str(_next(dev, "ready")["url"])
    _next(dev, "watching")
    took_ms, steps = [], []
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, trust_env=False) as http:
        for number in range(1, saves + 1):
            time.sleep(PAUSE_S)
            fresh = folder / ".app.py.swp"
            fresh.write_text(CODE % number)
            began = time.perf_counter()
            fresh.rename(folder / "app.py")
            while http.get(url).json()["number"] != number:
                if time.perf_counter() - began > LIMIT_S:
                    raise TimeoutError(f"save {number} was not served within {LIMIT_S:g} s")
                time.sleep(0.002)
            took_ms.append(round((time.perf_counter() - began) * 1000, 2))
            steps.append(_next(dev, "reloaded")["steps_ms"])
    return took_ms, steps


def _next(dev: "subprocess.Popen[str]", kind: str) -> dict[str, Any]:
    assert dev.stdout is not None
    for line in dev.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == kind:
            return event
    raise RuntimeError(f"`isotherm dev` ended before {kind}")


def _range(steps: list[dict[str, float]], step: str) -> tuple[float, float]:
    values = [each.get(step, 0.0) for each in steps]
    return min(values), max(values)
