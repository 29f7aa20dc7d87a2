"""Blobs in memory: for tests and simulations. Sits the same contract suite as the object store."""

import io
import threading
from typing import BinaryIO

from isotherm.base.errors import NotFound
from isotherm.base.ids import content_digest

__all__ = ["MemoryBlobs"]


class MemoryBlobs:
    """See `isotherm.storage.port.Blobs`."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, content: bytes | BinaryIO) -> str:
        whole = content if isinstance(content, bytes) else content.read()
        digest = content_digest(whole)
        with self._lock:
            self._blobs[digest] = whole
        return digest

    def read(self, digest: str) -> bytes:
        try:
            return self._blobs[digest]
        except KeyError:
            raise NotFound(f"there is no blob {digest}", digest=digest) from None

    def open(self, digest: str) -> BinaryIO:
        return io.BytesIO(self.read(digest))

    def exists(self, digest: str) -> bool:
        return digest in self._blobs

    def size(self, digest: str) -> int:
        return len(self.read(digest))

    def delete(self, digest: str) -> None:
        with self._lock:
            self._blobs.pop(digest, None)
