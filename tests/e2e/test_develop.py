"""The inner loop on a real platform: `dev`, `test`, `replay-call`, and what they leave behind."""

import json
import signal
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from isotherm.base.runtimes import find_node
from tests.conftest import require
from tests.e2e.conftest import Platform, wait_until
from tests.e2e.developing import Dap, developing, without_platform

pytestmark = [pytest.mark.e2e, pytest.mark.root]

GREETER = """import os

def handler(event, context):
    print("greeting", event.get("name"))
    return {"message": "%s " + event.get("name", "you"), "from": os.environ.get("AWS_LAMBDA_FUNCTION_NAME")}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    code = tmp_path / "greeter"
    code.mkdir()
    (code / "isotherm.toml").write_text('name = "greeter"\nhandler = "app.handler"\n')
    (code / "app.py").write_text(GREETER % "Hello")
    return code


def save(folder: Path, text: str, name: str = "app.py") -> None:
    """As editors do: another file takes the place of the former."""
    fresh = folder / f".{name}.swp"
    fresh.write_text(text)
    fresh.rename(folder / name)


def message(platform: Platform, url: str) -> Any:
    with httpx.Client(headers=platform.headers, timeout=30) as http:
        return http.get(url).json()["message"]


def functions(platform: Platform) -> list[str]:
    return [each["name"] for each in platform.cli("ls", "--json").json["items"]]


def test_a_save_is_served_at_the_next_request_and_all_goes_at_the_end(platform: Platform, folder: Path) -> None:
    with developing(folder, platform.environment) as dev:
        ready = dev.next("ready")
        assert ready["name"] == "greeter-dev"
        dev.next("watching")
        assert message(platform, ready["url"]) == "Hello you"
        save(folder, GREETER % "Welcome")
        reloaded = dev.next("reloaded")
        assert message(platform, ready["url"]) == "Welcome you"
        assert reloaded["files"] == ["app.py"]
        assert set(reloaded["steps_ms"]) >= {"watch", "pack", "upload", "deploy", "build"}
        assert len(platform.cli("versions", "greeter-dev", "--json").json["items"]) == 1, "only the newest stays"
        assert dev.stop() == 0
        dev.next("removed")
    assert "greeter-dev" not in functions(platform)


def test_errors_have_file_and_line_and_the_former_code_goes_on(platform: Platform, folder: Path) -> None:
    with developing(folder, platform.environment) as dev:
        url = dev.next("ready")["url"]
        dev.next("watching")
        save(folder, "def handler(event, context)\n    return 1\n")
        error = dev.next("error")
        assert error["place"] == f"{folder / 'app.py'}:1", error
        dev.next("kept")
        assert message(platform, url) == "Hello you"
        save(folder, "import json\n\nimport nothing_of_that_name\n")
        assert dev.next("error")["place"] == f"{folder / 'app.py'}:3"
        (folder / "isotherm.toml").write_text('name = "greeter"\nmemory = 5\n')
        assert "memory" in dev.next("error")["problem"]["detail"]
        (folder / "isotherm.toml").write_text('name = "greeter"\n')
        save(folder, GREETER % "Again")
        dev.next("reloaded")
        assert message(platform, url) == "Again you"


def test_logs_are_inline_and_lines_of_input_are_events(platform: Platform, folder: Path) -> None:
    with developing(folder, platform.environment) as dev:
        dev.next("ready")
        dev.next("watching")
        time.sleep(0.5)  # until the log is followed
        began = time.monotonic()
        dev.type('{"name": "Ada"}\n')
        answer = dev.next("answer")
        assert json.loads(answer["payload"])["message"] == "Hello Ada"
        line = next((each for each in dev.seen if each["event"] == "log"), None) or dev.next("log")
        assert (line["message"].strip(), line["request_id"]) == ("greeting Ada", answer["request_id"])
        assert time.monotonic() - began < 30


def test_what_is_ignored_reloads_nothing(platform: Platform, folder: Path) -> None:
    (folder / ".isothermignore").write_text("notes/\n*.md\n")
    with developing(folder, platform.environment) as dev:
        dev.next("ready")
        dev.next("watching")
        (folder / "notes").mkdir()
        (folder / "notes" / "todo.txt").write_text("x")
        (folder / "README.md").write_text("x")
        (folder / "app.py~").write_text("x")
        time.sleep(1.0)
        save(folder, GREETER % "Later")
        assert dev.next("reloaded")["files"] == ["app.py"]
        assert [each["event"] for each in dev.seen].count("reloaded") == 1


def test_a_development_function_and_one_in_production_never_mix(platform: Platform, folder: Path) -> None:
    platform.function("taken", GREETER % "Real")
    with developing(folder, platform.environment, "--name", "taken") as dev:
        assert dev.next("error")["problem"]["code"] == "conflict"
    assert platform.invoke("taken").json()["message"] == "Real you", "and it is not removed either"
    with developing(folder, platform.environment, "--name", "mine") as dev:
        dev.next("ready")
        refused = platform.cli("deploy", str(folder), "--name", "mine", "--json")
        assert refused.json["code"] == "conflict"


def test_without_a_platform_one_is_started_for_the_session(platform: Platform, folder: Path) -> None:
    with developing(folder, without_platform(platform)) as dev:
        ready = dev.next("ready", 90)
        assert ready["url"] != ""
        dev.type("{}\n")
        assert json.loads(dev.next("answer")["payload"])["message"] == "Hello you"
        assert dev.stop(signal.SIGTERM) == 0
    assert not list(Path("/tmp").glob("isotherm-dev-*/data")), "its folder is gone"


def attach(dap: Dap, folder: Path, line: int) -> None:
    dap.call("initialize", adapterID="test", linesStartAt1=True, columnsStartAt1=True, pathFormat="path")
    attached = dap.ask("attach", pathMappings=[{"localRoot": str(folder), "remoteRoot": "/code"}], justMyCode=True)
    dap.event("initialized")
    found = dap.call(
        "setBreakpoints", source={"path": str(folder / "app.py")}, breakpoints=[{"line": line}], lines=[line]
    )
    assert found["breakpoints"][0]["verified"], found
    dap.call("configurationDone")
    assert attached


COUNTING = """def handler(event, context):
    total = event["a"] + event["b"]
    return {"total": total}
