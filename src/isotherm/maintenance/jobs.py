"""The jobs, each over the databases and blobs of one platform."""

import os
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, assert_never

from isotherm.base.clock import SystemClock
from isotherm.base.errors import Invalid, Unavailable
from isotherm.db.migrate import Family, migrate, revisions, schema_of
from isotherm.db.places import Databases, open_databases
from isotherm.events.rebuilding import check, mend
from isotherm.events.service import EventLog
from isotherm.maintenance.archive import Manifest, OnProgress
from isotherm.maintenance.exporting import export_archive
from isotherm.maintenance.importing import import_archive
from isotherm.maintenance.projections import PROJECTIONS, forget_derived
from isotherm.storage.drivers.objects import open_objects
from isotherm.storage.vault import MASTER_KEY_VARIABLE, read_master_key
from isotherm.wire.maintenance import (
    ExportJob,
    HeadJob,
    ImportJob,
    MaintenanceBoot,
    MigrateJob,
    RebuildJob,
    VerifyJob,
)

__all__ = ["run_job"]


def run_job(boot: MaintenanceBoot, progress: OnProgress) -> Any:
    """What the job found or did, as the command line prints it. Raises as the job does."""
    databases = open_databases(Path(boot.data_dir), boot.database)
    try:
        return _run(boot, databases, progress)
    finally:
        databases.close()


def _run(boot: MaintenanceBoot, databases: Databases, progress: OnProgress) -> Any:
    data_dir, job = Path(boot.data_dir), boot.job
    match job:
        case ExportJob():
            return _export(job, data_dir, databases, progress)
        case ImportJob():
            return _import(job, data_dir, databases, progress)
        case MigrateJob():
            return _migrate(job, databases)
        case HeadJob():
            return _log(databases).head()
        case VerifyJob():
            return _log(databases).verify(job.expect)
        case RebuildJob():
            log = _log(databases)
            if job.check:
                return check(log, PROJECTIONS)
            return mend(log, PROJECTIONS, partial(forget_derived, log))
        case _:
            assert_never(job)


def _log(databases: Databases) -> EventLog:
    """Raises `Unavailable` where the schema is not the one that this version works with."""
    found, newest = schema_of(databases.control), revisions("control")[-1]
    if found != newest:
        raise Unavailable(
            f"the database {databases.control.name} has the schema {found or '(none)'}, and this Isotherm works with "
            f"{newest}: start it once with `isotherm up`, or run `isotherm migrate --to newest`"
        )
    return EventLog(databases.control, SystemClock())


def _export(job: ExportJob, data_dir: Path, databases: Databases, progress: OnProgress) -> dict[str, Any]:
    master_key = read_master_key(data_dir, os.environ)
    if master_key is None:
        raise Unavailable(
            f"there is no master key in {data_dir}, and {MASTER_KEY_VARIABLE} is not set: name its folder"
        )
    with os.fdopen(job.file_fd, "wb") as file:
        manifest = export_archive(
            file,
            databases,
            open_objects(str(data_dir / "blobs")),
            data_dir=data_dir,
            master_key=master_key,
            with_keys=job.with_keys,
            isotherm=version("isotherm"),
            now_ms=SystemClock().time_ms(),
            progress=progress,
            queue_database=job.queue_database,
        )
        file.flush()
    return _told(manifest)


def _import(job: ImportJob, data_dir: Path, databases: Databases, progress: OnProgress) -> dict[str, Any]:
    with os.fdopen(job.file_fd, "rb") as file:
        manifest = import_archive(
            file,
            databases,
            open_objects(str(data_dir / "blobs")),
            data_dir=data_dir,
            environ=os.environ,
            progress=progress,
            queue_database=job.queue_database,
        )
    return _told(manifest) | {"log_is_whole": _log(databases).verify(manifest.head).ok}


def _told(manifest: Manifest) -> dict[str, Any]:
    return {
        "isotherm": manifest.isotherm,
        "made_at_ms": manifest.made_at_ms,
        "source": manifest.source,
        "schemas": manifest.schemas,
        "head": manifest.head,
        "keys": manifest.keys,
        "rows": {f"{entry.database}.{entry.name}": entry.rows for entry in manifest.tables},
        "blobs": len(manifest.blobs),
        "missing_blobs": len(manifest.missing_blobs),
    }


def _migrate(job: MigrateJob, databases: Databases) -> dict[str, Any]:
    places: dict[Family, Any] = {"control": databases.control, "records": databases.records}
    for name in job.to:
        if name not in places:
            raise Invalid(f"there is no database {name[:50]!r}: control and records are")
    before = {family: schema_of(database) for family, database in places.items()}
    for family, database in places.items():
        wanted = job.to.get(family)
        if wanted is not None:
            migrate(database, family, revisions(family)[-1] if wanted == "newest" else wanted)
    return {
        family: {"before": before[family], "now": schema_of(database), "known": revisions(family)}
        for family, database in places.items()
    }
