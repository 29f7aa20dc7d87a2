"""The port of blobs: bytes named by their own SHA-256."""

from typing import BinaryIO, Protocol

__all__ = ["Blobs"]


class Blobs(Protocol):
    """Immutable blobs by digest (64 hex digits). Thread-safe; a blob is there whole or not at all."""

    def put(self, content: bytes | BinaryIO) -> str:
        """Store `content` (a stream is read to its end) and return its digest. Storing it again changes nothing.

        Raises `Unavailable` where the store cannot be written.
        """

    def read(self, digest: str) -> bytes:
        """The whole blob. Raises `NotFound`, `Unavailable`."""

    def open(self, digest: str) -> BinaryIO:
        """The blob as a readable, seekable stream, for the caller to close. Raises `NotFound`, `Unavailable`."""

    def exists(self, digest: str) -> bool:
        """Whether the blob is there. Raises `Unavailable`."""

    def size(self, digest: str) -> int:
        """Bytes of the blob. Raises `NotFound`, `Unavailable`."""

    def delete(self, digest: str) -> None:
        """Remove the blob; harmless where it is not there. Raises `Unavailable`."""
