"""Blobs in an object store, by obstore: a local folder, S3 (and what speaks it), Azure, Google Cloud.

Layout: `<aa>/<digest>`, where `aa` are the digest's first two digits. obstore writes beside and renames (local), or
uploads whole or in parts that are completed at once (cloud): a blob is there whole or not at all.
"""

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from isotherm.base.errors import Invalid, NotFound, Unavailable
from isotherm.base.ids import content_digest

__all__ = ["ObjectBlobs", "open_objects"]

T = TypeVar("T")
_in_memory_bytes = 8 * 1024 * 1024
_chunk_bytes = 1024 * 1024
_digest = re.compile(r"[0-9a-f]{64}\Z")


def open_objects(location: str) -> "ObjectBlobs":
    """Blobs in a folder (a path or `file://` URL; made where it is missing) or in `s3://`, `az://`, `gs://` stores.

    Credentials come from the environment, as each provider's own tools take them. Raises `Invalid`, `Unavailable`.
    """
    try:
        if "://" not in location:
            Path(location).mkdir(mode=0o700, parents=True, exist_ok=True)
            return ObjectBlobs(LocalStore(prefix=location), location)
        if location.startswith("file://"):
            return open_objects(location.removeprefix("file://"))
        return ObjectBlobs(from_url(location), location)
    except OSError as exc:
        raise Unavailable(f"the folder of blobs {location} cannot be made: {exc}") from exc
    except (BaseError, ValueError) as exc:
        raise Invalid(f"blobs cannot be kept at {location!r}: {exc}", location=location) from exc


class ObjectBlobs:
    """See `isotherm.storage.port.Blobs`. `location` is named in errors."""

    def __init__(self, store: ObjectStore, location: str) -> None:
        self._store = store
        self._location = location

    def put(self, content: bytes | BinaryIO) -> str:
        if isinstance(content, bytes):
            digest = content_digest(content)
            self._put(digest, content)
            return digest
        with tempfile.SpooledTemporaryFile(max_size=_in_memory_bytes) as spool:
            digest = _copy(iter(lambda: content.read(_chunk_bytes), b""), cast(BinaryIO, spool))
            self._put(digest, cast(BinaryIO, spool))
        return digest

    def read(self, digest: str) -> bytes:
        whole = self._try(digest, lambda: bytes(obstore.get(self._store, _path(digest)).bytes()))
        self._check(digest, content_digest(whole))
        return whole

    def open(self, digest: str) -> BinaryIO:
        spool = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_in_memory_bytes))  # noqa: SIM115 (given to the caller)
        try:
            self._check(digest, self._try(digest, lambda: self._fetch(digest, spool)))
        except BaseException:
            spool.close()
            raise
        return spool

    def exists(self, digest: str) -> bool:
        try:
            self.size(digest)
        except NotFound:
            return False
        return True

    def size(self, digest: str) -> int:
        return self._try(digest, lambda: int(obstore.head(self._store, _path(digest))["size"]))

    def delete(self, digest: str) -> None:
        try:
            self._try(digest, lambda: obstore.delete(self._store, _path(digest)))
        except NotFound:
            return

    def _put(self, digest: str, content: bytes | BinaryIO) -> None:
        """Written even where it is there already: that mends a damaged one."""
        self._try(digest, lambda: obstore.put(self._store, _path(digest), content))

    def _fetch(self, digest: str, spool: BinaryIO) -> str:
        chunks = obstore.get(self._store, _path(digest)).stream(min_chunk_size=_chunk_bytes)
        return _copy((bytes(chunk) for chunk in chunks), spool)

    def _try(self, digest: str, action: Callable[[], T]) -> T:
        try:
            return action()
        except FileNotFoundError as exc:  # what obstore raises is one of these too
            raise NotFound(f"there is no blob {digest} in {self._location}", digest=digest) from exc
        except (BaseError, OSError) as exc:
            raise Unavailable(f"the blobs in {self._location} cannot be reached: {exc}", digest=digest) from exc

    def _check(self, digest: str, actual: str) -> None:
        if actual != digest:
            raise Unavailable(
                f"the blob {digest} in {self._location} is damaged: its content has another digest; upload it again",
                digest=digest,
                actual=actual,
            )


def _path(digest: str) -> str:
    if not _digest.match(digest):
        raise NotFound(f"{digest[:80]!r} is not a blob's digest (64 hex digits)")
    return f"{digest[:2]}/{digest}"


def _copy(chunks: Iterator[bytes], target: BinaryIO) -> str:
    """Write all chunks, go back to the start, and return the digest of what was written."""
    sha256 = hashlib.sha256()
    for chunk in chunks:
        sha256.update(chunk)
        target.write(chunk)
    target.seek(0)
    return sha256.hexdigest()
