"""What a parked template holds, and what a call waits for where one is there and where nothing is."""

import statistics
import time

from benchmarks.contestants.isotherm import Isotherm, isotherm, package
from benchmarks.contestants.process import wait_for
from benchmarks.machine import descendants, proportional_megabytes
from benchmarks.result import Bar, Check, Figure
from benchmarks.session import Outcome, Session

__all__ = ["measure"]

WAIT_S = 60.0
WARM = {"spare": 0, "keep_alive_s": 1.0}


def measure(session: Session) -> Outcome:
    count = session.choose(20, 5)
    with isotherm(session.folder / "isotherm") as platform:
        held = {name: _held(platform, code, name, count) for name, code in (("bare", "probe"), ("sklearn", "sklearn"))}
        from_template = {name: [_call(platform, f"{name}-{k}") for k in range(count)] for name in held}
        platform.restart()
        from_nothing = {name: [_call(platform, f"{name}-{k}") for k in range(count)] for name in held}
    for name, mb in held.items():
        p50 = statistics.median(from_template[name]), statistics.median(from_nothing[name])
        session.say(f"{name}: {mb:.1f} MB; first response p50 {p50[0]:.1f} ms from it, {p50[1]:.1f} ms from nothing")
    bars = [
        Bar(f"{name}, {what}", statistics.median(values[name]), min(values[name]), max(values[name]))
        for name in held
        for what, values in (("from a template", from_template), ("from nothing", from_nothing))
    ]
    saved = statistics.median(from_nothing["bare"]) / statistics.median(from_template["bare"])
    return Outcome(
        settings={"templates": count, "warm": WARM},
        checks=[
            Check("memory of a bare template with its keeper", "≤", 25, "MB", round(held["bare"], 2), promised=False),
            Check(
                "first response from a bare template to one from nothing",
                "≤",
                0.5,
                "x",
                round(1 / saved, 3),
                promised=False,
            ),
        ],
        figures=[
            Figure("A template and its keeper: PSS", "MB", [Bar(name, mb, mb, mb) for name, mb in held.items()]),
            Figure("First response", "ms", bars),
        ],
        measurements={"held_mb": held, "from_template_ms": from_template, "from_nothing_ms": from_nothing},
        notes=["PSS of all processes that the deploys added below the warden, by their number, with no instance there"],
    )


def _held(platform: Isotherm, code: str, name: str, count: int) -> float:
    """MB of one template: what `count` of them add."""
    digest = platform.upload(package(code))
    platform.deploy(f"{name}-first", digest, warm=WARM)  # what the first of a tenant needs is not a template's
    _wait_until_idle(platform, [f"{name}-first"])
    before = set(descendants(platform.pid))
    names = [f"{name}-{k}" for k in range(count)]
    for each in names:
        platform.deploy(each, digest, warm=WARM)
        _call(platform, each)
    _wait_until_idle(platform, names)
    return proportional_megabytes(sorted(set(descendants(platform.pid)) - before)) / count


def _wait_until_idle(platform: Isotherm, names: list[str]) -> None:
    def quiet() -> bool:
        return all(not platform.instances(name).get(state) for name in names for state in ("warm", "hot", "spare"))

    wait_for("instances to be let go", quiet, WAIT_S)


def _call(platform: Isotherm, name: str) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    platform.invoke(name, {})
    return (time.perf_counter() - began) * 1000
