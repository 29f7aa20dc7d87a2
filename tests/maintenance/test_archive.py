"""Archives: all state comes back as it was, on either database from either; what is damaged or not empty is refused."""

import io
import itertools
import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import text

from isotherm.base.clock import ManualClock
from isotherm.base.errors import Conflict, Invalid, IsothermError, Unavailable
from isotherm.base.settings import Settings
from isotherm.bootstrap import Rooms, build_rooms
from isotherm.db.migrate import migrate
from isotherm.db.places import Databases, open_databases
from isotherm.events.rebuilding import check
from isotherm.functions.model import FunctionConfig
from isotherm.maintenance.archive import Manifest, read_manifest
from isotherm.maintenance.exporting import export_archive, tables_of
from isotherm.maintenance.importing import import_archive
from isotherm.maintenance.projections import PROJECTIONS
from isotherm.storage.drivers.objects import open_objects
from isotherm.storage.vault import master_key_path, read_master_key
from isotherm.tenancy.model import SYSTEM
from tests.databases import Cluster
from tests.house import zipped
from tests.records.test_records import batch, line, minute, record


@dataclass
class Place:
    """A data folder and, on Postgres, a database of its own."""

    folder: Path
    url: str | None

    def rooms(self) -> Rooms:
        return build_rooms(Settings(database=self.url), self.folder, "http://localhost:7071", environ={})

    def open(self) -> Databases:
        return open_databases(self.folder, self.url)

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        databases = self.open()
        found = {}
        for database in (databases.control, databases.records):
            with database.read() as session:
                for table in tables_of(session):
                    rows = session.execute(sqlalchemy.select(table)).all()
                    found[table.name] = sorted((tuple(row) for row in rows), key=repr)
        databases.close()
        return found

    def exported(self, *, with_keys: bool = False) -> bytes:
        databases = self.open()
        out = io.BytesIO()
        export_archive(
            out,
            databases,
            open_objects(str(self.folder / "blobs")),
            data_dir=self.folder,
            master_key=read_master_key(self.folder, {}) or b"",
            with_keys=with_keys,
            isotherm="0.1.0",
            now_ms=ManualClock().time_ms(),
            progress=lambda what, done, of: told.append((what, done, of)),
        )
        databases.close()
        return out.getvalue()

    def imported(self, archive: bytes) -> Manifest:
        databases = self.open()
        try:
            return import_archive(
                io.BytesIO(archive),
                databases,
                open_objects(str(self.folder / "blobs")),
                data_dir=self.folder,
                environ={},
                progress=lambda what, done, of: None,
            )
        finally:
            databases.close()


told: list[tuple[str, int, int]] = []
Places = Callable[[str], Place]


@pytest.fixture
def places(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Places]:
    """Makes places of a kind."""
    made: list[tuple[Cluster, str]] = []
    numbers = itertools.count()

    def place(kind: str) -> Place:
        folder = tmp_path / f"place-{next(numbers)}"
        folder.mkdir()
        if kind == "sqlite":
            return Place(folder, None)
        cluster: Cluster = request.getfixturevalue("postgres")
        made.append((cluster, cluster.create()))
        return Place(folder, cluster.url(made[-1][1]))

    yield place
    for cluster, name in made:
        cluster.drop(name)


def fill(place: Place) -> str:
    """State of every kind; the admin's token."""
    rooms = place.rooms()
    token = rooms.tenancy.bootstrap_admin().token
    package = rooms.functions.upload_package(SYSTEM, "default", zipped(app="def handler(event, context): ...")).digest
    rooms.tenancy.create_namespace(SYSTEM, "team")
    rooms.tenancy.create_key(SYSTEM, "team", name="Ünïcode", role="viewer")
    for number in range(3):
        config = FunctionConfig(package=package, env={"SECRET": f"s3cr3t-{number}"}, public=number == 1)
        made = rooms.functions.deploy(SYSTEM, "default", f"fn-{number}", config)
        rooms.functions.mark_ready(made.revision.id, template=True, unfit=[], elapsed_ms=5.0)
    rooms.denials.note("pr_1", "functions.read", None)
    rooms.records.ingest(batch(1, invocations=[record(1), record(2)], logs=[line('a\\b"ü\n')], minutes=[minute(3)]))
    rooms.close()
    return token


