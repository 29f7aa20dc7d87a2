"""The commands against a scripted platform: what they ask, what they print, how they exit."""

import base64
import io
import json
import os
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isotherm.base.errors import all_errors
from isotherm.base.runtimes import find_node
from isotherm.functions.manifest import read_manifest
from isotherm.wire.eventstream import encode_event

Isotherm = Callable[..., Any]
FUNCTIONS = "/api/v1/namespaces/default/functions"
REVISION = {
    "id": "rev_1",
    "number": 1,
    "state": "building",
    "created_at_ms": 0,
    "config": {"package": "ab" * 32, "memory_mb": 128, "env": {"A": "1"}},
}
FUNCTION = {
    "id": "wl_1",
    "namespace": "default",
    "name": "hello",
    "url": "http://127.0.0.1:7071/hello/",
    "live": [{"number": 1, "weight": 1.0}],
    "latest": REVISION | {"state": "ready"},
    "states": [{"revision_id": "rev_1", "temperatures": {"warm": 2, "hot": 0}, "memory_bytes": 5_000_000}],
    "etag": "e",
}


def ndjson(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "isotherm.toml").write_text('name = "hello"\nmemory_mb = 128\n[env]\nA = "1"\n')
    (tmp_path / "app.py").write_text("def handler(event, context): return event\n")
    return tmp_path


@pytest.fixture
def deployable(platform: Any) -> Any:
    package = {"digest": "ab" * 32, "size_bytes": 10, "files": 2, "requirements": None}
    platform.on("POST /api/v1/namespaces/default/packages", package, 201)
    platform.on(f"PUT {FUNCTIONS}/hello", REVISION, 202)
    platform.on(f"GET {FUNCTIONS}/hello", FUNCTION)
    platform.on(
        f"GET {FUNCTIONS}/hello/revisions/1/progress",
        ndjson(
            {"step": "unpack", "state": "done", "message": "", "elapsed_ms": 12.0},
            {"done": True, "state": "ready", "url": "http://127.0.0.1:7071/hello/", "problem": None},
        ),
    )
    return platform


def test_help_is_fast_and_loads_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv=['isotherm','--help']\n"
        "from isotherm.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'httpx', 'fastapi', 'sqlalchemy', 'uvloop', 'cryptography', 'asyncio', 'numpy', 'scipy', 'numba',"
        " 'torch', 'onnxruntime', 'statsforecast'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    took_s, libraries_s = [], []
    for _ in range(3):  # CPU time, beside that of the two libraries: the machine may be busy, or slow today
        took_s.append(cpu_s(program))
        libraries_s.append(cpu_s("import typer, rich"))
    assert min(took_s) < 4 * min(libraries_s)  # forty commands are made ready before one is chosen


