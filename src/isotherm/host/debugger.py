"""debugpy among the dependencies of a revision that may be debugged: the platform's own copy, beside the others."""

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
from pathlib import Path

from isotherm.base.errors import BuildFailed

__all__ = ["debugger_digest", "lay_debugger"]

PACKAGE = "debugpy"
LEFT_OUT = ("__pycache__", "*.c", "*.cpp", "*.h", "*.hpp", "*.pxd", "*.pyx", "*.inc", "windows", "osx")


def debugger_digest(deps: str | None) -> str | None:
    """Names the folder that has these dependencies (by their digest; None: none) and debugpy; None where debugpy is not
    installed beside the platform."""
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    return hashlib.sha256(f"{PACKAGE} {version} {deps or ''}".encode()).hexdigest()


def lay_debugger(deps: Path | None, folder: Path) -> None:
    """Fill `folder`, which does not exist: the files of `deps` by hard links, and debugpy, unless they bring their own.

    Blocks. Raises `BuildFailed`, `OSError`.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise BuildFailed(
            "debug is set, and debugpy is not installed beside the platform: pip install 'isotherm[debug]', and start "
            "it again",
            log="",
        )
    if deps is None:
        folder.mkdir(mode=0o755)
    else:
        shutil.copytree(deps, folder, symlinks=True, copy_function=os.link)
    if not (folder / PACKAGE).exists():
        shutil.copytree(Path(found.origin).parent, folder / PACKAGE, ignore=shutil.ignore_patterns(*LEFT_OUT))
