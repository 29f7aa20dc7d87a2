"""`export`, `import`, `migrate` and `audit`: keeping the state, and checking that it is what it was."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.errors import Invalid, InvalidPackage
from isotherm.base.settings import Settings
from isotherm.cli.connect import connect
from isotherm.cli.maintenance import maintenance_settings, run_maintenance
from isotherm.cli.output import output
from isotherm.cli.times import age, size
from isotherm.storage.postgres import queue_url
from isotherm.wire.maintenance import ExportJob, HeadJob, ImportJob, MigrateJob, RebuildJob, VerifyJob

__all__ = ["export_state", "head", "import_state", "migrate", "rebuild", "verify"]

UNEQUAL = InvalidPackage.exit_code  # 65: the data is not what it should be


def export_state(
    file: str, data: Path | None, database: str | None, queue_database: str | None, with_keys: bool
) -> None:
    """Write the archive; to a file whole or not at all."""
    settings = maintenance_settings(data, database, queue_database)
    queue = queue_url(settings)
    with _target(file) as fd:
        job = ExportJob(file_fd=fd, with_keys=with_keys, queue_database=queue)
        found = run_maintenance(settings, job, exclusive=False, fds=(fd,))
    if file == "-":
        return
    found = found | {"file": str(Path(file).absolute()), "bytes": Path(file).stat().st_size}
    if output.json:
        output.result(found)
        return
    rows = sum(found["rows"].values())
    what = f"{size(found['bytes'])}, {rows:,} rows, {found['blobs']:,} blobs"
    output.line(f"wrote {file}: {what}; the log's head is {found['head']}")
    if with_keys:
        output.note("the archive holds the master key: who has it reads every secret in it")
    else:
        output.note("the master key is not in it: keep DATA/keys/master.key (or ISOTHERM_MASTER_KEY) elsewhere")


def import_state(file: Path, data: Path | None, database: str | None, queue_database: str | None) -> None:
    """Read an archive into an empty data folder (and empty databases)."""
    settings = maintenance_settings(data, database, queue_database)
    queue = queue_url(settings)
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise Invalid(f"{file}: {exc.strerror}; name an archive of `isotherm export`") from exc
    try:
        found = run_maintenance(settings, ImportJob(file_fd=fd, queue_database=queue), exclusive=True, fds=(fd,))
    finally:
        os.close(fd)
    if output.json:
        output.result(found)
        return
    rows = sum(found["rows"].values())
    whole = "whole" if found["log_is_whole"] else "NOT whole: `isotherm audit verify` says more"
    what = f"{rows:,} rows and {found['blobs']:,} blobs, of {age(found['made_at_ms'])} ago"
    output.line(f"read {what}; the log is {whole}")
    output.line(f"next: {_up(settings)}")


def migrate(data: Path | None, database: str | None, to: list[str]) -> None:
    """Tell the schemas, or bring them to others."""
    settings = maintenance_settings(data, database)
    job = MigrateJob(to=_wanted(to))
    found = run_maintenance(settings, job, exclusive=bool(to))
    if output.json:
        output.result(found)
        return
    for name, each in found.items():
        change = each["now"] if each["now"] == each["before"] else f"{each['before']} → {each['now']}"
        output.line(f"{name:<8} {change or '(new)'}; this Isotherm knows {', '.join(each['known'])}")


def head(data: Path | None, database: str | None) -> None:
    """The newest hash of the log."""
    if _offline(data, database):
        found = run_maintenance(maintenance_settings(data, database), HeadJob(), exclusive=False)
    else:
        with connect(None) as client:
            found = msgspec.to_builtins(client.events.head())
    if output.json:
        output.result(found)
    else:
        output.line(found["hash"])


def verify(data: Path | None, database: str | None, expect: str | None) -> int:
    """Returns the exit code: 0 where the log is whole, and has the expected hash."""
    if _offline(data, database):
        found = run_maintenance(maintenance_settings(data, database), VerifyJob(expect=expect), exclusive=False)
    else:
        with connect(None) as client:
            found = msgspec.to_builtins(client.events.verify(expect))
    if output.json:
        output.result(found)
    else:
        _say_verdict(found)
    return 0 if found["ok"] else UNEQUAL


def rebuild(data: Path | None, database: str | None, check: bool) -> int:
    """Returns the exit code: not 0 where a check found something, or something is lost."""
    settings = maintenance_settings(data, database)
    found = run_maintenance(settings, RebuildJob(check=check), exclusive=not check)
    lost = any(each["what"] == "lost" for each in found["differences"])
    if output.json:
        output.result(found)
    else:
        _say_rebuilt(found, check)
    return UNEQUAL if lost or (check and not found["equal"]) else 0


def _say_verdict(found: dict[str, Any]) -> None:
    broken = found["broken"]
    if broken is not None:
        output.line(
            f"event {broken['event_id']} is the first that is not as it was: {broken['kind']} of {broken['subject']}, "
            f"version {broken['version']}: {broken['reason']}"
        )
    else:
        output.line(f"{found['events']:,} events follow from each other; the newest is {found['head']['hash']}")
    if found["expected"] == "missing":
        output.line("the expected hash is not in the log: its end was cut off, or all of it was made anew")


def _say_rebuilt(found: dict[str, Any], check: bool) -> None:
    for each in found["differences"]:
        columns = f": {', '.join(each['columns'])}" if each["columns"] else ""
        output.line(f"{each['table']} {' '.join(each['key'])} is {each['what']}{columns}")
    rows = sum(found["rows"].values())
    if found["equal"]:
        output.line(f"{rows:,} rows of {len(found['rows'])} tables are what the log says")
    else:
        done = "found" if check else "mended"
        output.line(f"{done} {found['found']:,} differences in {rows:,} rows")


def _offline(data: Path | None, database: str | None) -> bool:
    return data is not None or database is not None


def _wanted(to: list[str]) -> dict[str, str]:
    """`newest`, or NAME=SCHEMA for each database."""
    if to == ["newest"]:
        return {"control": "newest", "records": "newest"}
    pairs = [each.partition("=") for each in to]
    if not all(name and sign and schema for name, sign, schema in pairs):
        raise Invalid("--to takes `newest`, or control=SCHEMA and records=SCHEMA; without it the schemas are told")
    return {name: schema for name, _, schema in pairs}


def _up(settings: Settings) -> str:
    databases = (("database", settings.database), ("queue-database", settings.queue_database))
    return " ".join([f"isotherm up --data {settings.data}", *(f"--{name} …" for name, url in databases if url)])


@contextmanager
def _target(file: str) -> Iterator[int]:
    """A descriptor to write to, private; the file is there under its name once all of it is."""
    if file == "-":
        if sys.stdout.isatty():
            raise Invalid("export -: standard output is a terminal; redirect it, or name a file")
        fd = os.dup(1)  # the job's own standard output is the terminal's
        try:
            yield fd
        finally:
            os.close(fd)
        return
    path = Path(file)
    if path.exists():
        raise Invalid(f"{path} exists already; choose another name")
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise Invalid(f"{path}: {exc.strerror}; choose a file that can be written") from exc
    try:
        yield fd
        os.fsync(fd)
        part.rename(path)
    finally:
        os.close(fd)
        part.unlink(missing_ok=True)
