"""What a real platform counted of real calls, replayed by the command that users have."""

import time

import pytest

from tests.e2e.conftest import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.root]

CODE = """
import time


def handler(event, context):
    time.sleep(event["s"])
    return "done"
"""


def test_every_call_is_replayed_kept_in_full_or_not(platform: Platform) -> None:
    """Sixty calls of one function and one of another; of the warm ones but a sample is kept in full."""
    assert platform.cli("namespaces", "create", "replayed").code == 0
    for name in ("busy", "seldom"):
        platform.function(name, CODE, "--namespace", "replayed", memory_mb=64)
    ran_ms = 0.0
    for name, calls, seconds in (("busy", 60, 0.01), ("seldom", 1, 0.2)):
        for _ in range(calls):
            answer = platform.invoke(f"replayed%2F{name}", {"s": seconds})
            assert answer.status_code == 200
            ran_ms += float(answer.headers["server-timing"].rpartition("run;dur=")[2])
    over = (int(time.time()) // 60 + 1) * 60
    argv = ("replay", "--own", "--days", "0.1", "--namespace", "replayed", "--policy", "none,fixed:10,foresight")
    time.sleep(max(0.0, over - time.time()))
    deadline = time.monotonic() + 60
    while True:  # what is of the minute that is over may still be under way
        ran = platform.cli(*argv, "--json")
        if (ran.code == 0 and ran.json["invocations"] == 61) or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert ran.code == 0, ran.err
    body = ran.json
    assert (body["trace"], body["functions"], body["invocations"]) == ("records of replayed", 2, 61)
    assert (body["memory_known"], body["durations_known"]) == (True, True)
    none, fixed, ours = body["policies"]
    assert ours["avoidable_cold_starts"] <= none["avoidable_cold_starts"]
    assert none["resolved_cold_starts"] == 61
    assert fixed["resolved_cold_starts"] < none["resolved_cold_starts"]
    assert fixed["resolved_idle_minutes"] > 0
    busy_s = fixed["busy_gb_s"] / (64 / 1024) - fixed["resolved_cold_starts"] * body["start_ms"] / 1000
    assert ran_ms >= 60 * 10 + 200
    assert busy_s == pytest.approx(ran_ms / 1000, rel=0.01)
    assert "reading the records of 'replayed'" in ran.err
