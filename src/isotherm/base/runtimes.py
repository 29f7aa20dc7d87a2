"""Which runtimes this machine has: the platform's own Python, Node.js where one is installed, and `provided`."""

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "LEAST_NODE",
    "PROVIDED",
    "Node",
    "find_node",
    "is_node",
    "own_python",
    "runtimes",
    "stand_ins",
    "version_of",
]

PROVIDED = "provided"
LEAST_NODE = 18  # the first with all that the front end stands on
_PLACES = "/usr/local/bin:/usr/bin:/bin"  # beside PATH: a service may be started with a short one
_ANSWER_S = 10.0
_version = re.compile(r"v(\d{1,3})\.\d+\.\d+").match


@dataclass(frozen=True, slots=True)
class Node:
    """One Node.js. `npm` is npm's program as a file for `executable`; None where npm is not installed with it."""

    executable: str
    version: str  # "20.11.1"
    prefix: str
    npm: str | None

    @property
    def name(self) -> str:
        """What a manifest calls it."""
        return f"nodejs{self.version.partition('.')[0]}"


def own_python() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def is_node(runtime: str) -> bool:
    return runtime.startswith("nodejs")


def runtimes() -> list[str]:
    """The runtimes that instances can have here; the first is taken where a manifest names none."""
    node = find_node()
    return [own_python(), *([] if node is None else [node.name]), PROVIDED]


def stand_ins(text: str) -> dict[str, str]:
    """Of the setting `lambda_runtimes`: by the runtime that is asked for, the one that runs in its place."""
    pairs = (pair.partition("=") for pair in text.split(","))
    return {asked.strip(): there.strip() for asked, _, there in pairs if asked.strip() and there.strip()}


def version_of(runtime: str) -> str | None:
    """The whole version of a runtime of this machine; None of `provided`, and of one that is not here."""
    if runtime == own_python():
        return platform.python_version()
    node = find_node() if is_node(runtime) else None
    return node.version if node is not None and node.name == runtime else None


@functools.cache
def find_node() -> Node | None:
    """The Node.js of this machine; None where there is none that is new enough. Runs it once, in 10 ms. Blocks."""
    found = shutil.which("node", path=f"{os.environ.get('PATH', '')}:{_PLACES}")
    if found is None:
        return None
    executable = os.path.realpath(found)
    try:
        argv = [executable, "--version"]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=_ANSWER_S, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _version(said)
    if match is None or int(match[1]) < LEAST_NODE:
        return None
    prefix = str(Path(executable).parents[1])
    return Node(executable, said.removeprefix("v"), prefix, _find_npm(prefix))


def _find_npm(prefix: str) -> str | None:
    program = shutil.which("npm", path=f"{prefix}/bin:{os.environ.get('PATH', '')}:{_PLACES}")
    if program is None:
        return None
    program = os.path.realpath(program)
    return program if program.endswith(".js") else None
