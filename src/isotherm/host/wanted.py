"""What a package asks to have installed: read from its files, and told apart by a digest of all that matters."""

import hashlib
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from isotherm.base.errors import InvalidPackage
from isotherm.base.runtimes import PROVIDED, find_node, is_node

__all__ = ["LOCK_FILES", "Wanted", "read_wanted", "wanted_digest"]

MIB = 1024 * 1024
MAX_BYTES = {"requirements.txt": MIB, "package.json": MIB}
MAX_LOCK_BYTES = 32 * MIB
LOCK_FILES = ("npm-shrinkwrap.json", "package-lock.json")  # the first that is there is npm's


class _PackageJson(msgspec.Struct):
    """The part of package.json that says whether there is anything to install."""

    dependencies: dict[str, str] = {}
    optionalDependencies: dict[str, str] = {}  # noqa: N815 - npm's name


@dataclass(frozen=True, slots=True)
class Wanted:
    """`pip` wants requirements.txt; `npm` has package.json and, where there is one, the lock file, by name."""

    digest: str
    pip: bool = False
    npm: dict[str, bytes] = field(default_factory=dict)
    scripts: bool = False


def read_wanted(code: Path, runtime: str, *, scripts: bool) -> Wanted | None:
    """None where nothing is asked for. Python reads requirements.txt, Node.js package.json, `provided` both.

    The digest is that of the files, the interpreters and the kind of machine. Blocks. Raises `InvalidPackage`.
    """
    requirements = b"" if is_node(runtime) else _read(code, "requirements.txt")
    npm = _read_npm(code) if is_node(runtime) or runtime == PROVIDED else {}
    if not requirements.strip() and not npm:
        return None
    about = [runtime, platform.python_version(), sys.platform, platform.machine()]
    if npm:
        node = find_node()
        about += ["" if node is None else node.version, str(scripts)]
    parts = ["\0".join(about).encode(), requirements, *(part for pair in npm.items() for part in _encoded(*pair))]
    digest = hashlib.sha256(b"".join(len(part).to_bytes(8) + part for part in parts)).hexdigest()
    return Wanted(digest, bool(requirements.strip()), npm, scripts)


def wanted_digest(code: Path, runtime: str, *, scripts: bool) -> str | None:
    """Of what was installed for a revision; None where nothing was. Blocks."""
    try:
        wanted = read_wanted(code, runtime, scripts=scripts)
    except InvalidPackage:  # so its deploy failed
        return None
    return None if wanted is None else wanted.digest


def _read_npm(code: Path) -> dict[str, bytes]:
    """Empty where package.json names no dependencies, and where the package has brought them along."""
    manifest = _read(code, "package.json")
    if not manifest or (code / "node_modules").is_dir():
        return {}
    try:
        found = msgspec.json.decode(manifest, type=_PackageJson)
    except msgspec.DecodeError as exc:
        raise InvalidPackage(f"package.json is not what npm reads: {exc}") from exc
    if not found.dependencies and not found.optionalDependencies:
        return {}
    locks = ((name, _read(code, name)) for name in LOCK_FILES)
    lock = next(((name, content) for name, content in locks if content), None)
    return {"package.json": manifest} | ({} if lock is None else dict([lock]))


def _read(code: Path, name: str) -> bytes:
    limit = MAX_BYTES.get(name, MAX_LOCK_BYTES)
    try:
        with (code / name).open("rb") as file:
            content = file.read(limit + 1)
    except (FileNotFoundError, IsADirectoryError):
        return b""
    if len(content) > limit:
        raise InvalidPackage(f"{name} is larger than {limit // MIB} MB")
    return content


def _encoded(name: str, content: bytes) -> tuple[bytes, bytes]:
    return name.encode(), content
