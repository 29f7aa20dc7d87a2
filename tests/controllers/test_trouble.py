"""Control when its disk is full, read-only or locked: clear errors, nothing broken, and it goes on by itself after."""

import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from isotherm.base.errors import IsothermError, Unavailable
from isotherm.base.settings import Settings
from isotherm.bootstrap import Rooms, build_rooms
from isotherm.events.rebuilding import check
from isotherm.maintenance.projections import PROJECTIONS
from isotherm.tenancy.model import SYSTEM
from tests.controllers.processes import listeners, start_control
from tests.house import zipped
from tests.records.test_records import batch, line

DISK_KB = 4096


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True, timeout=20)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of a few megabytes at `folder`."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={DISK_KB}k", "isotherm-test", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)


def fill(folder: Path) -> Path:
    """Take all space that is left."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


def rooms_in(folder: Path) -> Rooms:
    rooms = build_rooms(Settings(), folder, "http://localhost:7071", environ={})
    rooms.tenancy.bootstrap_admin()
    return rooms


def until_it_fails(command: Callable[[int], object], limit: int = 5000) -> IsothermError:
    for number in range(limit):
        try:
            command(number)
        except IsothermError as exc:
            return exc
    raise AssertionError("it never failed")


def is_sound(rooms: Rooms) -> bool:
    for database in (rooms.databases.control, rooms.databases.records):
        with sqlite3.connect(str(database.engine.url.database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return rooms.events.verify().ok and check(rooms.events, PROJECTIONS).equal


@pytest.mark.root
def test_a_full_disk_is_told_breaks_nothing_and_is_got_over(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data") as folder:
        rooms = rooms_in(folder)
        rooms.tenancy.create_namespace(SYSTEM, "team")
        ballast = fill(folder)
        told = until_it_fails(lambda n: rooms.tenancy.create_key(SYSTEM, "team", name=f"k{n}", role="viewer"))
        assert isinstance(told, Unavailable)
        assert "the disk is full: free some space; it goes on by itself" in told.message
        for verb in (
            lambda: rooms.functions.upload_package(SYSTEM, "default", zipped(app="x = 1\n" * 10_000)),
            lambda: until_it_fails(lambda n: rooms.records.ingest(batch(n, logs=[line("x" * 50_000)]))),
        ):
            try:
                found = verb()
            except Unavailable as exc:
                found = exc
            assert isinstance(found, Unavailable), found
        assert rooms.tenancy.namespace(SYSTEM, "team").name == "team", "what is there is still read"
        before = rooms.events.verify().events

        ballast.unlink()
        rooms.tenancy.create_namespace(SYSTEM, "after")
        rooms.functions.upload_package(SYSTEM, "default", zipped(app="y = 1"))
        assert rooms.records.ingest(batch(100_000, logs=[line("after")]))
        assert rooms.events.verify().events == before + 1
        assert is_sound(rooms)
        rooms.close()


@pytest.mark.root
def test_a_read_only_folder_is_told_and_got_over(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rooms_in(folder).close()
    mount("--bind", str(folder), str(folder))
    try:
        mount("-o", "remount,ro,bind", str(folder))
        with pytest.raises(Unavailable, match=r"read-?only|cannot be (written|opened)"):
            rooms_in(folder)
        mount("-o", "remount,rw,bind", str(folder))
        rooms = rooms_in(folder)
        rooms.tenancy.create_namespace(SYSTEM, "team")
        assert is_sound(rooms)
        rooms.close()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)


def test_a_lock_that_another_program_holds_is_told_and_got_over(tmp_path: Path) -> None:
    rooms = rooms_in(tmp_path)
    control = rooms.databases.control
    other = sqlite3.connect(tmp_path / "control.db", isolation_level=None)
    with control.write_engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=200")
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="another program holds its write lock"):
        rooms.tenancy.create_namespace(SYSTEM, "team")
    assert time.monotonic() - began < 9
    assert rooms.tenancy.namespaces(SYSTEM).items, "readers go on"
    other.execute("ROLLBACK")
    rooms.tenancy.create_namespace(SYSTEM, "team")
    assert is_sound(rooms)
    other.close()
    rooms.close()


@pytest.mark.root
async def test_the_control_process_answers_503_on_a_full_disk_and_recovers(tmp_path: Path, data_dir: Path) -> None:
    with small_disk(tmp_path / "data") as folder, listeners(data_dir) as held:
        async with start_control(folder, held) as control, control.client() as client:
            ballast = fill(folder)
            answer = await make_namespaces_until_refused(client)
            assert answer.status_code == 503
            assert "the disk is full" in answer.json()["detail"]
            assert "retry-after" in answer.headers
            assert (await client.get("/api/v1/namespaces")).status_code == 200
            ballast.unlink()
            assert (await client.post("/api/v1/namespaces", json={"name": "after"})).status_code == 201
            verdict = (await client.get("/api/v1/events/verification")).json()
            assert verdict["ok"]
            assert await control.stop() == 0


async def make_namespaces_until_refused(client: httpx.AsyncClient) -> httpx.Response:
    for number in range(3000):
        answer = await client.post("/api/v1/namespaces", json={"name": f"ns-{number}"})
        if answer.status_code != 201:
            return answer
    raise AssertionError("the disk never was full")
