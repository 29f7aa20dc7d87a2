"""Runs `python -m isotherm.maintenance` on a data folder: as the service's user, with what it may see and no more."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.errors import Invalid, IsothermError, Unavailable, all_errors, error_from_problem
from isotherm.base.settings import Settings, load_settings
from isotherm.cli.output import output
from isotherm.warden.groundwork import GroundworkError, lay_out, lock_folder
from isotherm.warden.launch import Identity, Launch, LaunchError, interpreter_paths, service_identity, start
from isotherm.wire.maintenance import Job, MaintenanceBoot, Said

__all__ = ["maintenance_settings", "run_maintenance"]

_show_every_s = 0.2


def maintenance_settings(data: Path | None, database: str | None, queue_database: str | None = None) -> Settings:
    """With the folder that `up` would take where none is named."""
    from isotherm.cli.commands.up import default_data

    given = {"data": str(data.absolute()) if data else None, "database": database, "queue_database": queue_database}
    settings = load_settings(given, os.environ)
    return msgspec.structs.replace(settings, data=str(Path(settings.data or default_data()).absolute()))


def run_maintenance(settings: Settings, job: Job, *, exclusive: bool, fds: Sequence[int] = ()) -> Any:
    """What the job found. `exclusive`: the folder is made and locked, so a platform that runs on it is refused.

    Raises what the job raised, `Conflict` (somebody uses the folder), `Invalid` (there is no such folder).
    """
    try:
        lock = lock_folder(settings.data, os.getpid(), settings.drain_timeout_s) if exclusive else None
        identity = _identity(settings, exclusive)
    except (GroundworkError, LaunchError) as exc:
        raise all_errors().get(getattr(exc, "code", "unavailable"), IsothermError)(str(exc)) from exc
    try:
        return _run(settings, job, identity, fds)
    finally:
        if lock is not None:
            os.close(lock)


def _identity(settings: Settings, exclusive: bool) -> Identity:
    """Who works on the folder: the service's user, or whoever it was when the folder was made."""
    if exclusive:
        return lay_out(settings.data, service_identity(settings.service_user)).identity
    try:
        owner = Path(settings.data, "keys").lstat()
    except OSError as exc:
        raise Invalid(f"--data {settings.data}: there is no platform's state there; name its data folder") from exc
    return Identity(owner.st_uid, owner.st_gid) if os.geteuid() == 0 else service_identity(None)


def _run(settings: Settings, job: Job, identity: Identity, fds: Sequence[int]) -> Any:
    report, theirs = os.pipe()
    boot = MaintenanceBoot(data_dir=settings.data, database=settings.database, report_fd=theirs, job=job)
    boot_fd = os.memfd_create("boot")
    os.write(boot_fd, msgspec.json.encode(boot))
    os.lseek(boot_fd, 0, os.SEEK_SET)
    root = os.geteuid() == 0
    pid = start(
        Launch(
            argv=(sys.executable, "-P", "-m", "isotherm.maintenance", "--boot-fd", str(boot_fd)),
            env=dict(os.environ),
            fds=(boot_fd, theirs, *fds),
            identity=identity if root else None,
            readable=interpreter_paths() if root else (),
            writable=(settings.data,) if root else (),
        )
    )
    os.close(boot_fd)
    os.close(theirs)
    with os.fdopen(report, "rb") as lines:
        last = _follow(msgspec.json.decode(line, type=Said) for line in lines)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if last is None:
        raise Unavailable(f"the maintenance process ended with {code} and without a word; its stderr says why")
    if last.problem is not None:
        raise error_from_problem(last.problem)
    return last.result


def _follow(lines: Iterator[Said]) -> Said | None:
    """Show progress to who watches; the last word."""
    shown_s, live = 0.0, output.live
    last = None
    for said in lines:
        if said.op != "progress":
            last = said
        elif live and time.monotonic() - shown_s > _show_every_s:
            shown_s = time.monotonic()
            sys.stderr.write(f"\r\033[K{said.what}: {said.done:,} of {said.of:,}")
            sys.stderr.flush()
    if live and shown_s:
        sys.stderr.write("\r\033[K")
    return last
