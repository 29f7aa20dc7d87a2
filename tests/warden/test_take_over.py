"""What a job left changes hands; nothing else does."""

import os
from pathlib import Path

import pytest

from isotherm.warden.job import take_over

pytestmark = pytest.mark.root

JOB, HOST = 1_900_001_000, 61313


def give(path: Path, uid: int) -> None:
    os.chown(path, uid, uid, follow_symlinks=False)


def owner(path: Path) -> int:
    return path.lstat().st_uid


def test_only_what_the_job_owns_changes_hands(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("root's")
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    (out / "sub" / "file").write_text("x")
    (out / "link").symlink_to(outside)
    (out / "way-out").symlink_to(tmp_path)
    os.link(outside, out / "hard")  # as a host process might plant it
    for path in (out, out / "sub", out / "sub" / "file", out / "link", out / "way-out"):
        give(path, JOB)
    fd = os.open(out, os.O_PATH)
    take_over(fd, JOB, HOST, HOST)
    os.close(fd)
    assert [owner(path) for path in (out, out / "sub", out / "sub" / "file", out / "link", out / "way-out")] == [
        HOST
    ] * 5
    assert owner(outside) == owner(out / "hard") == owner(tmp_path) == 0


def test_set_id_bits_go(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("x")
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (program, folder):
        give(path, JOB)
        path.chmod(0o6755)
    fd = os.open(tmp_path, os.O_PATH)
    take_over(fd, JOB, HOST, HOST)
    os.close(fd)
    assert not program.stat().st_mode & 0o6000
    assert not folder.stat().st_mode & 0o6000
