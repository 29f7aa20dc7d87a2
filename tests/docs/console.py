"""The steps of a page, as they stand in its fences: commands with their output, files to write, Ctrl-C.

```console                      a command after `$ `, and the whole of its output below it; `# exits 1` after a
$ isotherm invoke hello         command says that it fails. A line that begins with `^C` is Ctrl-C in the first
…                               terminal, where `isotherm up` runs
```

```python hello/app.py          a file to write
```toml >> hello/isotherm.toml  what is to be put at a file's end
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Command", "File", "Interrupt", "Step", "read_steps", "steps_of"]

_fence = re.compile(r"^```(\w+)(?: +(>> +)?(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_exit = re.compile(r"\s+# exits (\d+)$")


@dataclass
class Command:
    text: str
    line: int
    code: int = 0
    output: list[str] = field(default_factory=list)


@dataclass
class Interrupt:
    line: int
    output: list[str] = field(default_factory=list)


@dataclass
class File:
    path: str
    content: str
    line: int
    append: bool


Step = Command | Interrupt | File


def steps_of(text: str, heading: str | None = None) -> list[Step]:
    """All steps of a page, or those below a heading of it up to the next of its level. Raises `ValueError` where
    output comes before any command."""
    start, end = 0, len(text)
    if heading is not None:
        level = heading.split(" ", 1)[0]
        start = text.index(f"{heading}\n") + len(heading)
        after = re.search(rf"^{level} ", text[start:], re.MULTILINE)
        end = start + after.start() if after else end
    steps: list[Step] = []
    for fence in _fence.finditer(text, start, end):
        language, append, path, body = fence.groups()
        line = text.count("\n", 0, fence.start()) + 1
        if path is not None:
            steps.append(File(path, body, line, append is not None))
        elif language == "console":
            steps += _console(body.splitlines(), line + 1)
    return steps


def _console(lines: list[str], first: int) -> list[Step]:
    steps: list[Command | Interrupt] = []
    for number, line in enumerate(lines, first):
        last = steps[-1] if steps else None
        if line.startswith("$ "):
            steps.append(Command(line.removeprefix("$ "), number))
        elif line.startswith("^C"):
            steps.append(Interrupt(number, [line]))
        elif isinstance(last, Command) and not last.output and last.text.endswith("\\"):
            last.text = last.text.removesuffix("\\") + line.strip()
        elif last is not None:
            last.output.append(line)
        else:
            raise ValueError(f"line {number}: output before any command: {line}")
    for step in steps:
        if isinstance(step, Command) and (found := _exit.search(step.text)):
            step.code, step.text = int(found[1]), step.text[: found.start()]
    return list(steps)


def read_steps(page: Path, heading: str | None = None) -> list[Step]:
    return steps_of(page.read_text(), heading)
