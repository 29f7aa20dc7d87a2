"""What the revisions of each namespace take on this host's disk: each folder of code or dependencies once."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from isotherm.base.errors import TooLarge
from isotherm.host.debugger import debugger_digest
from isotherm.host.layers import layers_digest
from isotherm.host.wanted import wanted_digest
from isotherm.pool.tenants import Tenants
from isotherm.wire.desired import RevisionSpec

__all__ = ["DiskBook"]

MIB = 1024 * 1024


class _Source(NamedTuple):
    """What its folders follow from."""

    package: str
    runtime: str
    scripts: bool
    install: bool
    layers: tuple[str, ...]  # digests of their zips
    debug: bool


class DiskBook:
    """`know` and `forget` are for the loop; what looks at the disk blocks, and is for threads."""

    def __init__(self, code: Path, deps: Path, layers: Path, tenants: Tenants) -> None:
        self._code = code
        self._layers = layers
        self._deps = deps
        self._tenants = tenants
        self._revisions: dict[str, tuple[str, _Source]] = {}  # with the namespace
        self._digests: dict[_Source, str | None] = {}  # of dependencies
        self._sizes: dict[Path, int] = {}  # of folders as they were made: they never change

    def know(self, revision: RevisionSpec) -> None:
        layers = tuple(digest for _, digest in revision.layers)
        source = _Source(
            revision.package,
            revision.runtime,
            revision.install_scripts,
            revision.install,
            layers,
            revision.debug,
        )
        self._revisions[revision.id] = revision.namespace, source

    def forget(self, revision_id: str) -> None:
        self._revisions.pop(revision_id, None)

    def retain(self, revision_ids: Collection[str]) -> None:
        """Forget all others, and the sizes of what is not there any more."""
        self._revisions = {key: found for key, found in list(self._revisions.items()) if key in revision_ids}
        self._sizes = {folder: size for folder, size in list(self._sizes.items()) if folder.is_dir()}
        needed = {source for _, source in self._revisions.values()}
        self._digests = {key: digest for key, digest in list(self._digests.items()) if key in needed}

    def used_bytes(self, namespace: str) -> int:
        """Blocks where a folder is seen for the first time."""
        return sum(map(self._size, self.folders(namespace)))

    def all_used_bytes(self) -> dict[str, int]:
        """By namespace. Blocks as `used_bytes`."""
        return {name: self.used_bytes(name) for name in {name for name, _ in list(self._revisions.values())}}

    def folders(self, namespace: str | None, *, but: str | None = None) -> set[Path]:
        """Those of a namespace, or (None) of all; without what only the revision `but` needs. Blocks."""
        found = set()
        for key, (name, source) in list(self._revisions.items()):
            if key == but or (namespace is not None and name != namespace):
                continue
            found.add(self._code / source.package)
            if source.layers:
                found.add(self._layers / layers_digest(source.layers))
            deps = self._deps_of(source)
            if deps is not None:
                found.add(deps)
        return found

    def check(self, namespace: str) -> None:
        """Raises `TooLarge` where the namespace takes more than its quota. Blocks."""
        limit_mb = self._tenants.of(namespace).quota.disk_mb
        if limit_mb is None:
            return
        used = self.used_bytes(namespace)
        if used > limit_mb * MIB:
            raise TooLarge(
                f"code and dependencies of the namespace {namespace} would take {used / MIB:.1f} MB on this host, more "
                f"than its quota of {limit_mb} MB: delete functions or old revisions (`isotherm revisions prune`)",
                quota="disk_mb",
                limit=limit_mb,
                namespace=namespace,
            )

    def _deps_of(self, source: _Source) -> Path | None:
        if source not in self._digests:
            code = self._code / source.package
            digest = wanted_digest(code, source.runtime, scripts=source.scripts) if source.install else None
            if not code.is_dir():
                return None
            self._digests[source] = debugger_digest(digest) if source.debug else digest
        known = self._digests[source]
        return None if known is None else self._deps / known

    def _size(self, folder: Path) -> int:
        known = self._sizes.get(folder)
        if known is None:
            if not folder.is_dir():
                return 0
            known = self._sizes[folder] = _tree_bytes(folder)
        return known


def _tree_bytes(folder: Path) -> int:
    """Blocks on disk of all that is below; a file with many names counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            status = (Path(root) / name).lstat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
    return total
