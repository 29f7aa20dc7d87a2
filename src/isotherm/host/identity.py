"""Who this host is: an id that stays, the machine's memory, and what control is told about it."""

import fcntl
import os
import platform
import resource
from importlib import metadata
from pathlib import Path
from typing import Any

from isotherm.base.ids import new_id

__all__ = ["cores", "host_id", "isotherm_version", "machine_memory_bytes", "own_usage", "raise_limits"]

DESCRIPTORS_AHEAD = 65_536  # 0.5 MB of the kernel's memory


def host_id(folder: Path) -> str:
    """The host's id, made at its first start. Blocks."""
    path = folder / "id"
    try:
        found = path.read_text().strip()
    except FileNotFoundError:
        found = ""
    if not found:
        found = new_id("host")
        fresh = path.with_suffix(".new")
        fresh.write_text(found)
        fresh.rename(path)
    return found


def machine_memory_bytes() -> int:
    """Memory of the machine, or what the own memory cgroup allows, whichever is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def raise_limits() -> None:
    """Allow as many open descriptors as the machine does: clients and instances take some each.

    The kernel's table for the first of them is made now. It doubles when it is full, and in a process with threads
    that waits for an RCU grace period: 10 to 20 ms in which every call here would stand still.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.close(fcntl.fcntl(lowest, fcntl.F_DUPFD_CLOEXEC, min(DESCRIPTORS_AHEAD, hard) - 1))
    os.close(lowest)


def isotherm_version() -> str:
    return metadata.version("isotherm")


def own_usage() -> dict[str, Any]:
    """Memory and CPU of the host process itself, and what it runs on."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "peak_memory_bytes": usage.ru_maxrss * 1024,
        "cpu_s": usage.ru_utime + usage.ru_stime,
    }
