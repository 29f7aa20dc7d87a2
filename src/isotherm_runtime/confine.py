"""How a process gives up what it could do: limits, user id, capabilities, system calls. One-way, all of it."""

from __future__ import annotations

import os
import resource
import signal

from isotherm_runtime import linux
from isotherm_runtime.boot import KeeperBoot
from isotherm_runtime.seccomp import instance_filter, template_filter

__all__ = [
    "TEMPLATE_UID",
    "USER_UID",
    "become_template",
    "confine_instance",
    "limit_resources",
    "second_filter",
    "settle_instance",
]

TEMPLATE_UID = 1  # in the revision's user namespace
USER_UID = 1000  # in the instance's own

_open_files = 1024
_unisolated_headroom_bytes = 512 << 20  # address space that an interpreter with threads reserves and does not use


def limit_resources(tmp_bytes: int) -> None:
    """Resource limits that no later code can raise (hard)."""
    for kind, limit in (
        (resource.RLIMIT_NOFILE, _open_files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, tmp_bytes),
        (resource.RLIMIT_MEMLOCK, 64 * 1024),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_RTPRIO, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (bound, bound))


def become_template(boot: KeeperBoot) -> None:
    """From the keeper's child to a process that may run the user's import."""
    linux.set_process_name("iso-template")
    limit_resources(boot.tmp_bytes)
    if boot.isolated:
        os.setgroups([])
        os.setresgid(TEMPLATE_UID, TEMPLATE_UID, TEMPLATE_UID)
        os.setresuid(TEMPLATE_UID, TEMPLATE_UID, TEMPLATE_UID)
        linux.drop_capabilities()
    else:
        bound = boot.memory_bytes + _unisolated_headroom_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
    linux.set_no_new_privileges()
    if boot.seccomp:
        linux.set_seccomp_filter(template_filter(own_network=boot.own_network))
    linux.set_dumpable()
    linux.set_parent_death_signal(signal.SIGKILL)


def settle_instance(boot: KeeperBoot) -> None:
    """What a fresh clone does while the keeper still looks at it: all that needs no user id of its own yet."""
    os.setsid()  # kill(0, …) crosses pid namespaces within one process group
    linux.set_process_name("iso-instance")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if boot.isolated:
        if boot.own_network:
            linux.bring_up_loopback()
        linux.set_host_name("sandbox")


def confine_instance(boot: KeeperBoot, filter_program: bytes) -> None:
    """From root of its own user namespace to what the keeper verifies. Its ids must be mapped."""
    if boot.isolated:
        os.setresgid(USER_UID, USER_UID, USER_UID)
        os.setresuid(USER_UID, USER_UID, USER_UID)
        linux.drop_capabilities()
    linux.set_parent_death_signal(signal.SIGKILL)  # after the change of ids, which undoes it
    if boot.seccomp:
        linux.set_seccomp_filter(filter_program)
    linux.set_dumpable()


def second_filter(boot: KeeperBoot) -> bytes:
    """Compiled before the fork, so that no instance spends time on it."""
    return instance_filter() if boot.seccomp else b""
