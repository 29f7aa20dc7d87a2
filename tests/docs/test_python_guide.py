"""The guide to the Python client: its blocks run one after the other against a real platform, as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.e2e.conftest import can_isolate, running_platform

__all__ = ["can_isolate"]

GUIDE = ROOT / "docs" / "guides" / "python-client.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def test_there_is_something_to_run() -> None:
    text = "\n".join(blocks())
    assert len(blocks()) >= 8
    for word in ("Client()", "AsyncClient()", ".deploy(", ".invoke(", ".invoke_async(", ".stream(", ".logs("):
        assert word in text


@pytest.mark.e2e
@pytest.mark.root
@pytest.mark.slow
@pytest.mark.usefixtures("can_isolate")
def test_every_block_runs_as_it_stands_there(tmp_path: Path) -> None:
    with running_platform() as platform:
        program = tmp_path / "guide.py"
        program.write_text("\n\n".join(blocks()))
        environment = platform.environment | {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "PYTHONWARNINGS": "error"}
        done = subprocess.run(
            [sys.executable, str(program)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "['ada', 'grace', 'edsger']" in done.stdout
        assert "word 4" in done.stdout
