"""Where in the user's own code an error is: the sandbox's paths as paths of the folder that was deployed."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from isotherm.base.errors import IsothermError

__all__ = ["place_of"]

_python = re.compile(r'File "/code/([^"]+)", line (\d+)')
_node = re.compile(r"(?:file://)?/code/([^\s:()]+):(\d+)(?::\d+)?")


def place_of(error: IsothermError, folder: Path) -> str | None:
    """`FILE:LINE` of the innermost frame that lies in `folder`; None where none is known."""
    found = None
    for line in _lines(error.data):
        for match in [*_python.finditer(line), *_node.finditer(line)]:
            path = folder / match[1]
            if path.is_file():
                found = f"{path}:{match[2]}"
                if match.re is _node:
                    return found  # the innermost comes first there
    return found


def _lines(data: dict[str, Any]) -> Iterable[str]:
    trace = data.get("stack_trace")
    entries = [*(trace if isinstance(trace, list) else []), str(data.get("log") or "")]
    return [line for entry in entries for line in str(entry).split("\n")]
