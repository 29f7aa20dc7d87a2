"""The peers' own virtual environments, one per requirements file, made where missing and remade where it changed."""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["MissingTool", "environment_python"]

here = Path(__file__).parent
INSTALL_TIMEOUT_S = 900.0


class MissingTool(RuntimeError):
    """Something that a benchmark needs is not on this machine; the message says how to get it."""


def environment_python(name: str, folder: Path = here / ".env") -> Path:
    """The interpreter of the environment for `peers/NAME.txt`. Raises `MissingTool` where pip cannot install it."""
    requirements = here / "peers" / f"{name}.txt"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest() + " " + sys.version.split()[0]
    place = folder / name
    stamp, python = place / ".requirements", place / "bin" / "python"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"making the environment {name} …", flush=True)
    venv.create(place, clear=True, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise MissingTool(f"pip could not install {requirements.name}: {done.stderr.strip()[-500:]}")
    stamp.write_text(wanted)
    return python
