"""Telemetry on disk until control has it: one encrypted file per batch, bounded in all; the oldest goes first."""

import os
from collections import OrderedDict
from pathlib import Path

from isotherm.base.errors import Unavailable
from isotherm.storage.durable import sync_folder
from isotherm.storage.vault import Vault
from isotherm.telemetry.logging import get_logger
from isotherm.wire.link import Telemetry, encode
from isotherm.wire.telemetry import Batch

__all__ = ["BatchKey", "Spool"]

PURPOSE = "host telemetry"
MAX_FILES = 50_000
BatchKey = tuple[str, int]  # boot id, sequence


class Spool:
    """Blocks; one thread at a time."""

    def __init__(self, folder: Path, vault: Vault, max_bytes: int) -> None:
        self.dropped = 0  # batches that the bound made us drop, since the last `take_dropped`
        self._folder = folder
        self._vault = vault
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[BatchKey, int] = OrderedDict()
        self._bytes = 0
        self._log = get_logger("host")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = []
        for path in folder.glob("*.batch"):
            boot, _, number = path.stem.rpartition("-")
            if number.isdigit():
                status = path.stat()
                found.append((status.st_mtime_ns, (boot, int(number)), status.st_size))
        for _, key, size in sorted(found):
            self._sizes[key] = size
            self._bytes += size

    def put(self, batch: Batch) -> bytes:
        """Make the batch durable; returns the link message that carries it. Raises `OSError`."""
        key = (batch.boot_id, batch.sequence)
        message = encode(Telemetry(batch))
        sealed = self._vault.seal(PURPOSE, message, _context(key))
        path = self._path(key)
        fresh = path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fdatasync(file.fileno())
        fresh.rename(path)
        sync_folder(self._folder)
        self._sizes[key] = len(sealed)
        self._bytes += len(sealed)
        while (self._bytes > self._max_bytes or len(self._sizes) > MAX_FILES) and len(self._sizes) > 1:
            self.discard(next(iter(self._sizes)))
            self.dropped += 1
        return message

    def discard(self, key: BatchKey) -> None:
        """Control has it."""
        size = self._sizes.pop(key, None)
        if size is not None:
            self._bytes -= size
            self._path(key).unlink(missing_ok=True)

    def waiting(self) -> list[BatchKey]:
        """What control has not acknowledged, oldest first."""
        return list(self._sizes)

    def get(self, key: BatchKey) -> bytes | None:
        """The link message of a batch; None where it is gone or cannot be read (then it is dropped, and counted)."""
        try:
            return self._vault.open(PURPOSE, self._path(key).read_bytes(), _context(key))
        except FileNotFoundError:
            self._sizes.pop(key, None)
        except (OSError, Unavailable) as exc:
            self._log.error("telemetry cannot be read back", batch=_context(key), problem=str(exc))
            self.discard(key)
            self.dropped += 1
        return None

    def take_dropped(self) -> int:
        dropped, self.dropped = self.dropped, 0
        return dropped

    def _path(self, key: BatchKey) -> Path:
        return self._folder / f"{key[0]}-{key[1]:012d}.batch"


def _context(key: BatchKey) -> str:
    return f"{key[0]}-{key[1]}"
