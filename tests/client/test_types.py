"""The types are usable: a strict checker understands a program that uses them, and finds its mistakes."""

import subprocess
import sys
from pathlib import Path

import pytest

from isotherm import client

USAGE = Path(__file__).with_name("usage.py")


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(client.__file__).parents[1] / "py.typed").is_file()


@pytest.mark.slow
def test_a_strict_checker_understands_a_program(tmp_path: Path) -> None:
    """`usage.py` also has mistakes, each marked: one that is not found is an error of its own."""
    program = tmp_path / "usage.py"
    program.write_text(USAGE.read_text())
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = true\nwarn_unused_ignores = true\n")
    argv = [sys.executable, "-m", "mypy", "--config-file", str(settings), "--cache-dir", str(tmp_path / "cache")]
    source = str(Path(client.__file__).parents[2])
    done = subprocess.run(
        [*argv, str(program)], capture_output=True, text=True, timeout=115, env={"MYPYPATH": source, "PATH": ""}
    )
    assert done.returncode == 0, done.stdout + done.stderr
