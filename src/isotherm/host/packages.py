"""Unpacks a package's zip within bounds. Everything in it is the tenant's: no name and no size is believed."""

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from isotherm.base.errors import InvalidPackage

__all__ = ["readable_by_all", "unpack"]

MAX_FILES = 20_000
MAX_NAME_BYTES = 1024
MAX_DEPTH = 64
CHUNK_BYTES = 256 * 1024


def unpack(source: BinaryIO, folder: Path, max_bytes: int) -> None:
    """Unpack into `folder`, which must not exist; it appears whole or not at all. Blocks. Raises `InvalidPackage`."""
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o755)
    try:
        with zipfile.ZipFile(source) as archive:
            _extract(archive, fresh, max_bytes)
        readable_by_all(fresh)
        fresh.rename(folder)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OverflowError,
    ) as exc:
        raise InvalidPackage(f"the package is not a zip file that can be read: {exc}") from exc
    finally:
        if fresh.exists():
            shutil.rmtree(fresh, ignore_errors=True)


def readable_by_all(folder: Path) -> None:
    """Let sandboxes, which have users of their own, read a tree, whatever the umask of this process is. Blocks."""
    folder.chmod(0o755)
    for root, folders, files in os.walk(folder):
        for name in folders:
            path = Path(root) / name
            if not path.is_symlink():
                path.chmod(0o755)
        for name in files:
            path = Path(root) / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o111 else 0o644)


def _extract(archive: zipfile.ZipFile, folder: Path, max_bytes: int) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_FILES:
        raise InvalidPackage(f"the package has {len(entries)} files; the limit is {MAX_FILES}")
    declared = sum(entry.file_size for entry in entries)
    if declared > max_bytes:
        raise InvalidPackage(
            f"the package unpacks to {declared} bytes; the limit is {max_bytes}", limit_bytes=max_bytes
        )
    seen: set[str] = set()
    left = max_bytes
    for entry in entries:
        parts = _parts(entry)
        name = "/".join(parts)
        if name in seen and not entry.is_dir():
            raise InvalidPackage(f"the package has {name!r} twice")
        seen.add(name)
        target = folder.joinpath(*parts)
        try:
            if entry.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            left = _write(archive, entry, target, left, max_bytes)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as exc:
            raise InvalidPackage(f"the package has {name!r} both as a file and as a folder") from exc


def _parts(entry: zipfile.ZipInfo) -> list[str]:
    """The path's parts. Raises `InvalidPackage` for all that is not a plain file or folder below the root."""
    name = entry.filename
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InvalidPackage(
            f"the package has {name[:200]!r}, which is a link or a device; only files and folders may be in it"
        )
    if entry.flag_bits & 0x1:
        raise InvalidPackage(f"the package has {name[:200]!r}, which is encrypted")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    absolute = name.startswith("/") or "\\" in name or "\0" in name or (len(name) > 1 and name[1] == ":")
    if absolute or ".." in parts or not parts:
        raise InvalidPackage(f"the package has the path {name[:200]!r}; paths must be relative and stay in the package")
    if (
        len(os.fsencode(name)) > MAX_NAME_BYTES
        or len(parts) > MAX_DEPTH
        or max(len(os.fsencode(p)) for p in parts) > 255
    ):
        raise InvalidPackage(f"the package has the path {name[:80]!r}…, which is too long or too deep")
    return parts


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, left: int, max_bytes: int) -> int:
    """Write one file, counting what really comes out of it; returns how many bytes may still follow."""
    executable = (entry.external_attr >> 16) & 0o111
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with archive.open(entry) as source, os.fdopen(os.open(target, flags, 0o755 if executable else 0o644), "wb") as file:
        while chunk := source.read(CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise InvalidPackage(f"the package unpacks to more than {max_bytes} bytes", limit_bytes=max_bytes)
            file.write(chunk)
    return left
