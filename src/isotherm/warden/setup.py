"""The warden's start: becomes what it must be, sweeps what a dead predecessor left, finds out what can be had here."""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import importlib.util
import json
import os
import resource
import stat
import sys
import time

import isotherm_runtime
from isotherm.warden.cgroups import CgroupError, Group, find_hierarchies
from isotherm.warden.facilities import Facilities
from isotherm.warden.ranges import RangeAllocator
from isotherm.warden.tree import interpreters, own_interpreter
from isotherm_runtime import linux, seccomp

__all__ = ["become_warden", "find_facilities"]

_SWEEP_TIMEOUT_S = 5.0


def become_warden() -> int:
    """Adopt orphans, take a network namespace without a network. A descriptor of the one that was left, or -1."""
    os.umask(0o077)
    linux.adopt_orphans()
    linux.set_process_name("isotherm-warden")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    network_fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # not allowed: not root, and the probe says so
        linux.unshare(linux.NEWNET)
    return network_fd


def find_facilities(data_dir: str, uid: int, gid: int, network_fd: int) -> Facilities:
    """Raises `OSError` where the folder DATA/warden is not ours."""
    data_dir = os.path.realpath(data_dir)
    isolated = os.geteuid() == 0 and seccomp.supported() and _may_unshare()
    owner = hashlib.sha256(data_dir.encode()).hexdigest()[:12]
    work = _own_folder(f"{data_dir}/warden")
    compileall.compile_dir(os.path.dirname(isotherm_runtime.__file__), quiet=2, workers=1)
    return Facilities(
        isolated=isolated,
        seccomp=seccomp.supported(),
        host_dir=f"{data_dir}/host",
        host_uid=uid,
        host_gid=gid,
        base=_base_group(f"isotherm-{owner}", f"{work}/groups.json") if isolated else None,
        ranges=RangeAllocator(owner),
        python=own_interpreter(),
        interpreters=interpreters(),
        network_fd=network_fd,
        pip_dir=_pip_dir(),
    )


def _may_unshare() -> bool:
    """Root alone is not enough: containers take CAP_SYS_ADMIN away. Tried in a child."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            linux.unshare(linux.INSTANCE_FLAGS)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def _own_folder(path: str) -> str:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(f"{path} is not a folder of user {os.geteuid()}; remove it")
    return path


def _base_group(name: str, record: str) -> Group | None:
    """The group of all that this platform runs, made anew. None where there are no control groups."""
    for path in _recorded(record):
        _sweep(Group(name, {"memory": path}, 1))
    try:
        with open("/proc/self/mountinfo") as mounts, open("/proc/self/cgroup") as own:
            hierarchies = find_hierarchies(mounts, own)
        base = hierarchies.group(name)
        _sweep(base)
        base.make()
        base.weigh(os.cpu_count() or 1)
        Group("parent", hierarchies.parents, hierarchies.version).delegate()
        base.delegate()
    except (CgroupError, OSError) as exc:
        sys.stderr.write(f"warden: no control groups: {exc}\n")
        return None
    with open(record, "w") as stream:
        json.dump(base.directories, stream)
    return base


def _recorded(record: str) -> list[str]:
    """Where the last warden's groups were: the place depends on where it was started from."""
    try:
        with open(record) as stream:
            return [str(path) for path in json.load(stream)]
    except (OSError, ValueError):
        return []


def _sweep(group: Group) -> None:
    """End and remove what is in it. Only a group of our own name."""
    deadline = time.monotonic() + _SWEEP_TIMEOUT_S
    while any(os.path.isdir(path) for path in group.directories) and time.monotonic() < deadline:
        group.kill_all()
        group.sweep()
        time.sleep(0.005)


def _pip_dir() -> str | None:
    spec = importlib.util.find_spec("pip")
    return None if spec is None or spec.origin is None else os.path.dirname(spec.origin)
