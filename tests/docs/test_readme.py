"""The README's first five minutes, run as they stand there: each command works and says what the page says."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.console import Shown, alike, console_blocks, masked
from tests.docs.pages import ROOT

HEADING = "## The first five minutes"
RECORDS_S = 15.0  # log lines reach control about a second after the call, later on a busy machine


def test_masking_leaves_words_and_hides_figures() -> None:
    assert masked("hello  ready in 812 ms  http://127.0.0.1:7071/hello/") == "hello ready in 0 s URL/hello/"
    assert alike(["a 1 ms", "…", "c"], ["a 22 s", "b", "c"]) is None
    assert alike(["a", "x"], ["a", "b"]) == "x"


def test_there_is_something_to_run() -> None:
    commands = [shown.command for shown in console_blocks(ROOT / "README.md", HEADING)]
    assert any(command.startswith("isotherm deploy") for command in commands)
    assert len(commands) >= 5


@pytest.mark.e2e
@pytest.mark.root
@pytest.mark.slow
def test_every_command_of_the_first_five_minutes_does_what_the_page_says(data_dir: Path) -> None:
    ready = data_dir / "ready.json"
    environ = {**os.environ, "HOME": str(data_dir), "XDG_CONFIG_HOME": str(data_dir / "config"), "NO_COLOR": "1"}
    environ |= {"PATH": f"{Path(sys.executable).parent}:{environ['PATH']}", "COLUMNS": "100"}
    argv = ["isotherm", "up", "--data", str(data_dir / "state"), "--port", "0", "--content-port", "0"]
    with (data_dir / "log").open("wb") as log:
        platform = subprocess.Popen([*argv, "--ready-file", ready], env=environ, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert platform.poll() is None, (data_dir / "log").read_text()
            assert time.monotonic() < deadline, (data_dir / "log").read_text()
            time.sleep(0.05)
        told = json.loads(ready.read_text())
        environ |= {"ISOTHERM_URL": told["url"], "ISOTHERM_KEY": told["admin_key"]}
        environ |= {"CONTENT_URL": told["content_url"], "KEY": told["admin_key"]}
        run_all(data_dir, environ)
    finally:
        platform.send_signal(signal.SIGTERM)
        assert platform.wait(60) == 0


def run_all(folder: Path, environ: dict[str, str]) -> None:
    place = folder / "work"
    place.mkdir()
    for shown in console_blocks(ROOT / "README.md", HEADING):
        if shown.command.startswith(("isotherm up", "export ")):
            continue  # the test's own platform, its URL and its key stand for them
        deadline = time.monotonic() + RECORDS_S
        while (missed := run(shown, place, environ)) and "isotherm logs" in shown.command:
            assert time.monotonic() < deadline, missed
            time.sleep(0.2)
        assert not missed, missed


def run(shown: Shown, place: Path, environ: dict[str, str]) -> str:
    """Run it; empty where it did what is shown, else what was missed."""
    done = subprocess.run(
        ["bash", "-c", shown.command],
        cwd=place,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
    )
    line = alike(shown.output, done.stdout.splitlines())
    if done.returncode == 0 and line is None:
        return ""
    return f"$ {shown.command}\nexit {done.returncode}; no line like: {line}\n{done.stdout}"
