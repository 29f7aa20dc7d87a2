"""Layers of a revision, unpacked over each other into one folder, which instances see at /opt."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from isotherm.base.errors import InvalidPackage
from isotherm.host.packages import readable_by_all, unpack

__all__ = ["lay", "layers_digest"]


def layers_digest(digests: Sequence[str]) -> str:
    """The name of their folder: the same layers in another order are another one."""
    return hashlib.sha256("\0".join(digests).encode()).hexdigest()


def lay(digests: Sequence[str], folder: Path, open_zip: Callable[[str], BinaryIO], max_bytes: int) -> None:
    """Make `folder`, which must not exist; it appears whole or not at all. What a later layer has goes before what an
    earlier one has. Blocks. Raises `InvalidPackage`, `NotFound`."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        for number, digest in enumerate(digests):
            single = folder.with_name(f".{folder.name}.{number}")
            shutil.rmtree(single, ignore_errors=True)
            with open_zip(digest) as source:
                unpack(source, single, max_bytes)
            _merge(single, fresh)
            shutil.rmtree(single)
        if sum(each.stat().st_size for each in fresh.rglob("*") if each.is_file()) > max_bytes:
            raise InvalidPackage(f"the layers together unpack to more than {max_bytes} bytes", limit_bytes=max_bytes)
        readable_by_all(fresh)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _merge(source: Path, target: Path) -> None:
    """Nothing in it is a link: packages with links are refused where they are unpacked."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        place = target / entry.name
        if entry.is_dir():
            if place.is_file():
                place.unlink()
            _merge(entry, place)
        else:
            if place.is_dir():
                shutil.rmtree(place)
            entry.replace(place)
