"""Writes the archive of all state, from one snapshot of each database, beside a platform at work or a stopped one."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import sqlalchemy
from sqlalchemy import MetaData, Table
from sqlalchemy.orm import Session

from isotherm.base.errors import NotFound, Unavailable
from isotherm.db.engine import Database
from isotherm.db.migrate import Family, schema_of
from isotherm.db.places import Databases
from isotherm.events.chain import GENESIS
from isotherm.events.verifying import newest
from isotherm.maintenance.archive import (
    KEY_PATH,
    MANIFEST_PATH,
    LineWriter,
    Manifest,
    OnProgress,
    TableEntry,
    blob_path,
    columns_of,
    key_digest,
    table_path,
)
from isotherm.maintenance.queues import write_queue
from isotherm.storage.port import Blobs

__all__ = ["export_archive", "tables_of"]

_at_once = 1000
_not_state = {"alembic_version"}  # the manifest says it


def export_archive(
    out: BinaryIO,
    databases: Databases,
    blobs: Blobs,
    *,
    data_dir: Path,
    master_key: bytes,
    with_keys: bool,
    isotherm: str,
    now_ms: int,
    progress: OnProgress,
    queue_database: str | None = None,
) -> Manifest:
    """`out` need not be seekable. Raises `Unavailable` where there is nothing to export, or a database fails."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with databases.control.read() as control, databases.records.read() as records:
            sessions: list[tuple[Family, Database, Session]] = [
                ("control", databases.control, control),
                ("records", databases.records, records),
            ]
            schemas = {family: _schema(database) for family, database, _ in sessions}
            tables = [entry for family, _, session in sessions for entry in _write(archive, family, session, progress)]
            digests = list(control.execute(sqlalchemy.text("SELECT DISTINCT digest FROM packages")).scalars())
            head = _head(control)
        missing = _write_blobs(archive, blobs, sorted(digests), progress)
        queue = write_queue(archive, data_dir, queue_database)
        if with_keys:
            archive.writestr(KEY_PATH, master_key)
        manifest = Manifest(
            isotherm=isotherm,
            made_at_ms=now_ms,
            source=databases.control.engine.dialect.name,
            schemas=schemas,
            master_key=key_digest(master_key),
            head=head,
            keys=with_keys,
            queue=queue,
            tables=tables,
            blobs=sorted(set(digests) - set(missing)),
            missing_blobs=missing,
        )
        archive.writestr(MANIFEST_PATH, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return manifest


def tables_of(session: Session) -> list[Table]:
    """Those of a database as they are, each after those that it refers to."""
    found = MetaData()
    found.reflect(session.connection())
    return [table for table in found.sorted_tables if table.name not in _not_state]


def _schema(database: Database) -> str:
    found = schema_of(database)
    if found is None:
        raise Unavailable(f"there is nothing to export: the database {database.name} has no tables")
    return found


def _head(session: Session) -> str:
    """The newest hash of the event log; zeros where its schema has none yet."""
    events = next(table for table in tables_of(session) if table.name == "events")
    return newest(session, events).hash if "hash" in events.c else GENESIS.hex()


def _write(archive: zipfile.ZipFile, family: Family, session: Session, progress: OnProgress) -> Iterator[TableEntry]:
    for table in tables_of(session):
        total = session.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(table)).scalar_one()
        query = sqlalchemy.select(table).order_by(*table.primary_key.columns).execution_options(yield_per=_at_once)
        what = f"{family}.{table.name}"
        with archive.open(table_path(family, table.name), "w", force_zip64=True) as file:
            lines = LineWriter(cast(BinaryIO, file))
            for row in session.execute(query):
                lines.write(tuple(row))
                if lines.rows % _at_once == 0:
                    progress(what, lines.rows, total)
        progress(what, total, total)
        yield TableEntry(
            database=family, name=str(table.name), columns=columns_of(table), rows=lines.rows, sha256=lines.sha256
        )


def _write_blobs(archive: zipfile.ZipFile, blobs: Blobs, digests: list[str], progress: OnProgress) -> list[str]:
    """Those that are gone: a sweep may take what the snapshot's functions no longer need."""
    missing = []
    for number, digest in enumerate(digests):
        progress("blobs", number, len(digests))
        try:
            source = blobs.open(digest)
        except NotFound:
            missing.append(digest)
            continue
        with source, archive.open(zipfile.ZipInfo(blob_path(digest)), "w", force_zip64=True) as file:
            shutil.copyfileobj(source, file, 1024 * 1024)
    progress("blobs", len(digests), len(digests))
    return missing
