"""Counts what a platform has on this machine: processes, mounts, groups, namespaces, descriptors, folders."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.sandbox.warden_process import WardenProcess

__all__ = ["Footprint", "descendants", "groups_of", "take_footprint"]


@dataclass(frozen=True)
class Footprint:
    processes: int
    mounts: int
    groups: int
    namespaces: int
    warden_descriptors: int
    own_descriptors: int
    folders: int


def descendants(pid: int) -> list[int]:
    """All processes below one, the nurseries aside: they stay."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    nurseries = {child for child in parents.get(pid, []) if _name(child) == "iso-nursery"}
    parents[pid] = [child for child in parents.get(pid, []) if child not in nurseries]
    rest = [pid]
    while rest:
        children = parents.get(rest.pop(), [])
        found += children
        rest += children
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def groups_of(warden: WardenProcess) -> list[str]:
    """Control groups below the platform's own."""
    import json

    record = warden.data / "warden" / "groups.json"
    roots = json.loads(record.read_text()) if record.exists() else []
    return sorted({folder for root in roots for folder, _, _ in os.walk(root)} - set(roots))


def take_footprint(warden: WardenProcess) -> Footprint:
    pid = warden.pid
    namespaces = set()
    for process in descendants(pid):
        for kind in ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup"):
            try:
                namespaces.add(os.readlink(f"/proc/{process}/ns/{kind}"))
            except OSError:
                continue
    return Footprint(
        processes=len(descendants(pid)),
        mounts=len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines()),
        groups=len(groups_of(warden)),
        namespaces=len(namespaces),
        warden_descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        own_descriptors=len(os.listdir("/proc/self/fd")),
        folders=sum(1 for _ in os.walk(warden.data)),
    )