def cpu_s(program: str) -> float:
    """What an interpreter takes to run it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=20)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_every_command_has_help_and_json(isotherm: Isotherm) -> None:
    listing = isotherm("--help").out
    for name in (
        "up", "doctor", "init", "login", "deploy", "invoke", "ls", "show", "logs", "versions", "alias", "rollback",
        "rm", "keys", "explain", "namespaces", "secrets", "status", "settings", "replay", "train",
        "decisions", "warmth",
    ):  # fmt: skip
        assert name in listing
        ran = isotherm(name, "--help")
        assert ran.code == 0
        assert "--json" in ran.out or name in ("alias", "keys", "namespaces", "replay", "secrets")


def test_deploy_uploads_the_folder_and_ends_with_the_url(isotherm: Isotherm, deployable: Any, code: Path) -> None:
    ran = isotherm("deploy", str(code))
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0].startswith("deployed hello revision 1 in ")
    assert ran.out.splitlines()[1] == "http://127.0.0.1:7071/hello/"
    assert "  unpack            12 ms" in ran.err
    upload = next(each for each in deployable.asked if each.method == "POST")
    assert upload.headers["Authorization"] == "Bearer iso_test"
    assert upload.headers["Content-Type"] == "application/zip"
    assert sorted(zipfile.ZipFile(io.BytesIO(upload.body)).namelist()) == ["app.py", "isotherm.toml"]
    put = next(each for each in deployable.asked if each.method == "PUT")
    assert put.json["package"] == "ab" * 32
    assert put.json["memory_mb"] == 128


def test_deploy_flags_change_the_manifest(isotherm: Isotherm, deployable: Any, code: Path) -> None:
    assert isotherm("deploy", str(code), "-e", "B=2=3", "--public").code == 0
    put = next(each for each in deployable.asked if each.method == "PUT")
    assert put.json["env"] == {"A": "1", "B": "2=3"}
    assert put.json["public"] is True
    assert isotherm("deploy", str(code), "-e", "B").code == 64


def test_deploy_of_unchanged_code_says_so(isotherm: Isotherm, deployable: Any, code: Path) -> None:
    deployable.on(f"PUT {FUNCTIONS}/hello", REVISION | {"state": "ready"})
    ran = isotherm("deploy", str(code))
    assert ran.out.startswith("unchanged hello revision 1")


def test_deploy_of_what_was_live_before_says_that_it_has_the_calls_again(
    isotherm: Isotherm, deployable: Any, code: Path
) -> None:
    deployable.on(f"PUT {FUNCTIONS}/hello", REVISION | {"number": 4, "state": "ready"})
    assert isotherm("deploy", str(code)).out.startswith("live again: hello revision 4")


def test_a_deploy_that_fails_prints_the_users_traceback(isotherm: Isotherm, deployable: Any, code: Path) -> None:
    problem = {
        "code": "import_failed",
        "detail": "app.py could not be imported",
        "data": {"error_type": "NameError", "error_message": "x", "stack_trace": ['  File "/code/app.py", line 1\n']},
    }
    line = {"done": True, "state": "failed", "url": None, "problem": problem}
    deployable.on(f"GET {FUNCTIONS}/hello/revisions/1/progress", ndjson(line))
    ran = isotherm("deploy", str(code))
    assert ran.code == 65
    assert "error: app.py could not be imported" in ran.err
    assert 'File "/code/app.py", line 1' in ran.err
    assert "NameError: x" in ran.err
    assert "revision 1 goes on serving" in ran.err
    assert isotherm("deploy", str(code), "--json").json["code"] == "import_failed"


def test_a_failed_build_prints_the_end_of_its_output(isotherm: Isotherm, deployable: Any, code: Path) -> None:
    problem = {"code": "build_failed", "detail": "pip failed", "data": {"log": "ERROR: No matching distribution\n"}}
    line = {"done": True, "state": "failed", "url": None, "problem": problem}
    deployable.on(f"GET {FUNCTIONS}/hello/revisions/1/progress", ndjson(line))
    ran = isotherm("deploy", str(code))
    assert ran.code == 65
    assert "  ERROR: No matching distribution" in ran.err


def test_a_bad_manifest_names_file_and_key(isotherm: Isotherm, platform: Any, code: Path) -> None:
    (code / "isotherm.toml").write_text('name = "hello"\nmemroy_mb = 1\n')
    ran = isotherm("deploy", str(code))
    assert ran.code == 78
    assert f"{code}/isotherm.toml: memroy_mb: unknown key; did you mean memory_mb?" in ran.err
    assert not platform.asked


def invocation(name: str = "default%2Fhello") -> str:
    return f"POST /2015-03-31/functions/{name}/invocations"


def test_invoke_prints_the_answer_as_it_came(isotherm: Isotherm, platform: Any, tmp_path: Path) -> None:
    platform.on(invocation(), {"a": 1}, headers={"X-Amz-Executed-Version": "3"})
    ran = isotherm("invoke", "hello", "-d", '{"x": 1}', "-q", "live")
    assert (ran.code, ran.out) == (0, '{"a": 1}\n')
    assert platform.asked[-1].json == {"x": 1}
    assert platform.asked[-1].query == "Qualifier=live"
    (tmp_path / "event.json").write_text("[1]")
    isotherm("invoke", "hello", "-d", f"@{tmp_path}/event.json")
    assert platform.asked[-1].body == b"[1]"
    as_json = isotherm("invoke", "hello", "--json").json
    assert (as_json["payload"], as_json["version"]) == ({"a": 1}, "3")


def test_invoke_stream_prints_the_pieces_and_fails_with_the_function(isotherm: Isotherm, platform: Any) -> None:
    path = "POST /2021-11-15/functions/default%2Fhello/response-streaming-invocations"
    pieces = [encode_event("PayloadChunk", "a/b", piece) for piece in (b"one ", b"two")]
    complete = [encode_event("InvokeComplete", "application/json", b"{}")]
    platform.on(path, b"".join(pieces + complete))
    ran = isotherm("invoke", "hello", "--stream", "-d", '{"x": 1}')
    assert (ran.code, ran.out, platform.asked[-1].json) == (0, "one two\n", {"x": 1})
    details = json.dumps({"errorType": "KeyError", "errorMessage": "late", "stackTrace": ["in handler"]})
    failed = json.dumps({"ErrorCode": "Unhandled", "ErrorDetails": details}).encode()
    platform.on(path, b"".join([*pieces, encode_event("InvokeComplete", "application/json", failed)]))
    ran = isotherm("invoke", "hello", "--stream")
    assert (ran.code, ran.out) == (1, "one two\n")
    assert "KeyError: late" in ran.err
    platform.on(path, b"".join(pieces))
    ran = isotherm("invoke", "hello", "--stream")
    assert ran.code != 0
    assert "broke off" in ran.err


def test_invoke_reads_standard_input(isotherm: Isotherm, platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    platform.on(invocation(), {})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'"in"')))
    assert isotherm("invoke", "hello", "-d", "-").code == 0
    assert platform.asked[-1].body == b'"in"'


def test_invoke_refuses_what_is_not_json_before_it_asks(isotherm: Isotherm, platform: Any) -> None:
    ran = isotherm("invoke", "hello", "-d", "text")
    assert ran.code == 64
    assert "not JSON" in ran.err
    assert not platform.asked


def test_invoke_prints_the_handlers_traceback_and_exits_1(isotherm: Isotherm, platform: Any) -> None:
    body = {"errorType": "KeyError", "errorMessage": "'x'", "stackTrace": ['  File "/code/app.py", line 2\n']}
    platform.on(invocation(), body, headers={"X-Amz-Function-Error": "Unhandled", "X-Amzn-RequestId": "r-1"})
    ran = isotherm("invoke", "hello")
    assert ran.code == 1
    assert "error: KeyError: 'x' (request r-1)" in ran.err
    assert "/code/app.py" in ran.err
    as_json = isotherm("invoke", "hello", "--json")
    assert as_json.code == 1
    assert as_json.json["error"] == "Unhandled"


def test_invoke_tail_prints_the_log_beside_the_answer(isotherm: Isotherm, platform: Any) -> None:
    log = base64.b64encode(b"START\nhello\n").decode()
    platform.on(invocation(), {}, headers={"X-Amz-Log-Result": log})
    ran = isotherm("invoke", "hello", "--tail")
    assert ran.out == "{}\n"
    assert ran.err == "START\nhello\n"
    assert platform.asked[-1].headers["X-Amz-Log-Type"] == "Tail"


def test_a_name_with_a_namespace_is_sent_as_it_is(isotherm: Isotherm, platform: Any) -> None:
    platform.on(invocation("team%2Fhello"), {})
    assert isotherm("invoke", "team/hello").code == 0
    assert isotherm("invoke", "hello", "-n", "team").code == 0


@pytest.mark.parametrize("code_name", sorted(all_errors()))
def test_every_refusal_exits_by_its_code(
    isotherm: Isotherm, platform: Any, code_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isotherm.cli.connect.RETRY_S", 0.0)
    kind = all_errors()[code_name]
    platform.on(f"GET {FUNCTIONS}", kind("it went wrong").problem(), kind.status)
    ran = isotherm("ls")
    assert (ran.code, ran.err) == (kind.exit_code, "error: it went wrong\n")
    assert isotherm("ls", "--json").json["code"] == code_name


def test_an_absent_platform_says_what_to_do(isotherm: Isotherm, platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOTHERM_URL", "http://127.0.0.1:1")
    ran = isotherm("ls")
    assert ran.code == 69
    assert "cannot reach http://127.0.0.1:1" in ran.err
    assert "isotherm up" in ran.err


def test_an_answer_from_something_else_is_named(isotherm: Isotherm, platform: Any) -> None:
    platform.on(f"GET {FUNCTIONS}", b"<html>hello</html>")
    ran = isotherm("ls")
    assert ran.code == 70
    assert "does not understand" in ran.err


def test_a_restart_of_control_is_waited_for(isotherm: Isotherm, platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    platform.on(f"GET {FUNCTIONS}", {"items": [], "next_cursor": None})
    platform.away = 2
    assert isotherm("ls").code == 0
    monkeypatch.setattr("isotherm.cli.connect.RETRY_S", 0.0)
    platform.away = 2
    ran = isotherm("ls")
    assert (ran.code, ran.err) == (69, "error: control restarts\n")
    platform.on(invocation(), {})
    platform.away = 1  # a call may have begun: it is not repeated
    assert isotherm("invoke", "hello").code == 69


def test_ls_follows_the_pages(isotherm: Isotherm, platform: Any) -> None:
    platform.on(f"GET {FUNCTIONS}", {"items": [FUNCTION], "next_cursor": None})
    ran = isotherm("ls")
    assert "hello" in ran.out
    assert "http://127.0.0.1:7071/hello/" in ran.out
    platform.on(f"GET {FUNCTIONS}", {"items": [FUNCTION] * 100, "next_cursor": "more"})
    assert len(isotherm("ls", "--limit", "250", "--json").json["items"]) == 250 + 50
    assert platform.asked[-1].query == "limit=50&cursor=more"


def test_show_says_what_runs(isotherm: Isotherm, platform: Any) -> None:
    platform.on(f"GET {FUNCTIONS}/hello", FUNCTION)
    platform.on(f"GET {FUNCTIONS}/hello/revisions", {"items": [FUNCTION["latest"]], "next_cursor": None})
    out = isotherm("show", "hello").out
    assert "revision 1, ready" in out
    assert "now             revision 1: 2 warm, 5.0 MB" in out
    assert "env             A" in out


def test_versions_marks_what_is_live(isotherm: Isotherm, platform: Any) -> None:
    platform.on(f"GET {FUNCTIONS}/hello", FUNCTION)
    platform.on(f"GET {FUNCTIONS}/hello/revisions", {"items": [FUNCTION["latest"]], "next_cursor": None})
    assert "100%" in isotherm("versions", "hello").out


def test_rollback_and_alias(isotherm: Isotherm, platform: Any) -> None:
    live = {"name": "live", "weights": [{"number": 1, "weight": 1.0}]}
    platform.on(f"POST {FUNCTIONS}/hello/rollback", live)
    assert isotherm("rollback", "hello", "--to", "1").out == "hello: live is now 1\n"
    assert platform.asked[-1].json == {"to": 1}
    split = {"name": "canary", "weights": [{"number": 3, "weight": 0.9}, {"number": 4, "weight": 0.1}]}
    platform.on(f"PUT {FUNCTIONS}/hello/aliases/canary", split)
    assert isotherm("alias", "set", "hello", "canary", "3=90%", "4=10%").out == "canary -> 3 (90%), 4 (10%)\n"
    assert platform.asked[-1].json == {"weights": split["weights"]}
    assert isotherm("alias", "set", "hello", "canary", "3=90%", "4=20%").code == 64
    assert isotherm("alias", "set", "hello", "canary", "three").code == 64
    platform.on(f"DELETE {FUNCTIONS}/hello/aliases/canary", None, 204)
    assert isotherm("alias", "rm", "hello", "canary").code == 0


def test_rm_asks_or_needs_yes(isotherm: Isotherm, platform: Any) -> None:
    platform.on(f"DELETE {FUNCTIONS}/hello", None, 204)
    ran = isotherm("rm", "hello")
    assert ran.code == 64
    assert "--yes" in ran.err
    assert isotherm("rm", "hello", "--yes").out == "deleted hello\n"


def test_keys_are_shown_once(isotherm: Isotherm, platform: Any) -> None:
    key = {"id": "key_1", "name": "ci", "role": "invoker", "token": "iso_new", "access_key_id": "AK",
           "secret_access_key": "SK"}  # fmt: skip
    platform.on("POST /api/v1/namespaces/default/keys", key, 201)
    ran = isotherm("keys", "create", "ci", "--expires", "30d")
    assert "iso_new" in ran.out
    sent = platform.asked[-1].json
    assert sent["role"] == "invoker"
    assert abs(sent["expires_at_ms"] - (time.time() + 30 * 86400) * 1000) < 60_000
    assert isotherm("keys", "create", "ci", "--expires", "soon").code == 64


def test_logs_are_printed_in_order(isotherm: Isotherm, platform: Any) -> None:
    lines = [{"at_ms": 1000, "message": "first"}, {"at_ms": 2000, "message": "second\n", "level": "INFO"}]
    platform.on(f"GET {FUNCTIONS}/hello/logs", {"items": lines, "next_cursor": None})
    out = isotherm("logs", "hello", "--since", "15m").out.splitlines()
    assert out[0].endswith("first")
    assert out[1].endswith("INFO second")
    assert "since_ms=" in platform.asked[-1].query


def test_recorded_calls_are_listed_with_their_causes_and_cut_nowhere(
    isotherm: Isotherm, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal, such as that of an editor
    found = {
        "id": "0a1b2c3d-4e5f-4a6b-8c7d-000000000001",
        "name": "hello",
        "source": "invoke",
        "started_at_ms": 0,
        "total_ms": 12.5,
        "outcome": "handler_error",
        "cold_cause": "spare",
        "error_type": "KeyError",
        "error_message": "'fr'",
        "why_kept": "failed",
    }
    platform.on("GET /api/v1/namespaces/default/invocations", {"items": [found], "next_cursor": None})
    row = isotherm("invocations", "hello", "--outcome", "handler_error").out.splitlines()[-1].split()
    assert row[:2] == [found["id"], "hello"]
    assert row[3:] == ["invoke", "handler_error", "12", "ms", "failed", "spare", "KeyError:", "'fr'"]
    assert "function=hello" in platform.asked[-1].query
    assert "outcome=handler_error" in platform.asked[-1].query
    assert isotherm("invocations", "--json").json["items"][0].items() >= found.items()
    platform.on("GET /api/v1/namespaces/default/invocations", {"items": [], "next_cursor": None})
    assert "no recorded calls" in isotherm("invocations").out


@pytest.mark.parametrize(
    ("count", "said"), [(1, "1 dead letter is called again"), (2, "2 dead letters are called again")]
)
def test_redriving_says_how_many(isotherm: Isotherm, platform: Any, count: int, said: str) -> None:
    ids = [f"id-{number}" for number in range(count)]
    platform.on(f"POST {FUNCTIONS}/hello/queue/redrive", {"count": count, "ids": ids})
    assert isotherm("queue", "redrive", "hello").out.split("\n  ") == [said, *ids[:-1], f"{ids[-1]}\n"]


def test_explain_prints_phases_and_remedies(isotherm: Isotherm, platform: Any) -> None:
    explanation = {
        "summary": "took 900 ms, of which 880 ms was the start",
        "cold": "the first call of the revision",
        "phases": [{"name": "start", "ms": 880.0, "share": 0.98, "what": "a template was built"}],
        "start_steps_ms": {"import": 800.0},
        "remedies": [{"setting": "warm.min_instances", "now": 0, "proposed": 1, "why": "keeps one warm"}],
        "gb_s": 0.1,
        "cost_usd": 0.000001,
        "cold_cost_usd": None,
        "invocation": {"id": "r-1", "name": "hello", "outcome": "ok"},
        "price": "2026",
    }
    explanation["decision"] = {
        "summary": "60.0 s before the call …",
        "receipt": None,
        "waited_ms": 880.0,
        "kept_gb_s": None,
        "kept_usd": None,
    }
    platform.on("GET /api/v1/namespaces/default/invocations/r-1/explanation", explanation)
    out = isotherm("explain", "r-1").out
    assert "cold: the first call" in out
    assert "decided: 60.0 s before the call …" in out
    assert "try warm.min_instances = 1 (now 0)" in out
    told = isotherm("explain", "r-1", "--json").json
    assert told | {"invocation": explanation["invocation"]} == explanation
    assert told["invocation"]["outcome"] == "ok"


def test_login_checks_the_key_and_saves_it_for_its_owner_alone(
    isotherm: Isotherm, platform: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ISOTHERM_URL")
    monkeypatch.delenv("ISOTHERM_KEY")
    me = {"principal_id": "pr_1", "grants": [{"namespace": "team", "role": "developer"}], "home_namespace": "team"}
    assert isotherm("ls").code in (69, 77)
    platform.on("GET /api/v1/me", me)
    platform.on("GET /api/v1/namespaces/team/functions", {"items": [], "next_cursor": None})
    assert isotherm("login", platform.url, "--key", "iso_mine").code == 0
    saved = tmp_path / "config" / "isotherm" / "profile.json"
    assert saved.stat().st_mode & 0o777 == 0o600
    assert isotherm("ls").code == 0
    assert platform.asked[-1].headers["Authorization"] == "Bearer iso_mine"


def test_a_saved_key_is_not_sent_to_another_platform(
    isotherm: Isotherm, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.on("GET /api/v1/me", {"principal_id": "pr_1"})
    assert isotherm("login", platform.url, "--key", "iso_mine").code == 0
    monkeypatch.delenv("ISOTHERM_KEY")
    monkeypatch.setenv("ISOTHERM_URL", "http://127.0.0.1:1")
    assert isotherm("ls").code == 77


def test_init_makes_a_function_whose_test_passes(isotherm: Isotherm, tmp_path: Path) -> None:
    folder = tmp_path / "My Function"
    assert isotherm("init", str(folder)).code == 0
    assert 'name = "my-function"' in (folder / "isotherm.toml").read_text()
    subprocess.run([sys.executable, "-m", "unittest", "-q"], cwd=folder, check=True, timeout=30, capture_output=True)
    again = isotherm("init", str(folder))
    assert again.code == 73
    assert "--force" in again.err
    assert isotherm("init", str(folder), "--force").code == 0
    assert isotherm("init", str(tmp_path / "123"), "--json").json["code"] == "invalid"


def test_init_makes_a_function_for_each_runtime(isotherm: Isotherm, tmp_path: Path) -> None:
    assert isotherm("init", str(tmp_path / "js"), "--runtime", "nodejs").code == 0
    if find_node() is not None:
        subprocess.run(["node", "--test"], cwd=tmp_path / "js", check=True, timeout=30, capture_output=True)
    assert isotherm("init", str(tmp_path / "sh"), "--runtime", "provided").code == 0
    assert os.access(tmp_path / "sh" / "bootstrap", os.X_OK)
    subprocess.run(["bash", "-n", tmp_path / "sh" / "bootstrap"], check=True, timeout=30)
    for folder in ("js", "sh"):
        read_manifest(tmp_path / folder / "isotherm.toml")
    refused = isotherm("init", str(tmp_path / "go"), "--runtime", "go", "--json")
    assert (refused.code, refused.json["code"]) == (64, "invalid")


def test_settings_are_all_listed(isotherm: Isotherm) -> None:
    names = {each["name"] for each in isotherm("settings", "--json").json}
    assert {"data", "port", "max_body_mb", "pip_config"} <= names


def test_errors_of_the_replayer_are_like_all_others(isotherm: Isotherm, tmp_path: Path) -> None:
    ran = isotherm("replay", str(tmp_path), "--json")
    assert (ran.code, ran.json["code"]) == (64, "invalid")


def test_usage_mistakes_exit_64(isotherm: Isotherm) -> None:
    assert isotherm("deploy", "--no-such-flag").code == 64
    assert isotherm("depoly").code == 64


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m isotherm settings | head -1"
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=20, env=dict(os.environ))
    assert ran.stderr == ""


def test_completion_is_there() -> None:
    environment = os.environ | {"_ISOTHERM_COMPLETE": "complete_bash", "COMP_WORDS": "isotherm dep", "COMP_CWORD": "1"}
    program = "from isotherm.cli.main import main; import sys; sys.argv=['isotherm']; main()"
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=20)
    assert "deploy" in ran.stdout
