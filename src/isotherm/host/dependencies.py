"""Which installation of dependencies a revision needs."""

import hashlib
import platform
import sys
from pathlib import Path

from isotherm.base.errors import InvalidPackage

__all__ = ["deps_digest"]

MIB = 1024 * 1024


def deps_digest(code: Path, runtime: str) -> str | None:
    """What an installation is the same for: the requirements, the interpreter and the kind of machine. None where
    nothing is asked for. Blocks. Raises `InvalidPackage`."""
    try:
        with open(code / "requirements.txt", "rb") as file:
            requirements = file.read(MIB + 1)
    except (FileNotFoundError, IsADirectoryError):
        return None
    if len(requirements) > MIB:
        raise InvalidPackage("requirements.txt is larger than 1 MB")
    if not requirements.strip():
        return None
    text = f"{runtime}\0{platform.python_version()}\0{sys.platform}\0{platform.machine()}\0".encode()
    return hashlib.sha256(text + requirements).hexdigest()
