"""Control groups: limits and accounts of revisions, instances and jobs. Version 1 where it has memory, else version 2.

A process joins by writing "0" into a file that root opened: permission is that of the opener, and with version 1's
`tasks` only the writing thread moves, which spares a wait of 6 to 11 ms for the kernel's lock over all threads.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["CgroupError", "Group", "GroupLimits", "Hierarchies", "find_hierarchies"]

_V1_CONTROLLERS = ("memory", "cpu", "cpuacct", "pids")
_V2_CONTROLLERS = ("memory", "cpu", "pids")
_PERIOD_US = 100_000


class CgroupError(RuntimeError):
    """Groups cannot be made here; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLimits:
    """None: unlimited."""

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None


class Group:
    """One group, in every hierarchy."""

    __slots__ = ("_directories", "_version", "name")

    def __init__(self, name: str, directories: dict[str, str], version: int) -> None:
        self.name = name
        self._directories = directories  # by controller; with version 2 all are the same
        self._version = version

    @property
    def version(self) -> int:
        return self._version

    @property
    def directories(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._directories.values()))

    def directory(self, controller: str) -> str:
        return self._directories[controller]

    def make(self, limits: GroupLimits | None = None) -> None:
        """Raises `CgroupError`."""
        try:
            for directory in self.directories:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(directory, 0o755)
                    os.chmod(directory, 0o755)  # noqa: S103  (whatever the umask: the host reads what is used)
            if limits is not None:
                self._limit(limits)
        except OSError as exc:
            raise CgroupError(f"control group {self.name}: {exc}") from exc

    def child(self, name: str) -> Group:
        joined = {controller: f"{directory}/{name}" for controller, directory in self._directories.items()}
        return Group(name, joined, self._version)

    def without(self, controller: str) -> Group:
        """The same group, but not in that controller's hierarchy. With version 2 there is one, and it stays."""
        if self._version == 2:
            return self
        left = {name: path for name, path in self._directories.items() if path != self._directories[controller]}
        return Group(self.name, left, self._version)

    def weigh(self, tasks: int) -> None:
        """Give it the CPU time of so many processes when time is short."""
        if self._version == 1:
            _write(f"{self._directories['cpu']}/cpu.shares", str(1024 * tasks))
        else:
            _write(f"{self._directories['cpu']}/cpu.weight", str(min(10_000, 100 * tasks)))

    def delegate(self) -> None:
        """Let children have limits (version 2). Raises `CgroupError`."""
        if self._version == 2:
            wanted = " ".join(f"+{controller}" for controller in _V2_CONTROLLERS)
            try:
                _write(f"{self.directories[0]}/cgroup.subtree_control", wanted)
            except OSError as exc:
                raise CgroupError(f"control group {self.name}: cannot enable {wanted}: {exc}") from exc

    def open_join_files(self) -> list[int]:
        """Descriptors; who writes "0" into all of them is in the group."""
        name = "tasks" if self._version == 1 else "cgroup.procs"
        return [os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CLOEXEC) for directory in self.directories]

    def out_of_memory_kills(self) -> int:
        name = "memory.oom_control" if self._version == 1 else "memory.events"
        try:
            with open(f"{self._directories['memory']}/{name}") as lines:
                return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
        except (OSError, ValueError, KeyError):
            return 0

    def memory_bytes(self) -> int:
        try:
            with open(self.memory_file) as stream:
                return int(stream.read())
        except (OSError, ValueError):
            return 0

    @property
    def memory_file(self) -> str:
        name = "memory.usage_in_bytes" if self._version == 1 else "memory.current"
        return f"{self._directories['memory']}/{name}"

    @property
    def cpu_file(self) -> str:
        """Nanoseconds (version 1), or lines with `usage_usec` (version 2)."""
        if self._version == 1:
            return f"{self._directories['cpuacct']}/cpuacct.usage"
        return f"{self._directories['cpu']}/cpu.stat"

    def remove(self) -> bool:
        """Whether it is gone; False while processes are still leaving it."""
        done = True
        for directory in self.directories:
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError as exc:
                if exc.errno != errno.EBUSY:
                    raise
                done = False
        return done

    def sweep(self) -> None:
        """Remove what a dead platform left: all groups below, and this one. Only groups without processes go."""
        for directory in self.directories:
            for folder, _, _ in os.walk(directory, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)

    def kill_all(self) -> None:
        """SIGKILL to every process in it and below."""
        import signal

        for directory in self.directories[:1]:
            for folder, _, _ in os.walk(directory):
                with contextlib.suppress(OSError), open(f"{folder}/cgroup.procs") as lines:
                    for line in lines:
                        with contextlib.suppress(ProcessLookupError, PermissionError):
                            os.kill(int(line), signal.SIGKILL)

    def _limit(self, limits: GroupLimits) -> None:
        if limits.memory_bytes is not None:
            self._limit_memory(limits.memory_bytes)
        if limits.cpus is not None:
            quota = max(1000, round(limits.cpus * _PERIOD_US))
            if self._version == 1:
                _write(f"{self._directories['cpu']}/cpu.cfs_quota_us", str(quota))
            else:
                _write(f"{self._directories['cpu']}/cpu.max", f"{quota} {_PERIOD_US}")
        if limits.pids is not None:
            _write(f"{self._directories['pids']}/pids.max", str(limits.pids))

    def _limit_memory(self, limit: int) -> None:
        directory = self._directories["memory"]
        if self._version == 1:
            _write(f"{directory}/memory.limit_in_bytes", str(limit))
            with contextlib.suppress(OSError):  # only where the kernel accounts for swap
                _write(f"{directory}/memory.memsw.limit_in_bytes", str(limit))
        else:
            _write(f"{directory}/memory.max", str(limit))
            with contextlib.suppress(OSError):
                _write(f"{directory}/memory.swap.max", "0")


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where groups can be made: the warden's own place in each hierarchy."""

    version: int
    parents: dict[str, str]  # directory by controller

    def group(self, name: str) -> Group:
        joined = {controller: f"{parent}/{name}" for controller, parent in self.parents.items()}
        return Group(name, joined, self.version)


