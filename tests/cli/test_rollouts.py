"""`isotherm rollout` and `deploy --strategy` against a scripted platform."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import FUNCTIONS, REVISION, code, deployable

__all__ = ["code", "deployable"]

Isotherm = Callable[..., Any]
ROLLOUTS = f"{FUNCTIONS}/hello/rollouts"
READING = {
    "old": {"calls": 900, "errors": 1, "error_rate": 0.0011, "p50_ms": 2, "p95_ms": 3, "p99_ms": 4},
    "new": {"calls": 60, "errors": 30, "error_rate": 0.5, "p50_ms": 2, "p95_ms": 3, "p99_ms": None},
    "error_e": 1e12,
    "latency_e": 0.1,
    "threshold": 600.0,
    "slower_ms": None,
    "elapsed_s": 3.0,
}
ROLLOUT = {
    "id": "roll_1",
    "alias": "live",
    "before": 1,
    "to": 2,
    "plan": {"strategy": "canary"},
    "state": "open",
    "paused": False,
    "step": 1,
    "steps": 4,
    "percent": 5.0,
    "by": "pr_1",
    "created_at_ms": 0,
    "step_since_ms": 0,
    "ended_at_ms": None,
    "rule": None,
    "reading": READING,
}
BACK = ROLLOUT | {"state": "rolled_back", "rule": "errors", "percent": 0.0}


@pytest.mark.parametrize("words", [("rollout", "hello", "2"), ("rollout", "start", "hello", "2")])
def test_one_is_begun_by_flags(platform: Any, isotherm: Isotherm, words: tuple[str, ...]) -> None:
    platform.on(f"POST {ROLLOUTS}", ROLLOUT | {"step": 0, "reading": None}, 201)
    flags = ("--steps", "1,10%,100", "--step-s", "5", "--shadow", "20%", "--on-quiet", "hold", "--no-gate")
    ran = isotherm(*words, *flags)
    assert ran.code == 0, ran.err
    assert "roll_1" in ran.out
    assert "about to begin" in ran.out
    assert platform.asked[-1].json == {
        "to": 2,
        "alias": "live",
        "strategy": "canary",
        "steps": [1.0, 10.0, 100.0],
        "step_s": 5.0,
        "shadow": 20.0,
        "on_quiet": "hold",
        "gate": False,
    }


def test_flags_that_are_no_numbers_are_refused(platform: Any, isotherm: Isotherm) -> None:
    ran = isotherm("rollout", "hello", "2", "--steps", "few")
    assert (ran.code, "--steps few" in ran.err, platform.asked) == (64, True, [])


def test_the_status_says_where_it_is_and_what_speaks_for_and_against(platform: Any, isotherm: Isotherm) -> None:
    platform.on(f"GET {ROLLOUTS}", {"items": [ROLLOUT | {"alias": "beta"}, ROLLOUT], "next_cursor": None})
    shown = isotherm("rollout", "status", "hello").out
    assert "step 1 of 4, 5 % of the calls" in shown
    assert "revision 2: 60 calls, 30 failed (50.0%), p95 at most 3.0 ms" in shown
    assert "rolled back at 600" in shown
    assert isotherm("rollout", "status", "hello", "--json").json["id"] == "roll_1"
    assert isotherm("rollout", "ls", "hello").out.count("canary") == 2
    platform.on(f"GET {ROLLOUTS}", {"items": [], "next_cursor": None})
    assert isotherm("rollout", "status", "hello").code == 66


@pytest.mark.parametrize("verb", ["pause", "resume", "abort"])
def test_it_is_steered(platform: Any, isotherm: Isotherm, verb: str) -> None:
    platform.on(f"GET {ROLLOUTS}", {"items": [ROLLOUT], "next_cursor": None})
    platform.on(f"POST {ROLLOUTS}/roll_1/{verb}", ROLLOUT | {"paused": verb == "pause"})
    ran = isotherm("rollout", verb, "hello", "--json")
    assert (ran.code, ran.json["paused"]) == (0, verb == "pause")


def test_who_watches_one_that_goes_back_gets_the_evidence_and_exit_code_1(platform: Any, isotherm: Isotherm) -> None:
    platform.on(f"POST {ROLLOUTS}", ROLLOUT, 201)
    platform.on(f"GET {ROLLOUTS}/roll_1", BACK)
    ran = isotherm("rollout", "hello", "2", "--watch")
    assert ran.code == 1
    assert "step 1 of 4: revision 2 has 5 % of the calls" in ran.err
    assert "back at revision 1: it failed more often" in ran.err
    told = isotherm("rollout", "hello", "2", "--watch", "--json")
    assert (told.code, told.json["code"], told.json["data"]["rule"]) == (1, "rolled_back", "errors")
    assert told.json["data"]["reading"]["new"]["errors"] == 30
    platform.on(f"GET {ROLLOUTS}/roll_1", ROLLOUT | {"state": "finished"})
    assert isotherm("rollout", "hello", "2", "--watch").code == 0


def test_flags_of_a_deploy_win_over_the_manifests_table(deployable: Any, isotherm: Isotherm, code: Path) -> None:
    manifest = code / "isotherm.toml"
    manifest.write_text(manifest.read_text() + '[rollout]\nstrategy = "blue-green"\nbake_s = 7\nmin_samples = 3\n')
    deployable.on(f"GET {ROLLOUTS}", {"items": [ROLLOUT | {"to": REVISION["number"]}], "next_cursor": None})
    ran = isotherm("deploy", str(code), "--strategy", "canary", "--step-s", "2", "--abort-rollout")
    assert ran.code == 0, ran.err
    assert "live goes to it by roll_1" in ran.out
    asked = next(each for each in deployable.asked if each.method == "PUT")
    assert asked.query == "abort_rollout=true"
    plan = asked.json["rollout"]
    assert (plan["strategy"], plan["bake_s"], plan["step_s"], plan["min_samples"]) == ("canary", 7, 2, 3)
    assert isotherm("deploy", str(code), "--strategy", "sideways").code == 64
    deployable.on(f"GET {ROLLOUTS}/roll_1", BACK)
    assert isotherm("deploy", str(code), "--watch").code == 1
