"""A small trace against the real platform, by the command that users have."""

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


def test_replays_a_small_trace_without_an_error(platform: dict[str, Any], data_dir: Path) -> None:
    trace = write_trace(data_dir / "small", COUNTS)
    command = [sys.executable, "-m", "isotherm", "replay", str(trace), "--live", "--speed", "60", "--minutes", "3"]
    command += ["--out", str(data_dir / "out"), "--json"]
    environment = {**os.environ, "ISOTHERM_URL": platform["url"], "ISOTHERM_KEY": platform["admin_key"]}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, check=False)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
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
