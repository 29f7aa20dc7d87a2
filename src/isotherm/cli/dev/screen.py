"""What `isotherm dev` shows: lines for a person, in colour at a terminal; a JSON document a line with `--json`."""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any
from zlib import crc32

from isotherm.base.errors import IsothermError
from isotherm.cli.dev.places import place_of
from isotherm.cli.output import output
from isotherm.cli.times import clock, duration
from isotherm.client.model import LogLine

__all__ = ["Screen"]

RESET, BOLD, DIM, RED, GREEN, YELLOW = "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"
_of_calls = ("\x1b[36m", "\x1b[35m", "\x1b[34m", "\x1b[96m", "\x1b[95m", "\x1b[94m")
_of_levels = {"ERROR": RED, "CRITICAL": RED, "WARNING": YELLOW}


class Screen:
    """Any thread may write; lines never mix."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._colours = not output.json and sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def event(self, kind: str, text: str, **values: Any) -> None:
        """Something happened: `text` for people, `kind` and `values` for programs."""
        self._write(kind, self._timed(text), values)

    def error(self, error: IsothermError) -> None:
        """What failed, with file and line of the user's own code where it is known."""
        place = place_of(error, self._folder)
        lines = [self._timed(self._in(RED, "error: ") + (f"{place}: " if place else "") + error.message)]
        trace = error.data.get("stack_trace")
        entries = trace if isinstance(trace, list) else str(error.data.get("log") or "").splitlines()[-20:]
        lines += [f"  {line}" for entry in entries for line in str(entry).rstrip("\n").split("\n")]
        self._write("error", "\n".join(lines), {"place": place, "problem": error.problem()})

    def log(self, line: LogLine) -> None:
        """A line of the function's log, in the colour of its call."""
        call = (line.invocation_id or "")[-12:]
        shown = self._in(_of_calls[crc32(call.encode()) % len(_of_calls)], call) if call else f"{line.stream:<12}"
        level = f"{line.level} " if line.level else ""
        text = line.message.rstrip("\n").replace("\n", "\n" + " " * 26)
        text = self._in(_of_levels.get(line.level or "", ""), level + text)
        values = {"at_ms": line.at_ms, "request_id": line.invocation_id, "level": line.level, "message": line.message}
        self._write("log", f"{self._in(DIM, clock(line.at_ms))} {shown} {text}", values)

    def steps(self, steps_ms: dict[str, float]) -> str:
        """Where the time went."""
        return ", ".join(f"{step} {duration(took_ms)}" for step, took_ms in steps_ms.items() if took_ms >= 0.05)

    def good(self, text: str) -> str:
        return self._in(GREEN, text)

    def _timed(self, text: str) -> str:
        return f"{self._in(DIM, clock(time.time_ns() // 1_000_000))} {text}"

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{RESET}" if self._colours and colour else text

    def _write(self, kind: str, text: str, values: dict[str, Any]) -> None:
        shown = json.dumps({"event": kind} | values) if output.json else text
        with self._lock:
            sys.stdout.write(shown + "\n")
            sys.stdout.flush()
