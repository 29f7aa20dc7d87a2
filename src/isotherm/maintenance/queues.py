"""The queue in an archive: the calls of one moment as a SQLite file, whichever kind of queue they are from or for."""

import contextlib
import hashlib
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from isotherm.base.errors import Conflict, Invalid, Unavailable
from isotherm.maintenance import shared_queue

__all__ = ["QUEUE_PATH", "placed_queue", "read_queue", "refuse_queue", "write_queue"]

QUEUE_PATH = "host/queue.db"  # in the archive, and in the data folder
_chunk_bytes = 1024 * 1024
_busy_s = 10.0


def write_queue(archive: zipfile.ZipFile, data_dir: Path, url: str | None) -> str | None:
    """The SHA-256 of what was written; None where there is no queue. `url`: of the Postgres that has it.

    Raises `Unavailable`.
    """
    path = data_dir / QUEUE_PATH
    if url is None and not path.exists():
        return None
    sha256 = hashlib.sha256()
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".queue-") as copy:
        if url is None:
            _copy_file(path, copy.name)
        elif not shared_queue.copy_out(url, copy.name):
            return None
        with archive.open(QUEUE_PATH, "w", force_zip64=True) as file:
            while chunk := copy.read(_chunk_bytes):
                sha256.update(chunk)
                file.write(chunk)
    return sha256.hexdigest()


def refuse_queue(data_dir: Path, url: str | None) -> None:
    """Raises `Conflict` where there are calls already, `Unavailable`."""
    if (data_dir / QUEUE_PATH).exists():
        raise Conflict(f"{data_dir} is not empty (it has {QUEUE_PATH}): import into a new data folder")
    if url is not None and shared_queue.has_rows(url):
        raise Conflict("the queue's database is not empty: import into one without calls, or without --queue-database")


def read_queue(archive: zipfile.ZipFile, data_dir: Path, sha256: str) -> Path:
    """Put it beside its place, checked; `placed_queue` takes it from there. Raises `Invalid`."""
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


@contextlib.contextmanager
def placed_queue(fresh: Path | None, data_dir: Path, url: str | None) -> Iterator[None]:
    """Its calls are in the queue once the block has ended well, and not before. Raises `Invalid`, `Unavailable`."""
    if fresh is None:
        yield
        return
    try:
        if url is None:
            yield
            fresh.rename(data_dir / QUEUE_PATH)
        else:
            with shared_queue.copied_in(fresh, url):
                yield
    finally:
        fresh.unlink(missing_ok=True)


def _copy_file(path: Path, target: str) -> None:
    try:
        with (
            contextlib.closing(sqlite3.connect(path, timeout=_busy_s)) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
    except sqlite3.Error as exc:
        raise Unavailable(f"the queue {path} cannot be read: {exc}") from exc