"""


def test_a_breakpoint_is_hit_with_a_local_variable_and_time_stands_still(platform: Platform, folder: Path) -> None:
    (folder / "app.py").write_text(COUNTING)
    (folder / "isotherm.toml").write_text('name = "greeter"\ntimeout_s = 2\nqueue_wait_s = 2\n')
    with developing(folder, platform.environment, "--debug", "--debug-port", "0") as dev:
        dev.next("ready", 60)
        port = dev.next("debugger")["port"]
        dap = Dap(port)
        attach(dap, folder, 3)
        dev.type('{"a": 2, "b": 40}\n')
        stopped = dap.event("stopped")
        assert stopped["reason"] == "breakpoint"
        frame = dap.call("stackTrace", threadId=stopped["threadId"])["stackFrames"][0]
        assert (frame["source"]["path"], frame["line"]) == (str(folder / "app.py"), 3)
        scope = dap.call("scopes", frameId=frame["id"])["scopes"][0]
        variables = dap.call("variables", variablesReference=scope["variablesReference"])["variables"]
        assert {each["name"]: each["value"] for each in variables}["total"] == "42"
        time.sleep(4.0)  # twice the time limit of the handler, and of the queue
        dap.call("continue", threadId=stopped["threadId"])
        assert json.loads(dev.next("answer")["payload"]) == {"total": 42}
        # A debugger that hangs up leaves nothing standing, and another may attach.
        dap.close()
        dev.type('{"a": 1, "b": 1}\n')
        assert json.loads(dev.next("answer")["payload"]) == {"total": 2}
        again = Dap(port)
        attach(again, folder, 2)
        dev.type('{"a": 1, "b": 2}\n')
        stopped = again.event("stopped")
        again.close()
        assert json.loads(dev.next("answer")["payload"]) == {"total": 3}
        # After a reload the former instance's debugger is hung up on, and the next attaches to the new code.
        save(folder, COUNTING.replace("+", "*"))
        dev.next("reloaded", 60)
        third = Dap(port)
        attach(third, folder, 3)
        dev.type('{"a": 3, "b": 3}\n')
        third.call("continue", threadId=third.event("stopped")["threadId"])
        assert json.loads(dev.next("answer")["payload"]) == {"total": 9}
        third.close()


def test_a_debugger_reaches_no_production_and_needs_a_developer(platform: Platform, folder: Path) -> None:
    platform.function("solid", GREETER % "Real")
    head = {"Transfer-Encoding": "chunked"}

    def knock(name: str, key: str) -> dict[str, Any]:
        path = f"/api/v1/namespaces/default/functions/{name}/debugger"
        with platform.http() as http:
            answer = http.post(path, content=iter([b"x"]), headers=head | {"Authorization": f"Bearer {key}"})
        found: dict[str, Any] = answer.json()
        return found

    assert knock("solid", platform.ready["admin_key"])["code"] == "conflict"
    viewer = platform.cli("keys", "create", "v", "--role", "viewer", "--json").json["token"]
    invoker = platform.cli("keys", "create", "i", "--role", "invoker", "--json").json["token"]
    with developing(folder, platform.environment, "--debug", "--debug-port", "0") as dev:
        dev.next("ready", 60)
        for key in (viewer, invoker):
            assert knock("greeter-dev", key)["code"] == "forbidden"
        assert knock("greeter-dev", "iso_nobody")["code"] == "unauthenticated"
    with platform.http() as http:
        package = platform.cli("show", "solid", "--json").json["latest"]["config"]["package"]
        put = http.put("/api/v1/namespaces/default/functions/sneaky", json={"package": package, "debug": True})
        assert put.json()["code"] == "invalid", "no debugger without development"


@pytest.mark.parametrize("template", ["python", "nodejs", "nodejs-cjs", "bash", "c"])
def test_every_template_deploys_and_passes_its_own_tests(platform: Platform, tmp_path: Path, template: str) -> None:
    require(find_node() is not None or "node" not in template, "Node.js is not installed")
    folder = tmp_path / f"my-{template}"
    assert platform.cli("init", str(folder), "--template", template).code == 0
    if (folder / "Makefile").is_file():
        subprocess.run(["make", "-C", folder], check=True, capture_output=True, timeout=60)
    junit = tmp_path / "junit.xml"
    ran = platform.cli("test", str(folder), "--junit", str(junit))
    assert ran.code == 0, ran.out + ran.err
    assert " passed in " in ran.out
    assert 'failures="0"' in junit.read_text()
    assert not [name for name in functions(platform) if "-test-" in name], "nothing is left"
    platform.deploy(folder)
    event = min(path for path in (folder / "events").glob("*.json") if "expect" not in path.name)
    assert platform.cli("invoke", f"my-{template}", "-d", f"@{event}").code == 0


def test_a_test_that_fails_says_how_and_exits_1(platform: Platform, folder: Path, tmp_path: Path) -> None:
    events = folder / "events"
    events.mkdir()
    (events / "good.json").write_text('{"name": "Ada"}')
    (events / "good.expect.json").write_text('{"matches": {"/message": "^Hello A"}, "log": ["greeting Ada"]}')
    (events / "bad.json").write_text('{"name": "Bob"}')
    (events / "bad.expect.json").write_text('{"contains": {"message": "Hello Alice"}, "max_ms": 0.000001}')
    junit = tmp_path / "junit.xml"
    ran = platform.cli("test", str(folder), "--junit", str(junit), "--json")
    assert ran.code == 1, ran.out + ran.err
    verdicts = {each["name"]: each for each in ran.json["cases"]}
    assert verdicts["good"]["passed"], verdicts
    assert 'expected "Hello Alice", got "Hello Bob"' in verdicts["bad"]["problems"][0]
    assert "max_ms" in verdicts["bad"]["problems"][1]
    assert 'failures="1"' in junit.read_text()
    shown = platform.cli("test", str(folder), "-k", "bad")
    assert (shown.code, "1 failed" in shown.out, "greeting Bob" in shown.out) == (1, True, True)


REPLAYED = """def handler(event, context):
    if event.get("fail"):
        raise %s("no")
    return {"total": event.get("n", 0) * %d, "id": context.aws_request_id}
