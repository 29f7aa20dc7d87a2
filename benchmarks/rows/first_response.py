"""The first response of a new instance, one start every 300 ms: from a parked spare, warmed ahead, and without either.

Each timed call finds every instance that there is busy: as soon as one has answered, another call holds it until the
end. The answer says whether it was the instance's first; a run with many that were not would be none.
"""

import subprocess
import time
from typing import Any

from benchmarks.calls import Holds, Wire
from benchmarks.contestants.isotherm import Isotherm, isotherm, package
from benchmarks.environments import environment_python
from benchmarks.result import Bar, Check, Curve, Figure
from benchmarks.samples import percentile
from benchmarks.session import Outcome, Session

__all__ = ["measure"]

EVERY_S = 0.3
HOLD_S = 600.0  # longer than a run
LEAST_NEW = 0.95  # of the calls must have met a new instance
# label → (package, warm settings, p50 and p99 that are promised, ms)
variants: dict[str, tuple[str, dict[str, Any], float, float]] = {
    "scikit-learn, parked spare": ("sklearn", {}, 4, 8),
    "scikit-learn, spare with a warm event": ("sklearn", {"warm_event": {"warm": True}}, 1.5, 4),
    "bare, no spare": ("probe", {"spare": 0}, 6, 12),
    "scikit-learn, no spare": ("sklearn", {"spare": 0}, 12, 25),
}


def measure(session: Session) -> Outcome:
    starts = session.choose(100, 25)
    found: dict[str, dict[str, list[float]]] = {}
    with isotherm(session.folder / "isotherm") as platform:
        digests = {name: platform.upload(package(name)) for name in ("sklearn", "probe")}
        for number, (label, (code, warm, _, _)) in enumerate(variants.items()):
            session.say(f"{label}: deploying")
            settings = {"max_instances": starts + 5, **warm}
            platform.deploy(f"first-{number}", digests[code], timeout_s=HOLD_S, warm=settings)
            found[label] = _starts(platform, f"first-{number}", label, starts)
            values = found[label]["ms"]
            session.say(f"{label}: p50 {percentile(values, 50):.2f} ms, p99 {percentile(values, 99):.2f} ms")
            platform.remove(f"first-{number}")
    fresh = _fresh_interpreters(session.choose(10, 3))
    return Outcome(
        settings={"starts": starts, "every_s": EVERY_S, "memory_mb": 256},
        checks=_checks(found),
        figures=_figures(found, fresh),
        measurements={"first responses": found, "fresh interpreter with scikit-learn, ms": fresh},
        notes=["a call that met an instance that had answered before is left out and counted in `reused`"],
    )


def _starts(platform: Isotherm, name: str, label: str, starts: int) -> dict[str, list[float]]:
    target = platform.by_invoke(name, label)
    wire, holds = Wire(target), Holds(target)
    new: list[float] = []
    reused: list[float] = []
    try:
        due = time.perf_counter() + 1.0
        for _ in range(starts):
            time.sleep(max(0.0, due - time.perf_counter()))
            due += EVERY_S
            took_ms, answer = wire.call({})
            (new if answer["call"] == 1 else reused).append(round(took_ms, 4))
            holds.hold(HOLD_S)
    finally:
        wire.close()
        holds.release()
    if len(new) < LEAST_NEW * starts:
        raise RuntimeError(f"{label}: only {len(new)} of {starts} calls met a new instance")
    return {"ms": new, "reused": reused}


def _fresh_interpreters(count: int) -> list[float]:
    """What it takes without a template: a new interpreter that imports scikit-learn and answers once."""
    python = environment_python("sklearn")
    program = "import sklearn.linear_model; sklearn.linear_model.LogisticRegression(); print('{}', flush=True)"
    times = []
    for _ in range(count):
        began = time.perf_counter()
        subprocess.run([str(python), "-c", program], check=True, capture_output=True, timeout=60)
        times.append(round((time.perf_counter() - began) * 1000, 2))
    return times


def _checks(found: dict[str, dict[str, list[float]]]) -> list[Check]:
    checks = []
    for label, (_, _, p50, p99) in variants.items():
        values = found[label]["ms"]
        spread = f"{min(values):.2f} to {max(values):.2f}"
        for percent, target in ((50, p50), (99, p99)):
            what = f"first response of a new instance, {label}: p{percent}"
            checks.append(Check(what, "≤", target, "ms", round(percentile(values, percent), 2), spread))
    return checks


def _figures(found: dict[str, dict[str, list[float]]], fresh: list[float]) -> list[Figure]:
    bars = [Bar(k, percentile(v["ms"], 50), min(v["ms"]), percentile(v["ms"], 99)) for k, v in found.items()]
    bars.append(Bar("a fresh interpreter", percentile(fresh, 50), min(fresh), max(fresh)))
    return [
        Figure(
            "First response: share of starts within", "ms", distributions=[Curve(k, v["ms"]) for k, v in found.items()]
        ),
        Figure("First response: median, least to p99", "ms", bars=bars),
    ]
