"""What `up` refuses before it starts anything, and where it looks for examples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isotherm.base.errors import NotFound
from isotherm.cli.commands import demo
from isotherm.cli.commands.up import default_data, is_loopback

Isotherm = Callable[..., Any]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tls-cert", "cert.pem"], "--tls-cert and --tls-key: give both"),
        (["--port", "7070", "--content-port", "7070"], "both are 7070"),
        (["--port", "70700"], "--port: Expected `int` <= 65535"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid"),
    ],
)
def test_flags_that_cannot_be_are_refused(isotherm: Isotherm, tmp_path: Path, flags: list[str], words: str) -> None:
    ran = isotherm("up", "--data", str(tmp_path / "data"), *flags)
    assert ran.code == 64
    assert words in ran.err


def test_a_variable_that_cannot_be_is_named(
    isotherm: Isotherm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOTHERM_DRAIN_TIMEOUT_S", "soon")
    ran = isotherm("up", "--data", str(tmp_path / "data"))
    assert ran.code == 64
    assert "ISOTHERM_DRAIN_TIMEOUT_S" in ran.err


def test_a_budget_that_cannot_be_is_named_before_anything_starts(
    isotherm: Isotherm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOTHERM_WARMING_BUDGET", "4 GB")
    ran = isotherm("up", "--data", str(tmp_path / "data"))
    assert ran.code == 64
    assert "ISOTHERM_WARMING_BUDGET: budget: '4 GB': " in ran.err
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_cannot_be_is_named(isotherm: Isotherm, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = isotherm("up", "--data", str(tmp_path / "file" / "data"))
    assert ran.code == 64
    assert "--data" in ran.err


@pytest.mark.parametrize(
    ("host", "verdict"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a.b", False)]
)
def test_loopback_is_what_only_this_machine_reaches(host: str, verdict: bool) -> None:
    assert is_loopback(host) is verdict


def test_state_of_a_user_lies_in_his_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/me/share")
    assert default_data() == Path("/home/me/share/isotherm")


def test_examples_are_found_here_or_beside_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = demo.examples_folder()
    assert {folder.name for folder in demo.list_examples(shipped)} >= {"hello", "http-api", "sklearn-iris"}
    (tmp_path / "examples" / "own").mkdir(parents=True)
    (tmp_path / "examples" / "own" / "isotherm.toml").touch()
    assert demo.examples_folder() == tmp_path / "examples"


def test_no_examples_is_an_error_that_says_where_to_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("isotherm.__file__", str(tmp_path / "a" / "b" / "isotherm" / "__init__.py"))
    with pytest.raises(NotFound, match="checkout"):
        demo.examples_folder()


def test_an_example_that_must_be_compiled_is_left_out_until_it_is(tmp_path: Path) -> None:
    (tmp_path / "Makefile").touch()
    assert not demo.is_built(tmp_path)
    (tmp_path / "bootstrap").touch()
    assert demo.is_built(tmp_path)
    assert demo.is_built(demo.examples_folder() / "hello")
