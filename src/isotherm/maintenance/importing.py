"""Reads an archive into state that is empty: all of it is there afterwards, or nothing."""

import zipfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import sqlalchemy
from sqlalchemy import Table
from sqlalchemy.orm import Session

from isotherm.base.errors import Conflict, Invalid, Unavailable
from isotherm.db.engine import Database
from isotherm.db.migrate import Family, migrate, revisions, upgrade
from isotherm.db.places import Databases
from isotherm.maintenance.archive import (
    KEY_PATH,
    Manifest,
    OnProgress,
    TableEntry,
    blob_path,
    key_digest,
    read_lines,
    read_manifest,
    table_path,
)
from isotherm.maintenance.exporting import tables_of
from isotherm.maintenance.queues import placed_queue, read_queue, refuse_queue
from isotherm.storage.port import Blobs
from isotherm.storage.vault import MASTER_KEY_VARIABLE, master_key_path, read_master_key, write_master_key

__all__ = ["import_archive"]

_at_once = 1000
_key_bytes = 32


def import_archive(
    file: BinaryIO,
    databases: Databases,
    blobs: Blobs,
    *,
    data_dir: Path,
    environ: Mapping[str, str],
    progress: OnProgress,
    queue_database: str | None = None,
) -> Manifest:
    """Raises `Conflict` (state that is not empty, another master key), `Invalid` (a damaged archive), `Unavailable`."""
    try:
        with zipfile.ZipFile(file) as archive:
            return _import(archive, databases, blobs, data_dir, environ, progress, queue_database)
    except (zipfile.BadZipFile, EOFError) as exc:
        raise Invalid(f"the archive is damaged, or was cut off: {exc}") from exc


def _import(
    archive: zipfile.ZipFile,
    databases: Databases,
    blobs: Blobs,
    data_dir: Path,
    environ: Mapping[str, str],
    progress: OnProgress,
    queue_database: str | None,
) -> Manifest:
    manifest = read_manifest(archive)
    places: list[tuple[Family, Database]] = [("control", databases.control), ("records", databases.records)]
    for family, database in places:
        _check_schema(manifest, family)
        _check_empty(database)
    refuse_queue(data_dir, queue_database)
    _settle_key(archive, manifest, data_dir, environ)
    for number, digest in enumerate(manifest.blobs):
        progress("blobs", number, len(manifest.blobs))
        _put_blob(archive, blobs, digest)
    queue = None if manifest.queue is None else read_queue(archive, data_dir, manifest.queue)
    for family, database in places:
        migrate(database, family, manifest.schemas[family])
    with (
        placed_queue(queue, data_dir, queue_database),
        databases.control.write() as control,
        databases.records.write() as records,
    ):
        for family, session in (("control", control), ("records", records)):
            _load(archive, manifest, family, session, progress)
        # A host that knew the former life of this state must not take a delta of this one for its own.
        control.execute(sqlalchemy.text("DELETE FROM meta WHERE name = 'epoch'"))
    for family, database in places:
        upgrade(database, family)
    return manifest


def _check_schema(manifest: Manifest, family: Family) -> None:
    known, found = revisions(family), manifest.schemas.get(family, "")
    if found not in known:
        raise Unavailable(
            f"the archive has the schema {found[:50]!r} of {family}, which this Isotherm does not know (its newest is "
            f"{known[-1]}): Isotherm {manifest.isotherm[:50]} made it; install that version or a newer one"
        )


def _check_empty(database: Database) -> None:
    with database.read() as session:
        for table in tables_of(session):
            if session.execute(sqlalchemy.select(sqlalchemy.literal(1)).select_from(table).limit(1)).first():
                raise Conflict(
                    f"the database {database.name} is not empty ({table.name} has rows): import into a new data "
                    "folder, and a new database where one is named"
                )


def _settle_key(archive: zipfile.ZipFile, manifest: Manifest, data_dir: Path, environ: Mapping[str, str]) -> None:
    """The master key that opens what is sealed in the archive has to be here, or to come with it."""
    here = read_master_key(data_dir, environ)
    if here is None and manifest.keys:
        key = archive.read(KEY_PATH)
        if len(key) != _key_bytes or key_digest(key) != manifest.master_key:
            raise Invalid(f"{KEY_PATH} in the archive is not the key that it was made with")
        write_master_key(data_dir, key)
        return
    if here is None:
        raise Conflict(
            f"the archive's secrets need its master key, and there is none here: copy it to {master_key_path(data_dir)}"
            f" (mode 0600), or set {MASTER_KEY_VARIABLE}; or export again `--with-keys`"
        )
    if key_digest(here) != manifest.master_key:
        raise Conflict(
            f"the archive's secrets are sealed under another master key than the one here: put that key to "
            f"{master_key_path(data_dir)}, or set {MASTER_KEY_VARIABLE}"
        )


def _put_blob(archive: zipfile.ZipFile, blobs: Blobs, digest: str) -> None:
    try:
        with archive.open(blob_path(digest)) as source:
            stored = blobs.put(cast(BinaryIO, source))
    except KeyError as exc:
        raise Invalid(f"the archive lacks the blob {digest[:64]}: it is damaged") from exc
    if stored != digest:
        blobs.delete(stored)
        raise Invalid(f"the blob {digest[:64]} in the archive has another content: it is damaged")


def _load(archive: zipfile.ZipFile, manifest: Manifest, family: Family, session: Session, progress: OnProgress) -> None:
    entries = {entry.name: entry for entry in manifest.tables if entry.database == family}
    tables = tables_of(session)
    strange = sorted(entries.keys() ^ {table.name for table in tables})
    if strange:
        raise Invalid(f"the archive's tables of {family} are not those of its schema: {', '.join(strange)[:300]}")
    for table in tables:
        _load_table(archive, entries[table.name], table, session, progress)


def _load_table(
    archive: zipfile.ZipFile, entry: TableEntry, table: Table, session: Session, progress: OnProgress
) -> None:
    if {column.name for column in entry.columns} != set(table.c.keys()):
        raise Invalid(f"the archive's columns of {entry.name} are not those of its schema")
    what, done = f"{entry.database}.{entry.name}", 0
    try:
        file = archive.open(table_path(entry.database, entry.name))
    except KeyError as exc:
        raise Invalid(f"the archive lacks the table {entry.name}: it is damaged") from exc
    with file:
        for rows in _batches(read_lines(cast(BinaryIO, file), entry)):
            session.execute(sqlalchemy.insert(table), rows)
            done += len(rows)
            progress(what, done, entry.rows)
    _count_on(session, table)


def _batches(rows: Iterator[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    while batch := list(islice(rows, _at_once)):
        yield batch


def _count_on(session: Session, table: Table) -> None:
    """Postgres numbers new rows by a sequence, which knows nothing of rows that came with their numbers."""
    column = table.autoincrement_column
    if column is None or session.get_bind().dialect.name != "postgresql":
        return
    session.execute(
        sqlalchemy.text(
            f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), max({column.name})) "  # noqa: S608 (names of our schema)
            f"FROM {table.name} HAVING max({column.name}) IS NOT NULL"
        )
    )
