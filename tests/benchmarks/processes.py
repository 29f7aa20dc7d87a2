"""A process that does nothing, for as long as a test needs it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sleeping(argument: str) -> Iterator["subprocess.Popen[bytes]"]:
    """An interpreter that waits for its input to end; `argument` is on its command line."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read()", argument]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.communicate(timeout=10)
