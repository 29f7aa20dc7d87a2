"""Which runtimes a machine has is found by asking its programs; what is too old or broken is none."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from isotherm.base import runtimes


@pytest.fixture(autouse=True)
def ask_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(runtimes, "_PLACES", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    runtimes.find_node.cache_clear()
    yield
    runtimes.find_node.cache_clear()


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_node_is_named_by_its_major_version_and_has_its_npm(tmp_path: Path) -> None:
    program(tmp_path / "bin/node", "echo v22.11.0")
    library = tmp_path / "lib/node_modules/npm/bin"
    library.mkdir(parents=True)
    program(library / "npm-cli.js", "")
    os.symlink(library / "npm-cli.js", tmp_path / "bin/npm")
    node = runtimes.find_node()
    assert node is not None
    assert (node.name, node.version, node.prefix) == ("nodejs22", "22.11.0", str(tmp_path))
    assert node.npm == str(library / "npm-cli.js")
    assert runtimes.runtimes() == [runtimes.own_python(), "nodejs22", "provided"]


@pytest.mark.parametrize("text", ["echo v16.20.2", "echo nonsense", "exit 1", "kill -9 $$"])
def test_what_is_too_old_or_does_not_say_its_version_is_none(tmp_path: Path, text: str) -> None:
    program(tmp_path / "bin/node", text)
    assert runtimes.find_node() is None


def test_without_node_there_are_python_and_provided(tmp_path: Path) -> None:
    assert runtimes.runtimes() == [runtimes.own_python(), "provided"]
    program(tmp_path / "bin/node", "echo v20.1.0")
    runtimes.find_node.cache_clear()
    node = runtimes.find_node()
    assert node is not None
    assert node.npm is None


def test_a_runtime_that_is_not_here_may_have_a_stand_in() -> None:
    assert runtimes.stand_ins("python3.8=python3.11, nodejs22.x=nodejs20.x,") == {
        "python3.8": "python3.11",
        "nodejs22.x": "nodejs20.x",
    }
    assert runtimes.stand_ins("") == {}


def test_the_whole_version_of_a_runtime_is_that_of_its_program(tmp_path: Path) -> None:
    program(tmp_path / "bin/node", "echo v22.11.0")
    assert runtimes.version_of("nodejs22") == "22.11.0"
    assert runtimes.version_of("nodejs20") is None
    assert runtimes.version_of(runtimes.own_python()) == platform.python_version()
    assert runtimes.version_of(runtimes.PROVIDED) is None