def find_hierarchies(mountinfo: Iterable[str], own: Iterable[str]) -> Hierarchies:
    """From the lines of /proc/self/mountinfo and /proc/self/cgroup. Raises `CgroupError` naming what is missing."""
    mounted_v1, mounted_v2 = _mounted(mountinfo)
    own_v1: dict[str, str] = {}
    for line in own:
        number, controllers, path = line.rstrip("\n").split(":", 2)
        if number != "0":
            own_v1.update(dict.fromkeys(controllers.split(","), path))
    if "memory" in mounted_v1:
        missing = [name for name in _V1_CONTROLLERS if name not in mounted_v1 or name not in own_v1]
        if missing:
            raise CgroupError(f"no control group hierarchy (version 1) for {', '.join(missing)} is mounted")
        parents = {name: _below(*mounted_v1[name], own_v1[name]) for name in _V1_CONTROLLERS}
        return Hierarchies(1, parents)
    if mounted_v2 is None:
        raise CgroupError("no control groups are mounted at all")
    # At the root of the tree, not below the own group: a group with processes in it cannot have limited children.
    return Hierarchies(2, dict.fromkeys(_V2_CONTROLLERS, mounted_v2))


def _mounted(mountinfo: Iterable[str]) -> tuple[dict[str, tuple[str, str]], str | None]:
    """`(root, mount point)` of each controller of version 1, and the mount point of version 2."""
    first: dict[str, tuple[str, str]] = {}
    second: str | None = None
    for line in mountinfo:
        left, _, right = line.rstrip("\n").partition(" - ")
        fields, (kind, _, options) = left.split(), right.split()[:3]
        if kind == "cgroup":
            for controller in options.split(","):
                if controller in _V1_CONTROLLERS:
                    first[controller] = (fields[3], fields[4])
        elif kind == "cgroup2" and second is None:
            second = fields[4]
    return first, second


def _below(root: str, mount_point: str, own: str) -> str:
    """Where the group `own` is, in a hierarchy of which `root` (not always "/", in containers) is mounted."""
    if root != "/" and own.startswith(root):
        own = own[len(root) :]
    return (mount_point + own).rstrip("/")


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
