"""Zips of code: what is good passes, whatever is dangerous or broken is refused with its entry named."""

import io
import stat
import struct
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isotherm.base.errors import InvalidPackage, TooLarge
from isotherm.base.ids import content_digest
from isotherm.functions.packages import Contents, PackageLimits, inspect_package

Entry = tuple[str | zipfile.ZipInfo, bytes]


def pack(*entries: Entry, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, body in entries:
            archive.writestr(name, body)
    return content.getvalue()


def inspect(content: bytes, **limits: int) -> Contents:
    return inspect_package(io.BytesIO(content), PackageLimits(**limits))


def entry(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def test_a_good_package_is_measured() -> None:
    content = pack(("app.py", b"x = 1\n"), ("lib/__init__.py", b""), ("data/a b ü.txt", b"hi"), ("empty/", b""))
    found = inspect(content)
    assert found == Contents(size_bytes=len(content), unpacked_bytes=8, files=3, requirements=None)


def test_requirements_are_told_by_their_digest_at_the_top_alone() -> None:
    assert inspect(pack(("requirements.txt", b"numpy\n"))).requirements == content_digest(b"numpy\n")
    assert inspect(pack(("lib/requirements.txt", b"numpy\n"))).requirements is None
    with pytest.raises(InvalidPackage, match="requirements"):
        inspect(pack(("requirements.txt", b"#" * 300_000)))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/passwd", "absolute"),
        ("C:/app.py", "absolute"),
        ("../app.py", "climbs"),
        ("lib/../../app.py", "climbs"),
        ("lib/..", "climbs"),
        ("lib//app.py", "empty part"),
        ("./app.py", "'.'"),
        ("lib\\app.py", "backslash"),
        ("..\\app.py", "backslash"),
        ("a" * 256, "longer"),
        ("/".join(["abc"] * 300), "longer"),
        ("", "empty part"),
    ],
)
def test_paths_that_leave_the_package_or_mislead_are_refused(name: str, why: str) -> None:
    info = zipfile.ZipInfo("x")
    info.filename = name  # past the mending in the constructor
    with pytest.raises(InvalidPackage, match=why):
        inspect(pack((info, b"evil")))


def test_a_zero_byte_hides_nothing() -> None:
    content = pack(("app.pyXevil", b"x")).replace(b"app.pyXevil", b"app.py\x00evil")
    with pytest.raises(InvalidPackage, match="zero byte"):
        inspect(content)


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        (stat.S_IFLNK | 0o777, "symbolic link"),
        (stat.S_IFIFO | 0o644, "neither"),
        (stat.S_IFCHR | 0o644, "neither"),
        (stat.S_IFSOCK | 0o644, "neither"),
        (stat.S_IFDIR | 0o755, "folder by its mode"),
    ],
)
def test_only_files_and_folders(mode: int, why: str) -> None:
    with pytest.raises(InvalidPackage, match=why):
        inspect(pack((entry("thing", mode), b"/etc/passwd")))


def test_a_path_is_there_once_and_is_either_file_or_folder() -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = pack(("app.py", b"good"), ("app.py", b"evil"))
    with pytest.raises(InvalidPackage, match="twice"):
        inspect(twice)
    for other in ("app.py/inner.py", "app.py/"):
        with pytest.raises(InvalidPackage, match="as a file and as a folder"):
            inspect(pack(("app.py", b"file"), (other, b"")))


def test_a_bomb_is_refused_by_what_it_claims() -> None:
    bomb = pack(*((f"{number}.txt", bytes(1024 * 1024)) for number in range(20)))
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge, match="unpacks to 20 MB, more than the 10 MB"):
        inspect(bomb, max_unpacked_bytes=10 * 1024 * 1024)


def test_a_bomb_that_lies_about_its_size_is_refused() -> None:
    honest = pack(("app.py", bytes(1024 * 1024)))
    size = struct.pack("<L", 1024 * 1024)
    assert honest.count(size) == 2, "in the local header and in the directory"
    with pytest.raises(InvalidPackage):
        inspect(honest.replace(size, struct.pack("<L", 10)))


def test_too_many_entries_are_refused_before_they_are_read() -> None:
    content = pack(*((f"{number}.py", b"") for number in range(200)))
    with pytest.raises(InvalidPackage, match="more than 100 entries"):
        inspect(content, max_files=100)
    with pytest.raises(InvalidPackage, match="more than 10 entries"):
        inspect(content, max_files=10)
    assert inspect(content, max_files=200).files == 200


def test_an_entry_that_hides_behind_another_is_refused() -> None:
    content = bytearray(pack(("app.py", b"x"), ("lib.py", b"y")))
    first = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", first + 4)
    length = content.index(b"PK\x05\x06") - second
    content[first + 32 : first + 34] = length.to_bytes(2, "little")  # the first's comment swallows the second
    with pytest.raises(InvalidPackage, match="claims 2 entries and has 1"):
        inspect(bytes(content))


def test_a_package_over_its_size_is_refused() -> None:
    with pytest.raises(TooLarge, match="leave out"):
        inspect(pack(("app.py", bytes(2000)), compression=zipfile.ZIP_STORED), max_bytes=2000)


@pytest.mark.parametrize("content", [b"", b"PK", b"hello" * 1000, b"PK\x05\x06" + bytes(10)])
def test_what_is_not_a_zip_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidPackage, match="not a zip"):
        inspect(content)


def test_a_package_without_files_is_refused() -> None:
    for content in (pack(), pack(("folder/", b""))):
        with pytest.raises(InvalidPackage, match="no files"):
            inspect(content)


def test_methods_other_than_deflate_and_encryption_are_refused() -> None:
    with pytest.raises(InvalidPackage, match="deflate"):
        inspect(pack(("app.py", b"x" * 100), compression=zipfile.ZIP_LZMA))
    plain = bytearray(pack(("app.py", b"x")))
    at = plain.index(b"PK\x01\x02")
    plain[at + 8] |= 1
    with pytest.raises(InvalidPackage, match="encrypted"):
        inspect(bytes(plain))


def test_zip64_is_refused() -> None:
    content = pack(("app.py", b"x"))
    at = content.rindex(b"PK\x05\x06")
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    with pytest.raises(InvalidPackage, match="ZIP64"):
        inspect(content[:at] + locator + content[at:])


good = pack(("app.py", b"def handler(event, context): return event\n"), ("lib/data.bin", bytes(range(256)) * 8))


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_damage_anywhere_is_refused_cleanly_or_harmless(damage: list[tuple[int, int]]) -> None:
    content = bytearray(good)
    for at, byte in damage:
        content[at] = byte
    try:
        found = inspect(bytes(content))
    except (InvalidPackage, TooLarge):
        return
    assert found.files == int.from_bytes(content[content.rindex(b"PK\x05\x06") + 10 :][:2], "little")
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        assert archive.testzip() is None


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused_cleanly(content: bytes) -> None:
    with pytest.raises(InvalidPackage):
        inspect(content)


@settings(max_examples=100)
@given(
    st.dictionaries(
        st.lists(st.text("abcxyz.-_ é", min_size=1, max_size=8), min_size=1, max_size=4).map("/".join),
        st.binary(max_size=50),
        min_size=1,
        max_size=8,
    )
)
def test_what_passes_unpacks_inside_the_folder(files: dict[str, bytes]) -> None:
    content = pack(*files.items())
    try:
        found = inspect(content)
    except InvalidPackage:
        parts = [name.split("/") for name in files]
        assert any(
            {".", ".."} & set(path) or any(other != path and other[: len(path)] == path for other in parts)
            for path in parts
        ), "refused without a reason"
        return
    assert found.files == len(files)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
