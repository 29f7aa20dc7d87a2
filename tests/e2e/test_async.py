"""Asynchronous calls and schedules as their users meet them: the command line and REST."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Platform, running_platform, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]
FLAKY = """
def handler(event, context):
    print("ran", event)
    if event["fail"]:
        raise ValueError(f"no {event['n']}")
    return {"n": event["n"]}
"""
ECHO = "def handler(event, context):\n    return event\n"
QUICK = {"retries": 1, "retry_delay_s": 0.1}


@pytest.fixture(scope="module")
def steady(can_isolate: None) -> Iterator[Platform]:
    """A platform of this file's own; a schedule runs from the start, so that its minute passes beside the tests."""
    with running_platform() as running:
        tick = running.folder / "tick"
        tick.mkdir()
        (tick / "app.py").write_text(ECHO)
        (tick / "isotherm.toml").write_text(
            'name = "tick"\n[[cron]]\nname = "every-minute"\nschedule = "* * * * *"\ntimezone = "Europe/Berlin"\n'
            "event = { from = 'cron' }\n[warm]\nkeep_alive_s = 0\ntemplate_keep_alive_s = 0\nspare = 0\n"
        )
        running.deploy(tick)
        running.function("flaky", FLAKY, asynchronous=QUICK | {"on_success": "told", "on_failure": "told"})
        running.function("told", ECHO)
        yield running


def detail(platform: Platform, call_id: str, state: str) -> Any:
    """The call once it is in that state."""

    def found() -> Any:
        shown = platform.cli("queue", "show", call_id, "--json").json
        return shown if shown["call"]["state"] == state else None

    return wait_until(found, f"{call_id} to be {state}")


def test_a_call_is_accepted_made_and_found_by_its_id(steady: Platform) -> None:
    made = steady.cli("invoke", "flaky", "--async", "-d", '{"n": 1, "fail": false}')
    assert (made.code, made.err) == (0, "")
    call_id = made.out.strip()
    found = detail(steady, call_id, "succeeded")
    assert found["result"] == {"n": 1}
    lines = wait_until(
        lambda: steady.cli("logs", "flaky", "--invocation", call_id, "--json").out.strip(), "the call's log"
    )
    assert "ran" in lines


def test_what_fails_for_good_is_a_dead_letter_and_can_be_redriven(steady: Platform) -> None:
    call_id = steady.cli("invoke", "flaky", "--async", "-d", '{"n": 2, "fail": true}').out.strip()
    dead = detail(steady, call_id, "dead")["call"]
    assert (dead["attempts"], dead["condition"], dead["error_message"]) == (2, "RetriesExhausted", "no 2")
    shown = steady.cli("queue", "show", call_id)
    assert (shown.code, "RetriesExhausted: ValueError: no 2" in shown.out) == (1, True)
    again = steady.cli("queue", "redrive", "flaky", call_id, "--json").json
    assert detail(steady, again["ids"][0], "dead")["call"]["origin"] == call_id
    assert steady.cli("queue", "purge", "flaky", "--dead", "--yes", "--json").json["count"] == 1
    events = steady.http().get("/api/v1/events", params={"namespace": "default", "limit": 2}).json()["items"]
    assert [event["data"]["action"] for event in events] == ["purge", "redrive"]


def test_destinations_hear_of_success_and_failure(steady: Platform) -> None:
    ids = [
        steady.cli("invoke", "flaky", "--async", "-d", json.dumps({"n": 3, "fail": fail})).out.strip()
        for fail in (False, True)
    ]

    def told() -> Any:
        calls = steady.cli("queue", "calls", "told", "--state", "succeeded", "--json").json["items"]
        found = {call["origin"]: call["id"] for call in calls}
        return found if set(ids) <= set(found) else None

    found = wait_until(told, "both destinations")
    conditions = [
        steady.cli("queue", "show", found[one], "--json").json["event"]["requestContext"]["condition"] for one in ids
    ]
    assert conditions == ["Success", "RetriesExhausted"]


def test_a_paused_queue_holds_calls_also_over_a_restart_of_the_host(steady: Platform) -> None:
    assert steady.cli("queue", "pause", "told").code == 0
    call_id = steady.cli("invoke", "told", "--async", "-d", "7").out.strip()
    former = steady.kill("host")
    wait_until(lambda: steady.pid("host") != former, "a new host process")
    wait_until(lambda: steady.cli("queue", "ls", "--json").code == 0, "the queue to answer again")
    state = next(queue for queue in steady.cli("queue", "ls", "--json").json["queues"] if queue["name"] == "told")
    assert (state["paused"], state["queued"]) == (True, 1)
    assert steady.cli("queue", "resume", "told").code == 0
    assert detail(steady, call_id, "succeeded")["result"] == 7


def test_events_are_accepted_while_control_is_away(steady: Platform) -> None:
    steady.kill("control")
    with steady.http() as http:
        answer = http.post("/2015-03-31/functions/told/invocations", json=8, headers={"X-Amz-Invocation-Type": "Event"})
    assert (answer.status_code, answer.content) == (202, b"")
    wait_until(lambda: steady.cli("status", "--json").code == 0, "control's answer")
    assert detail(steady, answer.headers["x-amzn-requestid"], "succeeded")["result"] == 8
    assert answer.headers["location"].endswith(answer.headers["x-amzn-requestid"])


def test_a_schedule_wakes_its_function_each_minute(steady: Platform) -> None:
    listed = steady.cli("triggers", "tick", "--json").json["items"]
    assert [trigger["kind"] for trigger in listed] == ["url", "cron"]
    assert len(listed[1]["next_at_ms"]) == 5
    assert (listed[1]["next_at_ms"][0] - time.time() * 1000) <= 60_000

    def called() -> Any:
        return steady.cli("queue", "calls", "tick", "--state", "succeeded", "--json").json["items"]

    calls = wait_until(called, "the schedule's call", 75.0)
    assert {call["source"] for call in calls} == {"cron"}
    assert steady.cli("queue", "show", calls[0]["id"], "--json").json["event"] == {"from": "cron"}
