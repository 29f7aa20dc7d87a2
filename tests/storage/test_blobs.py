"""The contract of blobs, over every driver that needs no cloud."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from isotherm.base.errors import Invalid, NotFound, Unavailable
from isotherm.base.ids import content_digest
from isotherm.storage.drivers.memory import MemoryBlobs
from isotherm.storage.drivers.objects import ObjectBlobs, open_objects
from isotherm.storage.port import Blobs

drivers: dict[str, Callable[[Path], Blobs]] = {
    "memory": lambda _: MemoryBlobs(),
    "folder": lambda folder: open_objects(str(folder / "blobs")),
    "file url": lambda folder: open_objects(f"file://{folder}/blobs"),
    "object store": lambda _: ObjectBlobs(MemoryStore(), "memory://"),  # type: ignore[arg-type]  # obstore's own union
}


@pytest.fixture(params=drivers)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return drivers[request.param](tmp_path)


def test_what_was_put_is_read_by_its_digest(blobs: Blobs) -> None:
    digest = blobs.put(b"code")
    assert digest == content_digest(b"code")
    assert blobs.exists(digest)
    assert blobs.size(digest) == 4
    assert blobs.read(digest) == b"code"


def test_a_stream_is_stored_whole(blobs: Blobs) -> None:
    content = bytes(range(256)) * 50_000  # 12.8 MB: over what is held in memory
    digest = blobs.put(io.BytesIO(content))
    assert digest == content_digest(content)
    with blobs.open(digest) as stream:
        assert stream.read(10) == content[:10]
        stream.seek(-6, io.SEEK_END)
        assert stream.read() == content[-6:]


def test_an_empty_blob_is_a_blob(blobs: Blobs) -> None:
    digest = blobs.put(b"")
    assert blobs.read(digest) == b""
    assert blobs.size(digest) == 0


def test_storing_twice_changes_nothing(blobs: Blobs) -> None:
    assert blobs.put(b"same") == blobs.put(io.BytesIO(b"same"))


def test_what_is_not_there_is_not_found(blobs: Blobs) -> None:
    missing = content_digest(b"never stored")
    assert not blobs.exists(missing)
    for question in (blobs.read, blobs.open, blobs.size):
        with pytest.raises(NotFound):
            question(missing)


def test_a_deleted_blob_is_gone_and_deleting_again_is_harmless(blobs: Blobs) -> None:
    digest = blobs.put(b"short-lived")
    blobs.delete(digest)
    assert not blobs.exists(digest)
    blobs.delete(digest)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "/x"])
def test_only_a_digest_names_a_blob(blobs: Blobs, digest: str) -> None:
    assert not blobs.exists(digest)
    with pytest.raises(NotFound):
        blobs.read(digest)


def test_the_layout_in_a_folder(tmp_path: Path) -> None:
    digest = open_objects(str(tmp_path)).put(b"code")
    assert (tmp_path / digest[:2] / digest).read_bytes() == b"code"
    assert [path.name for path in (tmp_path / digest[:2]).iterdir()] == [digest], "nothing half-written stays"


def test_a_damaged_blob_is_not_handed_out(tmp_path: Path) -> None:
    blobs = open_objects(str(tmp_path))
    digest = blobs.put(b"code")
    (tmp_path / digest[:2] / digest).write_bytes(b"evil")
    for question in (blobs.read, blobs.open):
        with pytest.raises(Unavailable, match="damaged"):
            question(digest)
    blobs.put(b"code")
    assert blobs.read(digest) == b"code", "another upload mends it"


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(Invalid, match="ftp"):
        open_objects("ftp://example.org/blobs")


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be made"):
        open_objects(str(tmp_path / "file" / "blobs"))
