"""The host's queue in an archive: a copy of its file from one moment, made beside a host that writes to it."""

import contextlib
import hashlib
import sqlite3
import tempfile
import zipfile
from pathlib import Path

from isotherm.base.errors import Conflict, Invalid, Unavailable

__all__ = ["QUEUE_PATH", "read_queue", "refuse_queue", "write_queue"]

QUEUE_PATH = "host/queue.db"  # in the archive, and in the data folder
_chunk_bytes = 1024 * 1024
_busy_s = 10.0


def write_queue(archive: zipfile.ZipFile, data_dir: Path) -> str | None:
    """The SHA-256 of what was written; None where the host has no queue. Raises `Unavailable`."""
    path = data_dir / QUEUE_PATH
    if not path.exists():
        return None
    sha256 = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".queue-") as copy:
        try:
            with (
                contextlib.closing(sqlite3.connect(path, timeout=_busy_s)) as source,
                contextlib.closing(sqlite3.connect(copy.name)) as target,
            ):
                source.backup(target)
        except sqlite3.Error as exc:
            raise Unavailable(f"the queue {path} cannot be read: {exc}") from exc
        with archive.open(QUEUE_PATH, "w", force_zip64=True) as file:
            while chunk := copy.read(_chunk_bytes):
                sha256.update(chunk)
                file.write(chunk)
    return sha256.hexdigest()


def refuse_queue(data_dir: Path) -> None:
    """Raises `Conflict` where the data folder has a queue already."""
    if (data_dir / QUEUE_PATH).exists():
        raise Conflict(f"{data_dir} is not empty (it has {QUEUE_PATH}): import into a new data folder")


def read_queue(archive: zipfile.ZipFile, data_dir: Path, sha256: str) -> Path:
    """Put it beside its place, checked; the caller renames it once all else is there. Raises `Invalid`."""
    path = data_dir / QUEUE_PATH
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = path.with_name(".queue.db.part")
    found = hashlib.sha256()
    try:
        with archive.open(QUEUE_PATH) as file, fresh.open("wb") as target:
            fresh.chmod(0o600)
            while chunk := file.read(_chunk_bytes):
                found.update(chunk)
                target.write(chunk)
    except KeyError as exc:
        raise Invalid(f"the archive lacks {QUEUE_PATH}: it is damaged") from exc
    if found.hexdigest() != sha256:
        fresh.unlink()
        raise Invalid(f"{QUEUE_PATH} in the archive has another checksum: it is damaged")
    return fresh
