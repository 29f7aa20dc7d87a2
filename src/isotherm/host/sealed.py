"""An append-only file of encrypted records. Its end may be torn by a crash: what is whole before it counts."""

import os
import secrets
import struct
from collections.abc import Iterable
from pathlib import Path

from isotherm.base.errors import Unavailable
from isotherm.storage.durable import sync_folder
from isotherm.storage.vault import Vault

__all__ = ["SealedLog"]

MAGIC = b"isosl\x01\x00\x00"
ID_BYTES = 16
length_field = struct.Struct("<I")
MAX_RECORD_BYTES = 256 * 1024 * 1024


class SealedLog:
    """Each record is bound to the file and to its place in it. Blocks; one thread at a time."""

    def __init__(self, path: Path, vault: Vault, purpose: str) -> None:
        self.path = path
        self.size_bytes = 0
        self._vault = vault
        self._purpose = purpose
        self._file_id = ""
        self._count = 0

    def read(self) -> list[bytes]:
        """All whole records; the file is cut behind them. Raises `Unavailable` where the master key is another one."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        start = len(MAGIC) + ID_BYTES
        if len(content) < start or not content.startswith(MAGIC):
            return []
        self._file_id = content[len(MAGIC) : start].hex()
        records: list[bytes] = []
        offset = start
        while len(content) - offset >= length_field.size:
            (length,) = length_field.unpack_from(content, offset)
            begin = offset + length_field.size
            if length > MAX_RECORD_BYTES or len(content) - begin < length:
                break
            try:
                records.append(
                    self._vault.open(self._purpose, content[begin : begin + length], self._context(len(records)))
                )
            except Unavailable:
                if not records:
                    raise
                break
            offset = begin + length
        self._count = len(records)
        self.size_bytes = offset
        if offset < len(content):
            os.truncate(self.path, offset)
        return records

    def append(self, record: bytes) -> None:
        """Add a record and make it durable. Raises `OSError`."""
        if not self._file_id:
            self.replace([record])
            return
        with open(self.path, "ab") as file:
            self.size_bytes += file.write(self._framed(record, self._count))
            file.flush()
            os.fdatasync(file.fileno())
        self._count += 1

    def replace(self, records: Iterable[bytes]) -> None:
        """Write the file anew, whole or not at all. Raises `OSError`."""
        file_id = secrets.token_bytes(ID_BYTES)
        fresh = self.path.with_name(self.path.name + ".new")
        previous, self._file_id = self._file_id, file_id.hex()
        count = 0
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                size = file.write(MAGIC + file_id)
                for count, record in enumerate(records, 1):
                    size += file.write(self._framed(record, count - 1))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
            sync_folder(self.path.parent)
        except BaseException:
            self._file_id = previous
            raise
        self._count = count
        self.size_bytes = size

    def _framed(self, record: bytes, index: int) -> bytes:
        sealed = self._vault.seal(self._purpose, record, self._context(index))
        return length_field.pack(len(sealed)) + sealed

    def _context(self, index: int) -> str:
        return f"{self._file_id}:{index}"
