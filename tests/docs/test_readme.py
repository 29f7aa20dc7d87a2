"""The README's first five minutes, run as they stand there: each command works and says what the page says."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.console import alike, console_blocks, masked
from tests.docs.pages import ROOT

HEADING = "## The first five minutes"


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
        environ |= {"URL": told["url"], "CONTENT_URL": told["content_url"], "KEY": told["admin_key"]}
        run_all(data_dir, environ)
    finally:
        platform.send_signal(signal.SIGTERM)
        assert platform.wait(60) == 0


def run_all(folder: Path, environ: dict[str, str]) -> None:
    place = folder / "work"
    place.mkdir()
    shell = ""  # `cd` and variables of one command hold for the next
    for shown in console_blocks(ROOT / "README.md", HEADING):
        command = shown.command
        if command.startswith(("isotherm up", "make ", "git ", "pip ")):
            continue  # the test's own platform stands for it
        done = subprocess.run(
            ["bash", "-c", shell + command], cwd=place, env=environ, capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        missed = alike(shown.output, (done.stdout + done.stderr).splitlines())
        assert missed is None, f"$ {command}\nno line like: {missed}\n{done.stdout}{done.stderr}"
        if command.startswith(("cd ", "export ")):
            shell += command + "\n"
