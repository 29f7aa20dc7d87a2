"""The archive of all state: a zip of JSON lines per table, blobs by digest, and a manifest with checksums.

    tables/control/events.jsonl    one JSON array per row, in the order of the manifest's columns; bytes are base64
    blobs/<sha-256>                packages, as they were uploaded
    host/queue.db                  asynchronous calls, as a host keeps them that has a queue of its own
    keys/master.key                only where it was asked for
    manifest.json                  the last entry: what there is, and the SHA-256 of each table's lines

Secrets stay sealed under the master key, of which the manifest holds a keyed digest: an import under another one is
refused. The manifest names the schema of the tables, so a newer Isotherm reads an older one's archive: it makes the
tables as they were, loads them, and migrates.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, Literal, Protocol

import msgspec
from sqlalchemy import LargeBinary, Table

from isotherm.base.errors import Invalid
from isotherm.db.migrate import Family
from isotherm.storage.vault import Vault

__all__ = [
    "FORMAT",
    "KEY_PATH",
    "MANIFEST_PATH",
    "VERSION",
    "ColumnEntry",
    "LineWriter",
    "Manifest",
    "OnProgress",
    "TableEntry",
    "blob_path",
    "columns_of",
    "key_digest",
    "read_lines",
    "read_manifest",
    "table_path",
]

FORMAT, VERSION = "isotherm-archive", 1
MANIFEST_PATH = "manifest.json"
KEY_PATH = "keys/master.key"
_max_manifest_bytes = 256 * 1024 * 1024
_max_line_bytes = 256 * 1024 * 1024


class OnProgress(Protocol):
    def __call__(self, what: str, done: int, of: int) -> None:
        """So much of it is done."""


class ColumnEntry(msgspec.Struct, frozen=True):
    name: str
    kind: Literal["plain", "bytes"]


class TableEntry(msgspec.Struct, frozen=True, kw_only=True):
    database: Family
    name: str
    columns: list[ColumnEntry]
    rows: int
    sha256: str  # of its lines


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    format: str = FORMAT
    version: int = VERSION
    isotherm: str  # version that made it
    made_at_ms: int
    source: str  # sqlite, postgresql
    schemas: dict[Family, str]
    master_key: str  # keyed digest, see `key_digest`
    head: str  # newest hash of the event log
    keys: bool  # whether the master key is in it
    tables: list[TableEntry]
    blobs: list[str]
    queue: str | None = None  # SHA-256 of the host's queue; None where there is none
    missing_blobs: list[str]  # swept while it was made: nothing needed them any more


def key_digest(master_key: bytes) -> str:
    """Tells whether two master keys are the same, and nothing else of them."""
    return Vault(master_key).fingerprint("archive", b"isotherm")


def table_path(database: Family, name: str) -> str:
    return f"tables/{database}/{name}.jsonl"


def blob_path(digest: str) -> str:
    return f"blobs/{digest}"


def columns_of(table: Table) -> list[ColumnEntry]:
    return [ColumnEntry(str(each.name), "bytes" if isinstance(each.type, LargeBinary) else "plain") for each in table.c]


class LineWriter:
    """Writes rows as lines; `rows` and `sha256` are of those written so far."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.rows = 0

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def write(self, row: tuple[object, ...]) -> None:
        line = msgspec.json.encode(row) + b"\n"
        self._file.write(line)
        self._sha256.update(line)
        self.rows += 1


def read_lines(file: BinaryIO, entry: TableEntry) -> Iterator[dict[str, object]]:
    """The rows of a table by column. Raises `Invalid` at the end where they are not those that were written."""
    sha256, count = hashlib.sha256(), 0
    kinds = [bytes if column.kind == "bytes" else object for column in entry.columns]
    names = [column.name for column in entry.columns]
    while line := file.readline(_max_line_bytes):
        sha256.update(line)
        try:
            values = msgspec.json.decode(line, type=list[object])
            if len(values) != len(names):
                raise ValueError(f"{len(values)} values for {len(names)} columns")
            yield {
                name: msgspec.convert(value, bytes) if kind is bytes and value is not None else value
                for name, kind, value in zip(names, kinds, values, strict=True)
            }
        except (ValueError, msgspec.MsgspecError) as exc:
            raise Invalid(f"{_path(entry)}, line {count + 1}: {exc}: the archive is damaged") from exc
        count += 1
    if sha256.hexdigest() != entry.sha256 or count != entry.rows:
        raise Invalid(f"{_path(entry)} is not as it was written: {count} of {entry.rows} rows, or another checksum")


def read_manifest(archive: zipfile.ZipFile) -> Manifest:
    """Raises `Invalid` where this is no archive, or one of a newer format."""
    try:
        if archive.getinfo(MANIFEST_PATH).file_size > _max_manifest_bytes:
            raise Invalid("the archive's manifest is too large")
        manifest = msgspec.json.decode(archive.read(MANIFEST_PATH), type=Manifest)
    except KeyError as exc:
        raise Invalid("this is no archive of `isotherm export`, or it was cut off: it has no manifest") from exc
    except (msgspec.MsgspecError, zipfile.BadZipFile) as exc:
        raise Invalid(f"the archive's manifest cannot be read: {exc}") from exc
    if (manifest.format, manifest.version) != (FORMAT, VERSION):
        raise Invalid(f"this is {manifest.format} {manifest.version}; this Isotherm reads {FORMAT} {VERSION}")
    return manifest


def _path(entry: TableEntry) -> str:
    return table_path(entry.database, entry.name)
