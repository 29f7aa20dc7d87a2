"""A process of the platform is killed: until the next call is served, or the next answer of the API is there."""

import os
import signal
import time
from collections.abc import Callable

import httpx

from benchmarks.contestants.isotherm import Isotherm, isotherm, package
from benchmarks.contestants.process import wait_for
from benchmarks.machine import find_process
from benchmarks.result import Bar, Check, Figure
from benchmarks.samples import percentile
from benchmarks.session import Outcome, Session

__all__ = ["measure"]

MODULES = {"host": "isotherm.host", "warden": "isotherm.warden", "control": "isotherm.controllers"}
LIMIT_S = 30.0
REST_S = 4.0  # between kills: a process that dies within three seconds of its start waits before the next
PROMISES_S = {"host": 2.0, "warden": 2.0}  # calls are served without control


def measure(session: Session) -> Outcome:
    kills = session.choose(15, 3)
    took_s: dict[str, list[float]] = {name: [] for name in MODULES}
    with isotherm(session.folder / "isotherm") as platform:
        platform.deploy("echo", platform.upload(package("echo")))
        for _ in range(kills):
            for name in MODULES:
                _serves(platform)
                time.sleep(REST_S)
                took_s[name].append(_kill(platform, name))
    for name, values in took_s.items():
        session.say(f"{name}: {percentile(values, 50):.2f} s, at most {max(values):.2f} s")
    bars = [Bar(name, percentile(values, 50), min(values), max(values)) for name, values in took_s.items()]
    return Outcome(
        settings={"kills": kills, "pause_s": REST_S},
        checks=[_check(name, values) for name, values in took_s.items()],
        figures=[Figure("From a kill to the next answer", "s", bars)],
        measurements={"took_s": took_s},
        notes=["host and warden: a call of a function, on a new connection; control: an answer of its API"],
    )


def _check(name: str, took_s: list[float]) -> Check:
    what = f"{name} killed: until it serves again, the longest"
    spread = f"{min(took_s):.2f} to {max(took_s):.2f} s of {len(took_s)}"
    promise = PROMISES_S.get(name)
    return Check(what, "≤", promise or LIMIT_S, "s", round(max(took_s), 2), spread, promised=promise is not None)


def _kill(platform: Isotherm, name: str) -> float:
    """Seconds until what the process does is done again."""
    pid = find_process(platform.pid, MODULES[name])
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    wait_for(f"another {name}", lambda: _another(platform, name, pid), LIMIT_S)
    ready: Callable[[Isotherm], bool] = _answers if name == "control" else _serves
    wait_for(f"an answer after {name} was killed", lambda: ready(platform), LIMIT_S)
    return time.monotonic() - began


def _another(platform: Isotherm, name: str, former: int) -> bool:
    try:
        return find_process(platform.pid, MODULES[name]) != former
    except ProcessLookupError:
        return False


def _serves(platform: Isotherm) -> bool:
    target = platform.by_invoke("echo", "")
    try:
        answer = httpx.post(target.url, json={}, headers=dict(target.headers), timeout=LIMIT_S)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and "x-amz-function-error" not in answer.headers


def _answers(platform: Isotherm) -> bool:
    headers = {"Authorization": f"Bearer {platform.key}"}
    try:
        return httpx.get(f"{platform.url}/api/v1/status", headers=headers, timeout=LIMIT_S).status_code == 200
    except httpx.HTTPError:
        return False
