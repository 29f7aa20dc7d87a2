"""Small traces against the real platform, by the command that users have."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.replay.traces import write_trace

pytestmark = [pytest.mark.e2e, pytest.mark.root]

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
ENDS = {("finished", None), ("rolled_back", "errors"), ("rolled_back", "latency")}
COUNTS = {"busy": [40, 60, 20], "seldom": [1, 0, 1], "never": [0, 0, 0]}


@pytest.fixture
def platform(data_dir: Path) -> Iterator[dict[str, Any]]:
    """What the ready file of a platform says; it is stopped at the end."""
    ready = data_dir / "ready.json"
    command = [sys.executable, "-m", "isotherm", "up", "--data", str(data_dir / "data"), "--port", "0"]
    command += ["--content-port", "0", "--ready-file", str(ready)]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(data_dir / "config")}
    with (data_dir / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready.exists():
            assert process.poll() is None, (data_dir / "log").read_text()
            assert time.monotonic() < deadline, (data_dir / "log").read_text()
            time.sleep(0.05)
        yield json.loads(ready.read_text())
    finally:
        process.terminate()
        assert process.wait(STOP_TIMEOUT_S) == 0


def replay(platform: dict[str, Any], *argv: str, timeout_s: float = 150) -> Any:
    """The report of a replay that must end well."""
    environment = {**os.environ, "ISOTHERM_URL": platform["url"], "ISOTHERM_KEY": platform["admin_key"]}
    command = [sys.executable, "-m", "isotherm", "replay", *argv, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_a_run_with_everything_at_once_accounts_for_all_of_it(platform: dict[str, Any], data_dir: Path) -> None:
    """Events, streams, every strategy; control killed once and a fifth of the instances three times, in 12 seconds."""
    trace = write_trace(data_dir / "small", {f"f{number}": [120 - number] * 12 for number in range(6)})
    argv = [str(trace), "--live", "--minutes", "12", "--async", "0.3", "--stream", "0.2", "--rollout", "all"]
    argv += ["--rollout-step", "0.5", "--kill", "control@6.5", "--kill", "instances:0.2@4,8,10", "--settle", "60"]
    report = replay(platform, *argv, "--out", str(data_dir / "out"))

    assert (report["version"], report["invocations"]) == (2, 12 * sum(120 - number for number in range(6)))
    # What failed was in flight in an instance that was killed, and nothing else did.
    assert report["errors"] == report["errors_excused"], report["error_examples"]
    kills = report["kills"]
    assert [kill["what"] for kill in kills] == ["instances", "control", "instances", "instances"]
    assert all(kill["not_excused"] == 0 and kill["problem"] == "" and kill["killed"] > 0 for kill in kills), kills
    assert kills[1]["back_s"] is not None
    assert sum(kill["not_served_again"] for kill in kills) == 0
    events = report["asynchronous"]
    assert (events["accepted"], events["lost"], events["open"], events["drained"]) == (events["sent"], 0, 0, True)
    assert events["succeeded"] + events["dead"] == events["accepted"] > 1000
    streams = report["streamed"]
    assert streams["sent"] > 600
    assert streams["first_byte_ms"]["p50"] < streams["to_end_ms"]["p50"]
    rollouts = report["rollouts"]
    assert {each["strategy"] for each in rollouts} == {"canary", "blue-green", "all-at-once", "shadow"}
    # Each came to its end. The gate may judge what kills and a busy machine make of the new revision.
    assert {(each["state"], each["rule"]) for each in rollouts} <= ENDS, rollouts
    assert sum(each["errors"] for each in rollouts) == 0
    assert all(each["requests"] > 0 for each in rollouts)
    assert (data_dir / "out" / "replay.png").stat().st_size > 10_000


def test_a_kill_is_refused_where_the_platform_is_not_found(platform: dict[str, Any], data_dir: Path) -> None:
    trace = write_trace(data_dir / "small", {"f": [1]})
    environment = {**os.environ, "ISOTHERM_URL": platform["url"], "ISOTHERM_KEY": platform["admin_key"]}
    command = [sys.executable, "-m", "isotherm", "replay", str(trace), "--live", "--minutes", "1"]
    command += ["--kill", "control", "--pid", str(os.getpid())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 64
    assert "is no `isotherm up`" in done.stderr


def test_replays_a_small_trace_without_an_error(platform: dict[str, Any], data_dir: Path) -> None:
    trace = write_trace(data_dir / "small", COUNTS)
    argv = [str(trace), "--live", "--speed", "60", "--minutes", "3", "--out", str(data_dir / "out")]
    report = replay(platform, *argv, timeout_s=100)

    assert (report["invocations"], report["errors"]) == (122, 0), report["error_examples"]
    assert report["cold"]["functions_called"] == 2
    # The first call of each called function finds no idle instance.
    assert 2 <= report["cold_starts"] <= 20
    assert sum(report["cold"]["by_cause"].values()) >= 2
    assert report["cold"]["recorded"] == report["cold_starts"]
    assert report["cold"]["cost_ms"]["p50"] > 0
    assert report["run_ms"]["p50"] >= 1.0  # 60 ms at the least, scaled down by 60
    assert report["memory"]["peak_mb"] > 0
    assert max(sum(moment["instances"].values()) for moment in report["timeline"]) >= 2
    assert (data_dir / "out" / "replay.png").stat().st_size > 10_000
