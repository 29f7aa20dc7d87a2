"""One trace, on a real platform and in the simulator: the learned policy and keep-alives, side by side."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Platform, running_platform, wait_until
from tests.replay.traces import write_trace

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.alone]

SPEED = 24.0
MINUTES = 44  # of the trace: 110 s of ours
TIMERS = (11, 12, 12, 13, 13, 14, 15, 15, 16, 17)  # minutes between calls, beyond a keep-alive of ten
POLICIES = ("foresight", "keep_alive")
# How far the live outcome may be from the simulated one, in avoidable cold starts: so many, or that share of them.
APART = 5
MORE = {"foresight": 0.5, "keep_alive": 0.25}
FEWER = {"foresight": 0.75, "keep_alive": 0.25}


def counts() -> dict[str, list[int]]:
    """Calls by minute: timers that a keep-alive misses, others that it meets, bursts, and some by chance."""
    chance = random.Random(7)
    found = {f"timer{n}": _every(period, n % 5) for n, period in enumerate(TIMERS)}
    found |= {f"often{n}": _every(period, n) for n, period in enumerate((3, 5, 8))}
    found |= {f"burst{n}": _bursts(16 + n, 3 * n) for n in range(3)}
    found |= {f"random{n}": [int(chance.random() < 0.07) for _ in range(MINUTES)] for n in range(4)}
    return found


def _every(period: int, first: int) -> list[int]:
    return [int(minute % period == first) for minute in range(MINUTES)]


def _bursts(period: int, first: int) -> list[int]:
    return [4 if (minute - first) % period < 3 else 0 for minute in range(MINUTES)]


@pytest.fixture(scope="module")
def platform(can_isolate: None) -> Iterator[Platform]:
    """Its policy's minute is one of the trace."""
    environment = {"ISOTHERM_WARMING_MINUTE_S": str(60 / SPEED), "ISOTHERM_WARMING_INTERVAL_S": "0.3"}
    with running_platform(environment=environment) as running:
        with running.http() as http:
            wait_until(lambda: http.get("/api/v1/warmth").json()["at_ms"], "the first plan", 90)
        yield running


def replay_both(platform: Platform, trace: Path, folder: Path) -> dict[str, Any]:
    """At the same time; each policy's report."""
    common = ["--live", "--speed", str(SPEED), "--minutes", str(MINUTES), "--spare", "0", "--sample", "0.25"]
    common += ["--template-keep-alive", "600", "--simulate"]
    running = {policy: _replay(platform, folder / policy, [str(trace), *common], policy) for policy in POLICIES}
    found = {}
    for policy, process in running.items():
        said, _ = process.communicate(timeout=280)
        assert process.returncode == 0, said
        assert "warning" not in said, said
        found[policy] = json.loads((folder / policy / "replay.json").read_text())
    return found


def _replay(platform: Platform, out: Path, argv: list[str], policy: str) -> "subprocess.Popen[str]":
    words = ["--warming", policy, "--prefix", policy.replace("_", "-"), "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-m", "isotherm", "replay", *argv, *words],
        env=platform.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_live_and_simulated_outcomes_agree_and_the_policy_has_fewer_cold_starts(
    platform: Platform, tmp_path: Path
) -> None:
    trace = write_trace(tmp_path / "mixed", counts())
    found = replay_both(platform, trace, tmp_path)
    ours, theirs = (found[policy] for policy in POLICIES)
    told = {policy: (report["warming"], report["cold"]["by_cause"]) for policy, report in found.items()}
    for policy, report in found.items():
        live, simulated = report["warming"]["avoidable"], report["warming"]["simulated"]["avoidable"]
        assert report["errors"] == 0, report["error_examples"]
        assert live - simulated <= max(APART, MORE[policy] * simulated), told
        assert simulated - live <= max(APART, FEWER[policy] * simulated), told
    assert ours["warming"]["avoidable"] < theirs["warming"]["avoidable"], told
    assert ours["warming"]["simulated"]["avoidable"] < theirs["warming"]["simulated"]["avoidable"], told
    assert ours["memory"]["idle_gb_s"] <= theirs["memory"]["idle_gb_s"], told
    assert ours["warming"]["simulated"]["idle_minutes"] <= theirs["warming"]["simulated"]["idle_minutes"], told
    _compared(platform, tmp_path / "keep_alive" / "replay.json", tmp_path / "foresight" / "replay.json")


def _compared(platform: Platform, kept: Path, learned: Path) -> None:
    """The comparison of both shows what they differ in."""
    ran = platform.cli("replay", "compare", str(kept), str(learned), "--json")
    assert ran.code == 0, ran.err
    assert ran.json["comparable"]
    settings = {each["name"]: (each["a"], each["b"]) for each in ran.json["settings"]}
    assert settings == {"warmth": ("by keep_alive", "by foresight")}
    differences = {(each["group"], each["name"]): each["difference"] for each in ran.json["figures"]}
    assert differences["cold starts", "after a function's first call"] < 0
    assert differences["memory", "idle"] <= 0
