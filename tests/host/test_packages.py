"""Zips as they should not be: refused by name, with nothing left on disk."""

import io
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from isotherm.base.errors import InvalidPackage
from isotherm.host.packages import readable_by_all, unpack

LIMIT = 1_000_000


def zipped(fill: Callable[[zipfile.ZipFile], None]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        fill(archive)
    buffer.seek(0)
    return buffer


def with_mode(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def test_files_folders_and_modes_are_unpacked_readable_by_all(tmp_path: Path) -> None:
    def fill(archive: zipfile.ZipFile) -> None:
        archive.writestr("app.py", "x = 1")
        archive.writestr("pkg/", "")
        archive.writestr("pkg/deep/data.txt", "hello")
        archive.writestr(with_mode("bin/run", stat.S_IFREG | 0o700), "#!")

    old = os.umask(0o077)
    try:
        unpack(zipped(fill), tmp_path / "code", LIMIT)
    finally:
        os.umask(old)
    code = tmp_path / "code"
    assert (code / "pkg/deep/data.txt").read_text() == "hello"
    modes = [stat.S_IMODE((code / name).stat().st_mode) for name in (".", "pkg", "app.py", "bin/run")]
    assert modes == [0o755, 0o755, 0o644, 0o755]
    assert [entry.name for entry in tmp_path.iterdir()] == ["code"]


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up.py", "a/../../up.py", "C:\\win.py", "a\\b.py", "x" * 300 + ".py", "a/" * 80 + "b.py", ".."],
)
def test_paths_that_leave_the_package_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidPackage):
        unpack(zipped(lambda archive: archive.writestr(name, "x")), tmp_path / "code", LIMIT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(InvalidPackage, match="link or a device"):
        unpack(
            zipped(lambda archive: archive.writestr(with_mode("l", kind | 0o777), "/etc/passwd")), tmp_path / "c", LIMIT
        )


def test_bombs_are_refused_by_what_they_say_and_by_what_they_are(tmp_path: Path) -> None:
    bomb = zipped(lambda archive: archive.writestr("big", b"\0" * (2 * LIMIT)))
    with pytest.raises(InvalidPackage, match="limit"):
        unpack(bomb, tmp_path / "a", LIMIT)
    lying = bytearray(bomb.getvalue())
    size = (2 * LIMIT).to_bytes(4, "little")
    while (at := lying.find(size)) >= 0:
        lying[at : at + 4] = (10).to_bytes(4, "little")
    with pytest.raises(InvalidPackage):
        unpack(io.BytesIO(bytes(lying)), tmp_path / "b", LIMIT)
    many = zipped(lambda archive: [archive.writestr(f"f{number}", "") for number in range(20_001)] and None)
    with pytest.raises(InvalidPackage, match="files"):
        unpack(many, tmp_path / "c", LIMIT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_clash_are_refused(tmp_path: Path) -> None:
    def twice(archive: zipfile.ZipFile) -> None:
        archive.writestr("a", "1")
        archive.writestr("a", "2")

    def file_and_folder(archive: zipfile.ZipFile) -> None:
        archive.writestr("a", "1")
        archive.writestr("a/b", "2")

    for fill in (twice, file_and_folder):
        with pytest.raises(InvalidPackage):
            unpack(zipped(fill), tmp_path / "code", LIMIT)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_any_bytes_are_unpacked_or_refused(tmp_path: Path, junk: bytes, at: int, value: int) -> None:
    good = bytearray(zipped(lambda archive: archive.writestr("app.py", "print(1)" * 20)).getvalue())
    if at < len(good):
        good[at] = value
    for content in (junk, bytes(good)):
        target = tmp_path / f"code{len(list(tmp_path.iterdir()))}"
        try:
            unpack(io.BytesIO(content), target, LIMIT)
        except InvalidPackage:
            assert not target.exists()


def test_links_that_an_installer_left_lead_nobody_elsewhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "secret").write_text("s")
    (outside / "secret").chmod(0o600)
    (tmp_path / "deps").mkdir()
    (tmp_path / "deps" / "folder").symlink_to(outside)
    (tmp_path / "deps" / "file").symlink_to(outside / "secret")
    readable_by_all(tmp_path / "deps")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (outside, outside / "secret")] == [0o700, 0o600]
