"""Privileges: which folders must be hidden for the service user, and that a program under a 0700 folder then runs."""

import os
import sys
from pathlib import Path

import pytest

from isotherm.warden.launch import (
    Identity,
    Launch,
    LaunchError,
    covers,
    interpreter_paths,
    service_identity,
    start,
)

SERVICE = Identity(61313, 61313)


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that the service user may not enter, in one that it may."""
    for folder in tmp_path.parents:
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            break
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    return closed


def run(launch: Launch) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(start(launch), 0)[1])


def test_open_paths_need_no_cover() -> None:
    assert covers(["/usr/lib", "/etc/passwd"], ["/tmp"], SERVICE) == []


def test_a_closed_folder_is_covered_with_what_is_needed_from_it(closed: Path) -> None:
    needed = closed / "venv"
    needed.mkdir()
    data = closed / "data"
    data.mkdir()
    (cover,) = covers([str(needed), str(needed / "bin")], [str(data)], SERVICE)
    assert str(closed).startswith(cover.root)
    assert cover.binds == ((str(data), True), (str(needed), False))


def test_a_link_to_the_interpreter_is_followed_hop_by_hop() -> None:
    paths = interpreter_paths()
    assert sys.executable in paths
    assert os.path.realpath(sys.executable) in paths
    assert all(os.path.isabs(path) for path in paths)


def test_who_is_not_root_stays_who_he_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(os, "getegid", lambda: 1235)
    assert service_identity(None) == Identity(1234, 1235)


@pytest.mark.root
def test_an_unknown_service_user_is_named() -> None:
    with pytest.raises(LaunchError, match="no-such-user"):
        service_identity("no-such-user")
    with pytest.raises(LaunchError, match="is root"):
        service_identity("root")


@pytest.mark.root
def test_a_program_sees_only_what_it_needs_of_a_closed_folder(closed: Path) -> None:
    for name in ("readable", "writable", "secret"):
        (closed / name).mkdir()
        (closed / name / "file").write_text(name)
        (closed / name / "file").chmod(0o644)
    os.chown(closed / "writable", SERVICE.uid, SERVICE.gid)
    program = f"""
import os, sys
closed = {str(closed)!r}
assert open(closed + "/readable/file").read() == "readable"
assert not os.path.exists(closed + "/secret"), "the secret shows"
for folder in ("/readable", ""):
    try:
        open(closed + folder + "/new", "w")
    except OSError:
        pass
    else:
        sys.exit(4)
open(closed + "/writable/new", "w").write("done")
sys.exit(7)
"""
    code = run(
        Launch(
            argv=(sys.executable, "-c", program),
            env={},
            fds=(),
            identity=SERVICE,
            readable=(*interpreter_paths(), str(closed / "readable")),
            writable=(str(closed / "writable"),),
        )
    )
    assert code == 7
    assert (closed / "writable/new").read_text() == "done"
    assert not os.path.ismount(closed)


@pytest.mark.root
def test_an_unreadable_interpreter_is_named_with_what_to_do(closed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    launch = Launch(
        argv=(sys.executable, "-c", ""), env={}, fds=(), identity=SERVICE, readable=(str(closed),), writable=()
    )
    assert run(launch) == 71
    assert f"{closed} cannot be read by the service user" in capfd.readouterr().err