"""


def test_a_recorded_call_is_made_again_against_another_revision(platform: Platform) -> None:
    name = "replayed"
    platform.function(name, REPLAYED % ("ValueError", 2), records={"events": "all"})
    call = platform.invoke(name, {"n": 21}).headers["x-amzn-requestid"]
    failed = platform.invoke(name, {"fail": True}).headers["x-amzn-requestid"]
    platform.function(name, REPLAYED % ("KeyError", 3), records={"events": "all"})

    def recorded(call_id: str) -> bool:
        with platform.http() as http:
            return http.get(f"/api/v1/namespaces/default/invocations/{call_id}/event").status_code == 200

    wait_until(lambda: recorded(call) and recorded(failed), "the calls are recorded")
    replay = ("replay-call", "--yes", "--json", "--ignore", "/id")
    unlike = platform.cli(*replay, call)
    assert unlike.code == 1, unlike.out + unlike.err
    assert unlike.json["differences"] == ["/total: 42 before, 63 now"]
    alike = platform.cli(*replay, call, "--revision", "1")
    assert (alike.code, alike.json["alike"]) == (0, True)
    worse = platform.cli(*replay, failed)
    assert worse.code == 1
    assert worse.json["differences"] == ["status: failed with ValueError before, failed with KeyError now"]
    assert "--yes" in platform.cli("replay-call", call).err


def test_a_call_without_its_event_says_how_to_have_it_kept(platform: Platform) -> None:
    platform.function("unkept", REPLAYED % ("ValueError", 2))
    failed = platform.invoke("unkept", {"fail": True, "n": 7}).headers["x-amzn-requestid"]

    def kept() -> bool:
        with platform.http() as http:
            return http.get(f"/api/v1/namespaces/default/invocations/{failed}").status_code == 200

    wait_until(kept, "the call is recorded")
    ran = platform.cli("replay-call", failed, "--yes", "--json")
    assert ran.json["code"] == "not_found"
    assert "[records]" in ran.json["detail"]


def test_an_asynchronous_call_is_replayed_by_its_id(platform: Platform) -> None:
    platform.function("later-replayed", REPLAYED % ("ValueError", 2))
    call = platform.cli("invoke", "later-replayed", "--async", "-d", '{"n": 4}').out.strip()
    wait_until(
        lambda: platform.cli("queue", "show", call, "--json").json.get("call", {}).get("state") == "succeeded",
        "the call is made",
    )
    ran = platform.cli("replay-call", call, "--yes", "--json")
    assert ran.code == 0, ran.out + ran.err
    assert ran.json["second"]["answer"]["total"] == 8


def test_only_developers_read_events_and_they_are_sealed(platform: Platform) -> None:
    platform.function("kept", REPLAYED % ("ValueError", 2), records={"events": "errors"})
    failed = platform.invoke("kept", {"fail": True, "word": "xylophone"}).headers["x-amzn-requestid"]
    path = f"/api/v1/namespaces/default/invocations/{failed}/event"
    with platform.http() as http:
        wait_until(lambda: http.get(path).status_code == 200, "the event is kept")
        assert http.get(path).json()["word"] == "xylophone"
        viewer = platform.cli("keys", "create", "looker", "--role", "viewer", "--json").json["token"]
        assert http.get(path, headers={"Authorization": f"Bearer {viewer}"}).status_code == 403
    for file in (platform.folder / "data").rglob("*"):
        if file.is_file():
            assert b"xylophone" not in file.read_bytes(), file


def test_time_limits_that_contradict_each_other_are_named_at_the_deploy(platform: Platform, folder: Path) -> None:
    (folder / "isotherm.toml").write_text('name = "greeter"\n[asynchronous]\nmax_age_s = 1\nretry_delay_s = 5\n')
    refused = platform.cli("deploy", str(folder), "--json")
    assert refused.json["code"] == "invalid"
    for word in ("asynchronous.max_age_s = 1 s", "asynchronous.retry_delay_s = 5 s"):
        assert word in refused.json["detail"]
    (folder / "isotherm.toml").write_text('name = "greeter"\ntimeout_s = 120\n')
    warned = platform.cli("deploy", str(folder), "--json")
    assert any("drain_timeout_s = 30 s (ISOTHERM_DRAIN_TIMEOUT_S)" in each for each in warned.json["warnings"])


@pytest.mark.slow
def test_thirty_saves_are_each_served_within_a_second(platform: Platform, folder: Path) -> None:
    """The promise with room for a busy machine; `python -m benchmarks reload` measures it."""
    took_ms = []
    with developing(folder, platform.environment) as dev:
        url = dev.next("ready")["url"]
        dev.next("watching")
        for number in range(30):
            began = time.monotonic()
            save(folder, GREETER % f"Number {number}")
            while message(platform, url) != f"Number {number} you":
                assert time.monotonic() - began < 10
                time.sleep(0.005)
            took_ms.append((time.monotonic() - began) * 1000)
            dev.next("reloaded")
    assert statistics.median(took_ms) < 1000, sorted(took_ms)
