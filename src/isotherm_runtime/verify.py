"""What the keeper checks of each instance before the host may send it a request. Facts of the kernel alone."""

from __future__ import annotations

from isotherm_runtime import linux
from isotherm_runtime.boot import KeeperBoot

__all__ = ["NotConfined", "check_groups", "check_namespaces", "check_status"]

_capability_sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


class NotConfined(Exception):
    """The process is not what it should be; it must be killed."""


def check_namespaces(pid: int, own: dict[str, int], *, own_network: bool) -> None:
    """All of the process's namespaces differ from `own`; without a network of its own, that is the same one.

    Raises `NotConfined`.
    """
    shared = [name for name, inode in linux.namespaces_of(pid).items() if own[name] == inode]
    if not own_network and "net" not in shared:
        raise NotConfined("is in another network namespace than its revision")
    shared = [name for name in shared if own_network or name != "net"]
    if shared:
        raise NotConfined(f"shares its {', '.join(shared)} namespace with the template")


def check_status(pid: int, boot: KeeperBoot, uid: int) -> None:
    """No capability, no way to new ones, both filters, one thread, its own user id. Raises `NotConfined`."""
    status = linux.process_status(pid)
    if boot.isolated:
        held = [name for name in _capability_sets if int(status[name], 16)]
        if held:
            raise NotConfined(f"has capabilities ({', '.join(held)})")
        if status["Uid"].split() != [str(uid)] * 4 or status["Gid"].split() != [str(uid)] * 4:
            raise NotConfined(f"has user ids {status['Uid']} and group ids {status['Gid']}, not {uid}")
        if status["Groups"]:
            raise NotConfined(f"is in groups {status['Groups']}")
    expected = {"NoNewPrivs": "1", "Threads": "1"}
    if boot.seccomp:
        expected |= {"Seccomp": "2", "Seccomp_filters": "2"}
    for name, value in expected.items():
        if status.get(name, value) != value:  # kernels before 5.9 do not count filters
            raise NotConfined(f"has {name} {status[name]}, not {value}")


def check_groups(pid: int, name: str, groups: int) -> None:
    """It is in as many control groups called `name` as it should be. Raises `NotConfined`."""
    with open(f"/proc/{pid}/cgroup") as lines:
        joined = sum(line.rstrip("\n").endswith(f"/{name}") for line in lines)
    if joined < groups:
        raise NotConfined(f"is in {joined} of its {groups} control groups")
