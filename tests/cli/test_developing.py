"""Parts of `isotherm dev`: what is packed anew, what is watched, where an error is, what a development function is."""

import io
import os
import pty
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isotherm.base.errors import ImportFailed, IsothermError
from isotherm.cli.dev.build import development_config
from isotherm.cli.dev.keys import Keys
from isotherm.cli.dev.places import place_of
from isotherm.cli.dev.session import first_event
from isotherm.cli.dev.watch import Watch
from isotherm.client import archive
from isotherm.client.archive import Packer, zip_folder
from isotherm.functions.manifest import parse_manifest

names = st.text("abcé", min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.dictionaries(names, st.binary(max_size=3000), min_size=1, max_size=6))
def test_what_is_packed_is_what_zipfile_reads(tmp_path_factory: Any, files: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("code")
    for name, content in files.items():
        (folder / name).write_bytes(content + b"!")
    packed = zipfile.ZipFile(io.BytesIO(zip_folder(folder)))
    assert packed.testzip() is None
    assert {name: packed.read(name) for name in packed.namelist()} == {n: c + b"!" for n, c in files.items()}


def test_only_what_changed_is_compressed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = archive._read

    def spy(path: Path, *rest: Any) -> Any:
        read.append(path.name)
        return real(path, *rest)

    monkeypatch.setattr(archive, "_read", spy)
    for name in ("a.py", "b.py", "c.py"):
        (tmp_path / name).write_text(name)
    packer = Packer(tmp_path)
    first = packer.pack()
    assert packer.pack() == first
    assert read == ["a.py", "b.py", "c.py"]
    (tmp_path / "b.py").write_text("changed")
    (tmp_path / "a.py").unlink()
    assert packer.pack() == zip_folder(tmp_path)
    assert read == ["a.py", "b.py", "c.py", "b.py", "b.py", "c.py"], "the last two by the other packer"


def test_a_watch_counts_what_belongs_into_the_package(tmp_path: Path) -> None:
    (tmp_path / ".isothermignore").write_text("notes/\n*.md\n!keep.md\n")
    watch = Watch(tmp_path, lambda _: None)
    counted = ("app.py", "deep/er/app.py", ".isothermignore", "isotherm.toml", "keep.md", "requirements.txt")
    for name in counted:
        assert watch.counts(str(tmp_path / name)), name
    left_out = ("notes/a.py", "README.md", "__pycache__/app.pyc", ".git/index", "app.py~", ".app.py.swp", ".#app.py")
    for name in left_out:
        assert not watch.counts(str(tmp_path / name)), name


def test_a_watch_tells_of_changes_from_its_beginning_on(tmp_path: Path) -> None:
    told: list[str] = []
    with Watch(tmp_path, told.extend):
        (tmp_path / "app.py").write_text("1")
        deadline = time.monotonic() + 10
        while "app.py" not in told and time.monotonic() < deadline:
            time.sleep(0.01)
    assert told == ["app.py"] * len(told) != []


@pytest.mark.parametrize(
    ("trace", "place"),
    [
        (['  File "/code/app.py", line 3, in f\n    x()\n', '  File "/code/deep/lib.py", line 7\n'], "deep/lib.py:7"),
        (['  File "/code/app.py", line 3, in handler\n', '  File "/usr/lib/python3.11/json.py", line 9\n'], "app.py:3"),
        (["    at handler (/code/app.py:4:11)", "    at run (/code/deep/lib.py:9:1)"], "app.py:4"),
        (["    at file:///code/deep/lib.py:2"], "deep/lib.py:2"),
        (['  File "/code/../../etc/passwd", line 1\n'], None),
        ([], None),
    ],
)
def test_an_error_is_at_the_innermost_place_in_the_folder(tmp_path: Path, trace: list[str], place: str | None) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("app.py", "deep/lib.py"):
        (tmp_path / name).write_text("")
    found = place_of(ImportFailed("it failed", stack_trace=trace), tmp_path)
    assert found == (None if place is None else f"{tmp_path}/{place}")
    assert place_of(IsothermError("it failed"), tmp_path) is None


def test_a_development_function_has_no_schedules_rollouts_and_destinations() -> None:
    text = b"""name = "f"
timeout_s = 7
[asynchronous]
on_failure = "other"
[rollout]
strategy = "canary"
[[cron]]
name = "often"
schedule = "* * * * *"
"""
    config = development_config(parse_manifest(text), "0" * 64, debug=True)
    assert (config["timeout_s"], config["development"], config["debug"]) == (7, True, True)
    assert (config["cron"], config["asynchronous"]["on_failure"]) == ([], None)
    assert config["rollout"]["strategy"] == "all-at-once"


def test_the_first_event_is_one_of_the_folders(tmp_path: Path) -> None:
    assert first_event(tmp_path) == b"{}"
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "a.expect.json").write_text("no")
    (tmp_path / "events" / "b.json").write_text("1")
    assert first_event(tmp_path) == b"1"
    (tmp_path / "event.json").write_text("2")
    assert first_event(tmp_path) == b"2"


def test_keys_at_a_terminal_come_one_by_one_and_it_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    keys: list[str] = []
    with os.fdopen(theirs, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with Keys(keys.append, lambda _: None) as reading:
            assert reading.terminal
            os.write(ours, b"riq")
            deadline = time.monotonic() + 10
            while len(keys) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
        after = termios.tcgetattr(terminal.fileno())
    os.close(ours)
    assert (keys, after) == (["r", "i", "q"], before)
