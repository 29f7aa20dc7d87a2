"""The zip: stable bytes for equal content, without what has no place in it."""

import io
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import InvalidPackage
from isotherm.client.package import IGNORE_FILE, ignored, parse_patterns, zip_folder


def names(content: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(content)).namelist()


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_equal_content_gives_equal_bytes_whatever_the_times_and_order(tmp_path: Path) -> None:
    put(tmp_path / "a", b_py="2", a_py="1", lib__c_py="3")
    put(tmp_path / "b", lib__c_py="3", a_py="1", b_py="2")
    os.utime(tmp_path / "b" / "a.py", (1, 1))
    (tmp_path / "b" / "a.py").chmod(0o600)
    assert zip_folder(tmp_path / "a") == zip_folder(tmp_path / "b")


def test_an_executable_stays_one(tmp_path: Path) -> None:
    put(tmp_path, run="x")
    (tmp_path / "run").chmod(0o700)
    (info,) = zipfile.ZipFile(io.BytesIO(zip_folder(tmp_path))).infolist()
    assert info.external_attr >> 16 == 0o100755


def test_what_never_belongs_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, app_py="1", lib__m_py="1")
    for name in (".git/config", ".venv/bin/python", "lib/__pycache__/m.cpython-311.pyc", ".env", "old.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert "app.py" in names(zip_folder(tmp_path))
    assert not [name for name in names(zip_folder(tmp_path)) if "git" in name or "pyc" in name or ".env" in name]


def test_own_patterns_leave_out_and_take_back_in(tmp_path: Path) -> None:
    put(tmp_path, app_py="1", data__big="x", data__small="x", test_app_py="1")
    (tmp_path / IGNORE_FILE).write_text("# tests\ntest*.py\n/data/*\n!data/small\n")
    assert names(zip_folder(tmp_path)) == ["app.py", "data/small"]


@pytest.mark.parametrize(
    ("pattern", "path", "is_folder", "verdict"),
    [
        ("*.log", "a.log", False, True),
        ("*.log", "x/y/a.log", False, True),
        ("/a.log", "x/a.log", False, False),
        ("build/", "build", True, True),
        ("build/", "build", False, False),
        ("x/*.py", "x/a.py", False, True),
        ("x/*.py", "x/y/a.py", False, False),
        ("x/**/a.py", "x/y/z/a.py", False, True),
        ("x/**/a.py", "x/a.py", False, True),
        ("**/a.py", "x/y/a.py", False, True),
        ("x/**", "x/y/z", False, True),
        ("[!a].py", "b.py", False, True),
        ("[!a].py", "a.py", False, False),
        ("a?c", "abc", False, True),
        ("a+b", "a+b", False, True),
    ],
)
def test_patterns_mean_what_they_mean_in_gitignore(pattern: str, path: str, is_folder: bool, verdict: bool) -> None:
    assert ignored(path, is_folder, parse_patterns([pattern])) is verdict


@given(st.text(alphabet="ab*?[]!/.\\^-", max_size=12))
def test_any_pattern_can_be_read(pattern: str) -> None:
    assert ignored("a/b", False, parse_patterns([pattern])) in (True, False)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "code", app_py="1")
    (tmp_path / "code" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(InvalidPackage, match="passwd"):
        zip_folder(tmp_path / "code")


def test_a_link_inside_becomes_what_it_leads_to(tmp_path: Path) -> None:
    put(tmp_path, app_py="1")
    (tmp_path / "main.py").symlink_to("app.py")
    assert zipfile.ZipFile(io.BytesIO(zip_folder(tmp_path))).read("main.py") == b"1"


def test_nothing_to_deploy_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidPackage, match="nothing to deploy"):
        zip_folder(tmp_path)
