"""Rollouts of a real platform under constant load: every strategy, bad revisions, and deaths in the middle."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Platform, Ran, running_platform, wait_until
from tests.e2e.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]
CODE = "import time\n\ndef handler(event, context):\n    time.sleep(0.003)\n    return 'VERSION'\n"
FAILING = "def handler(event, context):\n    raise ValueError('bad revision')\n"
SLOW = CODE.replace("0.003", "0.2").replace("VERSION", "v2")
QUICK = ("--steps", "10,50,100", "--step-s", "0.5", "--min-samples", "40")
END_S = 90.0


@pytest.fixture(scope="module")
def rolling(can_isolate: None) -> Iterator[Platform]:
    """A platform for this file's harm."""
    with running_platform() as running:
        yield running


def two_revisions(platform: Platform, name: str, second: str | None = None) -> None:
    """Revision 1 live, revision 2 ready beside it."""
    platform.function(name, CODE.replace("VERSION", "v1"))
    platform.function(name, second or CODE.replace("VERSION", "v2"))
    assert platform.cli("rollback", name).code == 0


def rollout(platform: Platform, name: str, *flags: str) -> Ran:
    """Of revision 2, watched to its end."""
    return platform.cli("rollout", name, "2", *flags, "--watch", "--json", timeout_s=END_S)


def newest(platform: Platform, name: str) -> Any:
    ran = platform.cli("rollout", "status", name, "--json")
    assert ran.code == 0, ran.out + ran.err
    return ran.json


def ended(platform: Platform, name: str) -> Any:
    return wait_until(lambda: (found := newest(platform, name))["state"] != "open" and found, "its end", END_S)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("at-once", ()),
        ("canary", QUICK),
        ("blue-green", ("--strategy", "blue-green", "--bake-s", "2")),
        ("shadowed", (*QUICK, "--shadow", "50")),
    ],
)
def test_a_rollout_under_load_loses_no_call(rolling: Platform, name: str, flags: tuple[str, ...]) -> None:
    two_revisions(rolling, name)
    with Load(rolling, name) as load:
        load.wait_for_more(100)
        done = rollout(rolling, name, *flags)
        load.wait_for_more(100)
    assert (done.code, load.failures) == (0, []), done.out + done.err
    assert done.json["state"] == "finished"
    assert set(load.answers) == {'"v1"', '"v2"'}
    assert rolling.invoke(name).json() == "v2"


def test_a_deploy_by_canary_goes_over_step_by_step(rolling: Platform) -> None:
    rolling.function("deployed", CODE.replace("VERSION", "v1"))
    with Load(rolling, "deployed") as load:
        load.wait_for_more(50)
        rolling.function(
            "deployed", CODE.replace("VERSION", "v2"), rollout={"strategy": "canary", "step_s": 0.5, "min_samples": 40}
        )
        assert newest(rolling, "deployed")["plan"]["strategy"] == "canary"
        assert ended(rolling, "deployed")["state"] == "finished"
        load.wait_for_more(50)
    assert load.failures == []
    assert rolling.invoke("deployed").json() == "v2"


def test_a_revision_that_fails_goes_back_by_itself_with_the_evidence(rolling: Platform) -> None:
    two_revisions(rolling, "failing", FAILING)
    with Load(rolling, "failing") as load:
        load.wait_for_more(200)
        back = rollout(rolling, "failing", *QUICK)
        load.wait_for_more(100)
        after = len(load.failures)
        load.wait_for_more(200)
    assert (back.code, back.json["code"], back.json["data"]["rule"]) == (1, "rolled_back", "errors")
    assert back.json["data"]["reading"]["error_e"] >= back.json["data"]["reading"]["threshold"]
    assert all("bad revision" in failure for failure in load.failures), "what failed is the revision, not the platform"
    assert 0 < len(load.failures) < 200
    assert len(load.failures) == after, "once it is back, nothing fails"
    with rolling.http() as http:
        events = http.get("/api/v1/events", params={"namespace": "default", "limit": 20}).json()["items"]
    evidence = next(each["data"] for each in events if each["kind"] == "workload.rollout_rolled_back")
    assert evidence["reading"]["new"]["errors"] >= 10


