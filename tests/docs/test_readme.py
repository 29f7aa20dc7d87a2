"""The README's first five minutes, run as they stand there: each command works and says what the page says."""

import sys
from pathlib import Path

import pytest

from tests.conftest import groups_of
from tests.docs.console import Command, read_steps
from tests.docs.pages import ROOT
from tests.docs.terminal import Reader, environment_for

HEADING = "## The first five minutes"


def test_there_is_something_to_run() -> None:
    commands = [step.text for step in read_steps(ROOT / "README.md", HEADING) if isinstance(step, Command)]
    assert any(command.startswith("isotherm deploy") for command in commands)
    assert len(commands) >= 5


@pytest.mark.e2e
@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_of_the_first_five_minutes_does_what_the_page_says(data_dir: Path) -> None:
    path = f"{Path(sys.executable).parent}:{environment_for(data_dir)['PATH']}"
    reader = Reader(data_dir, environment_for(data_dir, PATH=path, PYTHONPATH=str(ROOT / "src")))
    try:
        for step in read_steps(ROOT / "README.md", HEADING):
            reader.follow(step)
    finally:
        reader.close()
    assert groups_of(data_dir) == []