@pytest.mark.parametrize("source", ["sqlite", "postgres"])
@pytest.mark.parametrize("target", ["sqlite", "postgres"])
def test_all_state_moves_from_either_database_to_either(source: str, target: str, places: Places) -> None:
    old, new = places(source), places(target)
    token = fill(old)
    archive = old.exported(with_keys=True)
    manifest = new.imported(archive)
    before, after = old.tables(), new.tables()
    before["meta"] = [row for row in before["meta"] if row[0] != "epoch"]
    assert after == before
    assert sum(map(len, before.values())) > 30
    assert manifest.source == ("sqlite" if source == "sqlite" else "postgresql")

    rooms = new.rooms()
    admin = rooms.tenancy.authenticate(token)
    assert rooms.tenancy.bootstrap_admin().token == token
    assert rooms.events.verify(manifest.head).expected == "found"
    assert check(rooms.events, PROJECTIONS).equal
    number = rooms.functions.get(admin, "default", "fn-2").latest
    assert number is not None
    spec = rooms.functions.spec(number.id)
    assert spec.env == {"SECRET": "s3cr3t-2"}, "sealed, and opened again"
    # It goes on: new rows get numbers that are free.
    rooms.tenancy.create_namespace(admin, "more")
    rooms.records.ingest(batch(2, invocations=[record(3)], logs=[line("b")]))
    assert rooms.events.verify().ok
    rooms.close()
    with pytest.raises(Conflict, match="not empty"):
        new.imported(archive)


def test_secrets_stay_sealed_and_the_master_key_outside(places: Places) -> None:
    place = places("sqlite")
    token = fill(place)
    archive = zipfile.ZipFile(io.BytesIO(place.exported()))
    content = b"".join(archive.read(name) for name in archive.namelist())
    key = read_master_key(place.folder, {})
    assert key is not None
    for secret in (token.encode(), b"s3cr3t", key, key.hex().encode()):
        assert secret not in content
    assert not read_manifest(archive).keys


def test_progress_is_told_to_the_end(places: Places) -> None:
    place = places("sqlite")
    fill(place)
    told.clear()
    place.exported()
    assert [each for each in told if each[0] == "control.events" and each[1] == each[2] > 0]
    assert told[-1] == ("blobs", 1, 1)


def test_the_master_key_has_to_be_there_and_the_same(places: Places) -> None:
    old, new = places("sqlite"), places("sqlite")
    fill(old)
    archive = old.exported()
    with pytest.raises(Conflict, match=r"need its master key.*master\.key.*ISOTHERM_MASTER_KEY"):
        new.imported(archive)
    path = master_key_path(new.folder)
    path.parent.mkdir()
    path.write_bytes(bytes(32))
    with pytest.raises(Conflict, match="another master key"):
        new.imported(archive)
    path.write_bytes(read_master_key(old.folder, {}) or b"")
    new.imported(archive)
    assert new.tables()["keys"] == old.tables()["keys"]


def test_asynchronous_calls_that_wait_come_along_from_beside_a_host_that_writes(places: Places) -> None:
    old, new = places("sqlite"), places("sqlite")
    fill(old)
    (old.folder / "host").mkdir()
    with sqlite3.connect(old.folder / "host" / "queue.db") as host:
        host.execute("PRAGMA journal_mode=WAL")
        host.execute("CREATE TABLE calls (id TEXT)")
        host.execute("INSERT INTO calls VALUES ('committed')")
        host.commit()
        host.execute("INSERT INTO calls VALUES ('under way')")
        archive = old.exported(with_keys=True)
    changed = rewritten(archive, lambda name, content: content + b"x" if name == "host/queue.db" else content)
    with pytest.raises(Invalid, match="another checksum"):
        new.imported(changed)
    assert not any((new.folder / "host").iterdir())
    new.imported(archive)
    with sqlite3.connect(new.folder / "host" / "queue.db") as host:
        assert host.execute("SELECT id FROM calls").fetchall() == [("committed",)]
    with pytest.raises(Conflict, match="not empty"):
        new.imported(archive)