def test_a_revision_that_is_slow_goes_back_by_itself(rolling: Platform) -> None:
    two_revisions(rolling, "slow", SLOW)
    with Load(rolling, "slow") as load:
        load.wait_for_more(200)
        back = rollout(rolling, "slow", *QUICK, "--min-samples", "1000")
        load.wait_for_more(50)
    assert (back.code, back.json["data"]["rule"], load.failures) == (1, "latency", []), back.out
    assert rolling.invoke("slow").json() == "v1"


def test_what_only_a_shadow_meets_no_caller_does(rolling: Platform) -> None:
    two_revisions(rolling, "shadow", FAILING)
    with Load(rolling, "shadow") as load:
        load.wait_for_more(100)
        back = rollout(rolling, "shadow", *QUICK, "--shadow", "20")
        load.wait_for_more(50)
    assert (back.code, back.json["data"]["rule"], load.failures) == (1, "errors", []), back.out
    assert set(load.answers) == {'"v1"'}


def test_a_rollback_in_the_middle_loses_no_call(rolling: Platform) -> None:
    two_revisions(rolling, "back")
    with Load(rolling, "back") as load:
        load.wait_for_more(50)
        assert rolling.cli("rollout", "back", "2", "--steps", "50,100", "--step-s", "3600").code != 0
        assert rolling.cli("rollout", "back", "2", "--steps", "50,100", "--min-samples", "1000000").code == 0
        wait_until(lambda: load.answers['"v2"'] > 20, "calls of the new revision")
        refused = rolling.cli("alias", "set", "back", "live", "2")
        assert (refused.code, "isotherm rollout abort" in refused.err) == (73, True)
        assert rolling.cli("rollback", "back").code == 0
        load.wait_for_more(50)
        before = load.answers['"v2"']
        load.wait_for_more(200)
    assert load.failures == []
    assert load.answers['"v2"'] == before
    assert newest(rolling, "back")["rule"] == "asked"


def test_a_pause_holds_it_and_a_resume_lets_it_go(rolling: Platform) -> None:
    two_revisions(rolling, "paused")
    with Load(rolling, "paused") as load:
        load.wait_for_more(50)
        assert rolling.cli("rollout", "paused", "2", *QUICK, "--step-s", "8").code == 0
        wait_until(lambda: newest(rolling, "paused")["step"] >= 1, "its first step")
        held = rolling.cli("rollout", "pause", "paused", "--json").json
        load.wait_for_more(500)
        assert newest(rolling, "paused")["step"] == held["step"]
        assert rolling.cli("rollout", "resume", "paused").code == 0
        assert ended(rolling, "paused")["state"] == "finished"
    assert load.failures == []


def test_control_killed_in_the_middle_goes_on_where_it_was_and_loses_no_call(rolling: Platform) -> None:
    two_revisions(rolling, "orphan")
    with Load(rolling, "orphan") as load:
        load.wait_for_more(100)
        assert rolling.cli("rollout", "orphan", "2", *QUICK, "--step-s", "2").code == 0
        for step in (1, 2):
            wait_until(lambda step=step: newest(rolling, "orphan")["step"] >= step, f"step {step}", END_S)
            rolling.kill("control")
        assert ended(rolling, "orphan")["state"] == "finished"
        load.wait_for_more(50)
    assert load.failures == []
    assert rolling.invoke("orphan").json() == "v2"


def test_a_host_killed_before_the_switch_is_warm_again_before_it(rolling: Platform) -> None:
    two_revisions(rolling, "reborn")
    with Load(rolling, "reborn") as load:
        load.wait_for_more(100)
        assert rolling.cli("rollout", "reborn", "2", *QUICK, "--step-s", "3").code == 0
        wait_until(lambda: newest(rolling, "reborn")["step"] >= 1, "its first step")
        rolling.kill("host")
        time.sleep(2)  # a kill excuses the calls in flight and those that begin within two seconds
        excused = len(load.failures)
        assert ended(rolling, "reborn")["state"] == "finished"
        load.wait_for_more(50)
    assert len(load.failures) == excused, load.failures[excused:]
    assert rolling.invoke("reborn").json() == "v2"
