"""A folder of code as a zip: the same bytes for the same content. What has not changed is not compressed again."""

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from isotherm.base.errors import InvalidPackage, TooLarge
from isotherm.client.package import IGNORE_FILE, files_of

__all__ = ["MAX_BYTES", "MAX_FILES", "Packer", "zip_folder"]

MAX_FILES = 20_000
MAX_BYTES = 1 << 30  # within what a zip without 64-bit fields can hold
_LEVEL = 6
_DEFLATED = 8
_VERSION = 20
_UNIX = 3
_DATE = 0x21  # 1 January 1980, the first that a zip can say: when a file was saved makes no other package
_UTF8 = 0x800
_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL = struct.Struct("<4sBBHHHHHLLLHHHHHLL")
_END = struct.Struct("<4sHHHHLLH")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file as it stands in the zip. `key` tells whether the file is still the one that was read."""

    key: tuple[int, ...]
    name: bytes
    flags: int
    crc: int
    size: int
    mode: int
    data: bytes  # deflated


def zip_folder(folder: Path) -> bytes:
    """The zip to upload. Raises `InvalidPackage` (a link that leads out, nothing in it), `TooLarge`."""
    return Packer(folder).pack()


class Packer:
    """Packs one folder again and again; keeps the compressed files in memory between."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: dict[Path, _Entry] = {}

    def pack(self) -> bytes:
        """The zip to upload. Raises `InvalidPackage`, `TooLarge`, and `OSError` where a file goes while it is read."""
        entries: dict[Path, _Entry] = {}
        total = 0
        for count, path in enumerate(files_of(self.folder), 1):
            entry = self._entry(path)
            total += entry.size
            if count > MAX_FILES or total > MAX_BYTES:
                raise TooLarge(
                    f"{self.folder}: more than {MAX_FILES} files or {MAX_BYTES >> 30} GiB; is this the right folder? "
                    f"Patterns in {IGNORE_FILE} leave files out"
                )
            entries[path] = entry
        if not total:
            raise InvalidPackage(f"{self.folder}: nothing to deploy; the folder is empty or all is left out")
        self._entries = entries
        return _join(list(entries.values()))

    def _entry(self, path: Path) -> _Entry:
        status = path.stat()
        mode = 0o100755 if os.access(path, os.X_OK) else 0o100644
        key = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, mode)
        known = self._entries.get(path)
        return known if known is not None and known.key == key else _read(path, self.folder, key, mode)


def _read(path: Path, folder: Path, key: tuple[int, ...], mode: int) -> _Entry:
    content = path.read_bytes()
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
    name = path.relative_to(folder).as_posix()
    try:
        encoded = name.encode()
    except UnicodeEncodeError as exc:
        raise InvalidPackage(f"{name!r}: its name is not UTF-8; rename it, or leave it out in {IGNORE_FILE}") from exc
    return _Entry(
        key=key,
        name=encoded,
        flags=0 if name.isascii() else _UTF8,
        crc=zlib.crc32(content),
        size=len(content),
        mode=mode,
        data=deflate.compress(content) + deflate.flush(),
    )


def _join(entries: list[_Entry]) -> bytes:
    """The file format: PKWARE's APPNOTE 6.3, sections 4.3.7, 4.3.12 and 4.3.16."""
    parts: list[bytes] = []
    central: list[bytes] = []
    offset = 0
    for entry in entries:
        sizes = (entry.crc, len(entry.data), entry.size, len(entry.name), 0)
        local = _LOCAL.pack(b"PK\3\4", _VERSION, entry.flags, _DEFLATED, 0, _DATE, *sizes)
        head = (b"PK\1\2", _VERSION, _UNIX, _VERSION, entry.flags, _DEFLATED, 0, _DATE)
        central += [_CENTRAL.pack(*head, *sizes, 0, 0, 0, entry.mode << 16, offset), entry.name]
        parts += [local, entry.name, entry.data]
        offset += len(local) + len(entry.name) + len(entry.data)
    directory = b"".join(central)
    count = len(entries)
    end = _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), offset, 0)
    return b"".join([*parts, directory, end])
