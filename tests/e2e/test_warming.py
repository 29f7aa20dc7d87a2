"""The warming policy at work on a real platform whose minute has three seconds: it makes ready before the call, lets go
after it, says why, and goes on after a restart of control."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Platform, running_platform, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.alone]

MINUTE_S = 3.0
SHIPPED_S = 4.0  # after a call, its record is there
CODE = "def handler(event, context):\n    return {'ok': True}\n"
ENVIRONMENT = {
    "ISOTHERM_WARMING_MINUTE_S": str(MINUTE_S),
    "ISOTHERM_WARMING_INTERVAL_S": "0.3",
    "ISOTHERM_WARMING_BUDGET": "idle <= 0.02 GBh/day",
}
WARM: dict[str, Any] = {"spare": 0, "keep_alive_s": 3, "template_keep_alive_s": 3}


@pytest.fixture(scope="module")
def steered(can_isolate: None) -> Iterator[Platform]:
    with running_platform(environment=ENVIRONMENT) as running:
        wait_until(lambda: warmth(running)["at_ms"], "the first plan", 90)
        yield running


def warmth(platform: Platform, name: str | None = None) -> dict[str, Any]:
    path = "/api/v1/warmth" if name is None else f"/api/v1/namespaces/default/functions/{name}/warmth"
    with platform.http() as http:
        found = http.get(path)
    assert found.status_code == 200, found.text
    return dict(found.json())


def decisions(platform: Platform, name: str) -> list[dict[str, Any]]:
    ran = platform.cli("decisions", name, "--json", "--limit", "500")
    assert ran.code == 0, ran.err
    found = ran.json
    return list(found["items"] if isinstance(found, dict) else found)


def each_minutes(minutes: int, times: int, call: Callable[[], None]) -> None:
    """Call right after a minute has begun, every so many."""
    begin = (int(time.time() / MINUTE_S) // minutes + 1) * minutes
    for turn in range(times):
        at = (begin + turn * minutes) * MINUTE_S + 0.25
        time.sleep(max(0.0, at - time.time()))
        call()


def cold_causes(platform: Platform, name: str) -> list[str | None]:
    """Of its calls, oldest first: those that were cold are all kept."""
    ran = platform.cli("invocations", name, "--json", "--limit", "500")
    assert ran.code == 0, ran.err
    found = ran.json
    items = found["items"] if isinstance(found, dict) else found
    return [each["cold_cause"] for each in reversed(items) if each["cold_cause"]]


def test_a_timer_is_made_ready_before_its_minute_and_let_go_after(steered: Platform) -> None:
    steered.function("timer", CODE, warm=WARM)

    def call() -> None:
        assert steered.invoke("timer").status_code == 200

    each_minutes(3, 6, call)
    time.sleep(SHIPPED_S)
    learned = len(cold_causes(steered, "timer"))
    each_minutes(3, 6, call)
    time.sleep(SHIPPED_S)
    later = len(cold_causes(steered, "timer")) - learned
    written = decisions(steered, "timer")
    assert later <= 2, f"of 6 calls that keep-alives of a minute would have had cold: {written[:6]}"
    assert {each["rung"] for each in written} >= {"warm", "cold"} or {each["rung"] for each in written} >= {
        "warm",
        "template",
    }
    assert any(each["rung"] == "warm" and each["expected"] > 0.5 for each in written)


def test_a_cold_start_is_explained_by_what_was_decided(steered: Platform) -> None:
    steered.function("seldom", CODE, warm=WARM)
    assert steered.invoke("seldom").status_code == 200
    wait_until(lambda: decisions(steered, "seldom"), "a decision", 60)
    wait_until(lambda: not steered.temperatures("seldom")["warm"], "the end of its warmth", 60)
    before = len(cold_causes(steered, "seldom"))
    assert steered.invoke("seldom").status_code == 200
    wait_until(lambda: len(cold_causes(steered, "seldom")) > before, "the record of the cold call")
    ran = steered.cli("invocations", "seldom", "--json")
    newest = (ran.json["items"] if isinstance(ran.json, dict) else ran.json)[0]
    explained = steered.cli("explain", newest["id"], "--json")
    assert explained.code == 0, explained.err
    decision = explained.json["decision"]
    assert decision["receipt"]["name"] == "seldom"
    assert decision["receipt"]["rung"] != "warm"
    assert newest["cold_cause"] in ("let_go", "first", "template", "expired")
    words = steered.cli("explain", newest["id"]).out
    assert "policy" in words


def test_control_that_was_killed_goes_on_deciding(steered: Platform) -> None:
    steered.function("again", CODE, warm=WARM)
    before = steered.kill("control")
    wait_until(lambda: steered.pid("control") != before, "another control process", 60)

    def planned() -> bool:
        try:
            return bool(warmth(steered)["at_ms"])
        except Exception:  # noqa: BLE001 (it is not back yet)
            return False

    wait_until(planned, "a plan of the new process", 90)
    assert steered.invoke("again").status_code == 200
    wait_until(lambda: decisions(steered, "again"), "a decision about it", 60)
    assert warmth(steered)["minute_s"] == MINUTE_S
    view = warmth(steered, "again")
    assert view["policy"] == "foresight"
    assert view["price"] is not None
