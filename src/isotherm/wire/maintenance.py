"""What the command line hands to `python -m isotherm.maintenance`, and the JSON lines that come back."""

from typing import Any

import msgspec

__all__ = [
    "ExportJob",
    "HeadJob",
    "ImportJob",
    "Job",
    "MaintenanceBoot",
    "MigrateJob",
    "RebuildJob",
    "Said",
    "VerifyJob",
]


class ExportJob(msgspec.Struct, frozen=True, kw_only=True, tag="export"):
    file_fd: int  # where the archive is written
    with_keys: bool = False
    queue_database: str | None = None  # Postgres URL; None: the queue is in the data folder


class ImportJob(msgspec.Struct, frozen=True, kw_only=True, tag="import"):
    file_fd: int
    queue_database: str | None = None


class HeadJob(msgspec.Struct, frozen=True, kw_only=True, tag="head"):
    pass


class VerifyJob(msgspec.Struct, frozen=True, kw_only=True, tag="verify"):
    expect: str | None = None


class RebuildJob(msgspec.Struct, frozen=True, kw_only=True, tag="rebuild"):
    check: bool = False  # only compare


class MigrateJob(msgspec.Struct, frozen=True, kw_only=True, tag="migrate"):
    to: dict[str, str] = msgspec.field(default_factory=dict)  # schema by database; none: only tell what there is


Job = ExportJob | ImportJob | HeadJob | VerifyJob | RebuildJob | MigrateJob


class MaintenanceBoot(msgspec.Struct, frozen=True, kw_only=True):
    data_dir: str
    database: str | None
    report_fd: int  # lines of `Said` are written here
    job: Job


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """`progress` has `what`, `done`, `of`; `done` a `result`; `failed` a `problem`."""

    op: str
    what: str = ""
    done: int = 0
    of: int = 0
    result: Any = None
    problem: dict[str, Any] | None = None
