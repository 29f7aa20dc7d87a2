"""Zips of code, checked before they are kept: every path stays inside, nothing is a link, nothing unpacks to a bomb.

What passes here can be unpacked by `zipfile` without surprises. Nothing is believed that the archive says of itself:
every file is unpacked (to nowhere) and its length and checksum are compared.
"""

import hashlib
import stat
import struct
import zipfile
import zlib
from typing import BinaryIO

import msgspec

from isotherm.base.errors import InvalidPackage, TooLarge

__all__ = ["Contents", "PackageLimits", "inspect_package"]

_megabyte = 1024 * 1024
_chunk_bytes = 256 * 1024
_max_path_bytes = 1024
_max_part_bytes = 255
_max_requirements_bytes = 256 * 1024
_end = struct.Struct("<4s4H2LH")  # the end of central directory record
_end_signature = b"PK\x05\x06"
_zip64_locator_signature = b"PK\x06\x07"
_max_comment_bytes = 65535
_encrypted = 0x1


class PackageLimits(msgspec.Struct, frozen=True, kw_only=True):
    max_bytes: int = 50 * _megabyte
    max_unpacked_bytes: int = 250 * _megabyte
    max_files: int = 20_000


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a good package holds."""

    size_bytes: int
    unpacked_bytes: int
    files: int
    requirements: str | None  # digest of /requirements.txt, where there is one


def inspect_package(content: BinaryIO, limits: PackageLimits) -> Contents:
    """Check a zip. Raises `InvalidPackage` naming the entry and what is wrong with it, `TooLarge`."""
    size_bytes = content.seek(0, 2)
    if size_bytes > limits.max_bytes:
        raise TooLarge(
            f"the package has {size_bytes / _megabyte:.1f} MB, more than the {limits.max_bytes / _megabyte:.0f} MB "
            "allowed: leave out what does not belong to the code (data, environments, .git)",
            size_bytes=size_bytes,
            limit_bytes=limits.max_bytes,
        )
    claimed = _check_directory(content, size_bytes, limits)
    content.seek(0)
    try:
        with zipfile.ZipFile(content) as archive:
            found = len(archive.infolist())
            if found != claimed:
                raise InvalidPackage(f"the package claims {claimed} entries and has {found}: it is damaged")
            return _inspect(archive, size_bytes, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError, struct.error) as exc:
        raise InvalidPackage(f"the package is not a zip that can be read: {exc}") from exc
    except RuntimeError as exc:  # what zipfile raises for some encrypted entries
        raise InvalidPackage(f"the package cannot be unpacked: {exc}") from exc


def _check_directory(content: BinaryIO, size_bytes: int, limits: PackageLimits) -> int:
    """Bound the list of entries before `zipfile` reads it into memory: a million empty files fit into 50 MB.

    Returns how many entries there are to be.
    """
    content.seek(max(0, size_bytes - _end.size - _max_comment_bytes))
    tail = content.read()
    at = tail.rfind(_end_signature)
    if at < 0 or len(tail) - at < _end.size:
        raise InvalidPackage("the package is not a zip, or its end is missing: send the bytes of a .zip file")
    if _zip64_locator_signature in tail[max(0, at - 20) : at]:
        raise InvalidPackage("the package is in the ZIP64 format, which archives of this size do not need: zip it anew")
    _, _, _, _, entries, directory_bytes, _, _ = _end.unpack_from(tail, at)
    if entries > limits.max_files or directory_bytes > limits.max_files * 400:
        raise _too_many(limits)
    return int(entries)


def _inspect(archive: zipfile.ZipFile, size_bytes: int, limits: PackageLimits) -> Contents:
    entries = archive.infolist()
    unpacked_bytes = sum(entry.file_size for entry in entries)
    if unpacked_bytes > limits.max_unpacked_bytes:
        raise TooLarge(
            f"the package unpacks to {unpacked_bytes / _megabyte:.0f} MB, more than the "
            f"{limits.max_unpacked_bytes / _megabyte:.0f} MB allowed",
            unpacked_bytes=unpacked_bytes,
            limit_bytes=limits.max_unpacked_bytes,
        )
    files: set[str] = set()
    folders: set[str] = set()
    requirements: str | None = None
    for entry in entries:
        path = _checked_path(entry)
        _check_kind(entry)
        if entry.is_dir():
            folders.add(path)
            continue
        if path in files:
            raise _bad(entry, "is there twice")
        files.add(path)
        folders.update(path[:at] for at, sign in enumerate(path) if sign == "/")
        digest = _read_through(archive, entry)
        if path == "requirements.txt":
            if entry.file_size > _max_requirements_bytes:
                raise _bad(entry, f"has more than {_max_requirements_bytes // 1024} KB")
            requirements = digest
    both = files & folders
    if both:
        raise InvalidPackage(f"the package has {min(both)!r} as a file and as a folder", entry=min(both))
    if not files:
        raise InvalidPackage("the package has no files")
    return Contents(size_bytes=size_bytes, unpacked_bytes=unpacked_bytes, files=len(files), requirements=requirements)


def _checked_path(entry: zipfile.ZipInfo) -> str:
    """The entry's path, without the slash of a folder. `orig_filename` is the name before zipfile mends it."""
    name = entry.orig_filename
    if "\x00" in name or "\\" in name:
        raise _bad(entry, "has a backslash or a zero byte in its path; use forward slashes")
    if name.startswith("/") or name[1:2] == ":":
        raise _bad(entry, "has an absolute path; paths are relative to the package")
    path = name.removesuffix("/")
    parts = path.split("/")
    if ".." in parts:
        raise _bad(entry, "climbs out of the package with '..'")
    if "" in parts or "." in parts:
        raise _bad(entry, "has an empty part or '.' in its path")
    try:
        encoded = [part.encode() for part in parts]
    except UnicodeEncodeError:
        raise _bad(entry, "has a path that is not Unicode text") from None
    if len(path.encode()) > _max_path_bytes or max(map(len, encoded)) > _max_part_bytes:
        raise _bad(entry, f"has a path longer than {_max_path_bytes} bytes, or a part longer than {_max_part_bytes}")
    return path


def _check_kind(entry: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise _bad(entry, "is a symbolic link; put the file itself into the package")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _bad(entry, "is neither a file nor a folder")
    if (kind == stat.S_IFDIR) != entry.is_dir() and kind != 0:
        raise _bad(entry, "is a folder by its mode and a file by its name, or the reverse")
    if entry.is_dir() and entry.file_size:
        raise _bad(entry, "is a folder with content")
    if entry.flag_bits & _encrypted:
        raise _bad(entry, "is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _bad(entry, "is packed with a method other than deflate")


def _read_through(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    """Unpack it to nowhere; its SHA-256. zipfile compares the checksum, and stops at the length that it claims."""
    sha256 = hashlib.sha256()
    length = 0
    with archive.open(entry) as stream:
        while chunk := stream.read(_chunk_bytes):
            length += len(chunk)
            sha256.update(chunk)
    if length != entry.file_size:
        raise _bad(entry, f"unpacks to {length} bytes and claims {entry.file_size}")
    return sha256.hexdigest()


def _too_many(limits: PackageLimits) -> InvalidPackage:
    return InvalidPackage(f"the package has more than {limits.max_files} entries", limit=limits.max_files)


def _bad(entry: zipfile.ZipInfo, what: str) -> InvalidPackage:
    name = entry.orig_filename[:200].encode(errors="replace").decode()
    return InvalidPackage(f"the package's entry {name!r} {what}", entry=name)
