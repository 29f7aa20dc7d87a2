"""What the machine says: its facts, the CPU time, memory and descendants of processes, from /proc alone."""

import os
import platform
import sys
from pathlib import Path

__all__ = ["cpu_seconds", "descendants", "facts", "find_process", "private_megabytes", "proportional_megabytes"]

_ticks = os.sysconf("SC_CLK_TCK")


def facts() -> dict[str, str | int | float]:
    """Cores, CPU, kernel, Python and the load of the last minute: a figure without them says little."""
    models = [line.split(":", 1)[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return {
        "cores": os.cpu_count() or 0,
        "cpu": models[0] if models else platform.machine(),
        "kernel": platform.release().split("-")[0],  # what follows names the machine's maker, not the kernel
        "python": sys.version.split()[0],
        "load_1m": round(os.getloadavg()[0], 2),
    }


def cpu_seconds(pid: int, *, ended: bool = False) -> float:
    """User and system time of one process so far, seconds (resolution 10 ms). Raises `ProcessLookupError`.

    `ended`: and that of its children that have ended.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError as exc:
        raise ProcessLookupError(f"process {pid} is gone") from exc
    return sum(map(int, fields[11 : 15 if ended else 13])) / _ticks


def descendants(pid: int) -> list[int]:
    """`pid` and all processes below it, as they are now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue  # it ended while we looked
            children.setdefault(parent, []).append(int(entry.name))
    found, rest = [], [pid]
    while rest:
        one = rest.pop()
        found.append(one)
        rest += children.get(one, [])
    return found


def find_process(root: int, word: str) -> int:
    """The process at or below `root` with an argument that is exactly `word`. Raises `ProcessLookupError`."""
    for pid in descendants(root):
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in arguments:
            return pid
    raise ProcessLookupError(f"no process below {root} has the argument {word}")


def proportional_megabytes(pids: list[int]) -> float:
    """The sum of PSS, MB (2²⁰ bytes): a page shared by n processes counts 1/n in each."""
    return sum(_rollup(pid, ("Pss:",)) for pid in pids) / 1024


def private_megabytes(pids: list[int]) -> float:
    """The sum of the pages that each process shares with no other, MB (2²⁰ bytes)."""
    return sum(_rollup(pid, ("Private_Clean:", "Private_Dirty:")) for pid in pids) / 1024


def _rollup(pid: int, names: tuple[str, ...]) -> int:
    return sum(int(line.split()[1]) for line in _lines(Path(f"/proc/{pid}/smaps_rollup")) if line.startswith(names))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
