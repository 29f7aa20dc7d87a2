"""The systemd unit says what the command line and the supervisor really do."""

import configparser
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isotherm.base.settings import Settings
from isotherm.warden.supervisor import STOP_S

Isotherm = Callable[..., Any]


@pytest.fixture
def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # keys as they are
    unit.read(Path(__file__).parents[2] / "deploy/systemd/isotherm.service")
    return unit["Service"]


def test_its_command_is_one(service: configparser.SectionProxy, isotherm: Isotherm) -> None:
    program, command, *rest = shlex.split(service["ExecStart"])
    assert Path(program).name == "isotherm"
    listing = isotherm(command, "--help")
    assert listing.code == 0
    for flag in (word for word in rest if word.startswith("--")):
        assert flag in listing.out


def test_it_waits_for_a_drain_and_is_told_when_it_serves(service: configparser.SectionProxy) -> None:
    assert int(service["TimeoutStopSec"]) > Settings().drain_timeout_s + sum(STOP_S.values()) + 5
    assert service["Type"] == "notify"


def test_it_leaves_the_warden_what_it_needs(service: configparser.SectionProxy) -> None:
    assert "User" not in service
    taken = {"NoNewPrivileges", "PrivateUsers", "ProtectControlGroups", "ProtectKernelTunables", "RestrictNamespaces"}
    assert not taken & set(service)
