"""Where compiled loops are kept, and whether all of them are there. Light: it does not load what compiles."""

import hashlib
import importlib.metadata
import os
from functools import cache
from pathlib import Path

__all__ = ["PLACE", "compiled_folder", "note_filled", "wants_filling"]

PLACE = "ISOTHERM_COMPILED_DIR"  # set by a process that has a folder of its own for it
FILLED = "filled"


@cache
def compiled_folder() -> Path | None:
    """Where results are kept; None: there is no place that this process may write to. It is named by the code of this
    folder and by the compiler's version: a function is compiled anew where its own file has changed, not where one has
    that it calls into. Each user has their own: what is kept here is run."""
    here = Path(__file__).parent
    code = b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))
    digest = hashlib.sha256(code + _compiler().encode()).hexdigest()[:16]
    own = os.environ.get(PLACE)
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "isotherm"
    for home in (Path(own),) if own else (here / "__pycache__", user):
        folder = home / f"compiled-{digest}-{os.getuid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


def wants_filling() -> bool:
    """Whether there is a compiler and a place, and something has still to be compiled into it: nobody called
    `note_filled` yet."""
    folder = compiled_folder()
    return bool(_compiler()) and folder is not None and not (folder / FILLED).exists()


def note_filled() -> None:
    folder = compiled_folder()
    if folder is not None:
        (folder / FILLED).touch()


def _compiler() -> str:
    try:
        return importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        return ""
