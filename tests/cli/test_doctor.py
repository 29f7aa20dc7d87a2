"""doctor on the real machine: says what holds, leaves nothing."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isotherm.base.runtimes import runtimes

Isotherm = Callable[..., Any]


@pytest.mark.root
def test_doctor_tries_the_isolation_and_leaves_nothing(isotherm: Isotherm, tmp_path: Path) -> None:
    before = {path.name for path in Path("/tmp").glob("isotherm-doctor-*")}
    ran = isotherm("doctor", "--json", "--port", "0", "--content-port", "0", "--data", str(tmp_path))
    checks = {check["name"]: check for check in ran.json["isolation"]}
    assert {"root", "seccomp", "user namespaces", "memory control group", "egress"} <= set(checks)
    assert ran.json["runtimes"] == runtimes()
    assert "node" in {check["name"] for check in ran.json["machine"]}
    assert all(check["detail"] and check["enforced"] for check in checks.values())
    assert ran.code == (0 if ran.json["ok"] else 69)
    assert {path.name for path in Path("/tmp").glob("isotherm-doctor-*")} == before


def test_doctor_names_what_is_in_the_way(isotherm: Isotherm, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = isotherm("doctor", "--port", str(port), "--data", str(tmp_path / "file" / "data"))
    assert ran.code == 69
    assert f"NO  port                   {port}: Address already in use" in ran.out
    assert "NO  data" in ran.out
