"""Console blocks of a page as commands with the output that they show."""

import re
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Shown", "alike", "console_blocks"]


@dataclass
class Shown:
    """A command after `$ `, and the lines of output below it. A line `…` stands for any number of lines."""

    command: str
    output: list[str] = field(default_factory=list)


def console_blocks(page: Path, heading: str) -> list[Shown]:
    """All commands in ```console fences below a heading, up to the next heading of its level."""
    level = heading.split(" ", 1)[0]
    section = re.split(rf"^{level} ", page.read_text().split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    shown: list[Shown] = []
    for block in re.findall(r"^```console\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                shown.append(Shown(line.removeprefix("$ ")))
            elif shown and shown[-1].command.endswith("\\"):
                shown[-1].command = shown[-1].command.removesuffix("\\") + line.strip()
            elif shown:
                shown[-1].output.append(line)
    return shown


def masked(line: str) -> str:
    """A line without what differs from run to run: numbers, ids, tokens, ports, times, paths, runs of spaces."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", line)
    line = re.sub(r"https?://[^/\s\"']+", "URL", line)
    line = re.sub(r"\biso_[\w-]+", "TOKEN", line)
    line = re.sub(r"\b(rev|wl|key|inst|ns|p)_[0-9a-z]{26}\b", r"\1_ID", line)
    line = re.sub(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID", line)
    line = re.sub(r"/(tmp|root|home)/[\w./-]+", "PATH", line)
    line = re.sub(r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\b", "DATE", line)
    line = re.sub(r"\d+(\.\d+)?", "0", line)
    line = re.sub(r"\b0 (µs|ms|s|min)\b", "0 s", line)
    return re.sub(r"[\s─━═]+", " ", line).strip()


def alike(shown: list[str], real: list[str]) -> str | None:
    """None where the real output is the shown one, but for what differs from run to run; else the first line missed."""
    rest = [masked(line) for line in real if line.strip()]
    for line in shown:
        if not line.strip() or line.strip() == "…":
            continue
        if masked(line) not in rest:
            return line
        rest = rest[rest.index(masked(line)) + 1 :]
    return None
