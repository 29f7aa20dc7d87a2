"""The first hour, as a newcomer has it: every command of the tutorial runs, and says what the page says."""

import os
import sys
from pathlib import Path

import pytest

from tests.conftest import groups_of, package_index_answers, require
from tests.docs.console import Command, Step, read_steps
from tests.docs.pages import ROOT
from tests.docs.terminal import Reader, environment_for

PAGE = ROOT / "docs" / "tutorial" / "first-hour.md"
INSTALL = "## Install"
# Beside what the page shows: what it says about a newcomer's first hour, in words that its commands have to have.
COVERED = [
    "pip install", "isotherm up", "isotherm init", "isotherm deploy", "isotherm test", "isotherm invoke", "curl",
    "isotherm logs", "isotherm rollback", "--steps", "--async", "isotherm queue redrive", "isotherm triggers",
    "isotherm secrets set", "isotherm explain",
]  # fmt: skip


def test_the_first_hour_has_all_that_it_promises() -> None:
    commands = [step.text for step in read_steps(PAGE) if isinstance(step, Command)]
    assert [words for words in COVERED if not any(words in command for command in commands)] == []


def installable() -> bool:
    """Whether a newcomer could install it from here. In CI they can, or the test fails."""
    if os.environ.get("CI"):
        require(package_index_answers(), "the tutorial's installation needs a package index that pip can reach")
    return package_index_answers()


@pytest.mark.e2e
@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_newcomers_first_hour_comes_out_as_the_page_says(data_dir: Path) -> None:
    environment = environment_for(data_dir, PIP_DISABLE_PIP_VERSION_CHECK="1", TZ="UTC")
    steps: list[Step] = read_steps(PAGE)
    if not installable():  # the environment of the tests stands for the newcomer's
        environment |= {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}", "PYTHONPATH": str(ROOT / "src")}
        (data_dir / "isotherm" / "bin").mkdir(parents=True)
        (data_dir / "isotherm" / "bin" / "activate").touch()
        steps = [
            step
            for step in steps
            if not (isinstance(step, Command) and step.text.startswith(("python3 -m venv", "pip ")))
        ]
    reader = Reader(ROOT, environment)
    try:
        for step in steps:
            reader.follow(step)
    finally:
        reader.close()
    assert groups_of(data_dir / "first-hour") == []