def rewritten(archive: bytes, change: Callable[[str, bytes], bytes | None]) -> bytes:
    """The same archive with entries changed, or (None) left out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            content = change(name, source.read(name))
            if content is not None:
                target.writestr(name, content)
    return out.getvalue()


def manifest_with(**fields: Any) -> Callable[[str, bytes], bytes]:
    return lambda name, content: (
        json.dumps(json.loads(content) | fields).encode() if name == "manifest.json" else content
    )


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut off": (lambda archive: archive[: len(archive) // 2], "damaged, or was cut off"),
    "no zip": (lambda archive: b"hello", "damaged, or was cut off"),
    "no manifest": (
        lambda archive: rewritten(archive, lambda name, content: None if name == "manifest.json" else content),
        "no manifest",
    ),
    "another format": (lambda archive: rewritten(archive, manifest_with(version=2)), "this Isotherm reads"),
    "of a newer Isotherm": (
        lambda archive: rewritten(archive, manifest_with(schemas={"control": "c9999", "records": "r0001"})),
        "does not know",
    ),
    "a changed row": (
        lambda archive: rewritten(
            archive,
            lambda name, content: content.replace(b"team", b"tean") if name.endswith("namespaces.jsonl") else content,
        ),
        "another checksum",
    ),
    "a missing row": (
        lambda archive: rewritten(
            archive, lambda name, content: content.split(b"\n", 1)[1] if name.endswith("logs.jsonl") else content
        ),
        "0 of 1 rows",
    ),
    "a line that is none": (
        lambda archive: rewritten(
            archive, lambda name, content: b"[1,2" + content if name.endswith("keys.jsonl") else content
        ),
        "line 1",
    ),
    "a missing table": (
        lambda archive: rewritten(archive, lambda name, content: None if name.endswith("keys.jsonl") else content),
        "lacks the table keys",
    ),
    "another blob": (
        lambda archive: rewritten(archive, lambda name, content: b"x" if name.startswith("blobs/") else content),
        "another content",
    ),
    "no blob": (
        lambda archive: rewritten(archive, lambda name, content: None if name.startswith("blobs/") else content),
        "lacks the blob",
    ),
    "another key": (
        lambda archive: rewritten(archive, lambda name, content: bytes(32) if name.startswith("keys/") else content),
        "not the key",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_refused_and_leaves_nothing(damage: str, places: Places) -> None:
    old, new = places("sqlite"), places("sqlite")
    fill(old)
    archive = old.exported(with_keys=True)
    do, words = DAMAGES[damage]
    with pytest.raises(IsothermError, match=words) as caught:
        new.imported(do(archive))
    assert isinstance(caught.value, (Invalid, Unavailable))
    assert not any(new.tables().values())
    new.imported(archive)  # the good one still goes in


def test_a_failure_on_postgres_leaves_nothing_either(places: Places) -> None:
    old, new = places("sqlite"), places("postgres")
    fill(old)
    archive = old.exported(with_keys=True)
    with pytest.raises(Invalid):
        new.imported(DAMAGES["a missing row"][0](archive))
    assert not any(new.tables().values())
    new.imported(archive)


def test_an_archive_of_an_older_schema_is_brought_up(places: Places) -> None:
    old, new = places("sqlite"), places("postgres")
    fill(old)
    databases = old.open()
    with databases.control.read() as session:
        events = session.execute(text("SELECT count(*) FROM events")).scalar_one()
    migrate(databases.control, "control", "c0001")
    databases.close()
    archive = old.exported(with_keys=True)
    assert new.imported(archive).schemas["control"] == "c0001"
    rooms = new.rooms()
    verdict = rooms.events.verify()
    rooms.close()
    assert (verdict.ok, verdict.events) == (True, events)


def test_an_import_beside_a_platform_on_the_same_postgres_is_refused(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isotherm.db.engines._former_holder_s", 0.2)
    source, place = places("sqlite"), places("postgres")
    fill(source)
    at_work = place.open()
    with at_work.control.write() as session:
        session.execute(text("SELECT 1"))
    with pytest.raises(Conflict, match="another isotherm writes"):
        place.imported(source.exported(with_keys=True))
    at_work.close()
