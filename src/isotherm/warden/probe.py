"""What can be enforced on this machine, each point tried rather than guessed; for `isotherm doctor`."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from isotherm.warden.facilities import Facilities
from isotherm.warden.network import NetworkError, RevisionNetwork
from isotherm_runtime import linux, seccomp

__all__ = ["Check", "probe"]


@dataclass(frozen=True, slots=True)
class Check:
    """`detail` says what was found, or what is missing and how to mend it; `enforced`, what depends on it.

    `needed` False: without it only those functions are refused that ask for it.
    """

    name: str
    ok: bool
    detail: str
    enforced: str
    needed: bool = True

    def to_message(self) -> dict[str, Any]:
        return asdict(self)


def probe(have: Facilities) -> list[Check]:
    """In the order in which they build on each other."""
    return [*_process_checks(), *_namespace_checks(), *_group_checks(have), *_file_checks(have), _egress_check()]


def _process_checks() -> Iterator[Check]:
    root = os.geteuid() == 0
    yield Check(
        "root",
        root,
        "the warden is root"
        if root
        else f"the warden runs as uid {os.geteuid()}; start isotherm as root (systemd unit)",
        "users of their own, namespaces, control groups",
    )
    filtered = seccomp.supported() and _in_child(_try_seccomp)
    yield Check(
        "seccomp",
        filtered,
        f"filters for {linux.machine}" if filtered else f"no system call filter works on {linux.machine}",
        "the list of allowed system calls",
    )
    pidfd = _in_child(lambda: os.close(os.pidfd_open(os.getpid())))
    yield Check(
        "pidfd",
        pidfd,
        "pidfd_open works" if pidfd else "pidfd_open fails; Linux 5.10 or newer is needed",
        "that only the right process is killed",
    )
    beneath = _in_child(_try_open_beneath)
    yield Check(
        "openat2",
        beneath,
        "paths can be opened through no link" if beneath else "openat2 fails; Linux 5.10 or newer is needed",
        "that a sandbox shows no file but its own",
    )


def _namespace_checks() -> Iterator[Check]:
    limit = _read("/proc/sys/user/max_user_namespaces")
    refused = (
        "refused; see sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
        "kernel.apparmor_restrict_unprivileged_userns, or the container's own filter"
    )
    user = _in_child(_try_user_namespace)
    yield Check(
        "user namespaces",
        user,
        f"allowed to unprivileged processes, at most {limit}" if user else refused,
        "a user of its own for each instance",
    )
    for name, flag in (("pid", linux.NEWPID), ("mount", linux.NEWNS), ("network", linux.NEWNET), ("ipc", linux.NEWIPC)):
        ok = _in_child(lambda flag=flag: linux.unshare(flag))  # type: ignore[misc]  # bound at once
        enforced = {
            "pid": "that other processes are out of sight and reach",
            "mount": "files: only the code and the interpreter, read-only",
            "network": "no network",
            "ipc": "no shared memory with others",
        }[name]
        yield Check(f"{name} namespaces", ok, "allowed" if ok else "refused; CAP_SYS_ADMIN is needed", enforced)


def _group_checks(have: Facilities) -> Iterator[Check]:
    base = have.base
    for name, what in (
        ("memory", "the memory limit of each instance and revision"),
        ("cpu", "the CPU limit of each instance"),
        ("pids", "the limit on processes and threads"),
    ):
        if base is None:
            yield Check(
                f"{name} control group", False, "no control groups; root and a mounted hierarchy are needed", what
            )
        else:
            ok = os.path.isdir(base.directory(name))
            yield Check(f"{name} control group", ok, f"version {base.version}, {base.directory(name)}", what)


def _file_checks(have: Facilities) -> Iterator[Check]:
    yield Check(
        "interpreter",
        os.access(have.python.executable, os.X_OK),
        f"{have.python.name} at {have.python.executable}",
        "that handlers can run",
    )


def _egress_check() -> Check:
    """Build what a revision with egress gets, and see a connection to elsewhere arrive where it must."""
    enforced = "that functions reach what their rules allow, and nothing else; without it they reach nothing"
    try:
        network = RevisionNetwork()
    except NetworkError as exc:
        why = f"no function can have it: {exc.__cause__}; Linux 5.10 or newer, root and the bpf system call are needed"
        return Check("egress", False, why, enforced, needed=False)
    try:
        caught = _in_child(lambda: _try_egress(network))
    finally:
        network.close()
    found = "connections are caught by BPF" if caught else "a connection was not caught by BPF; no function can have it"
    return Check("egress", caught, found, enforced, needed=False)


def _try_egress(network: RevisionNetwork) -> None:
    elsewhere = ("192.0.2.1", 443)  # nobody's (RFC 5737)
    linux.setns(network.namespace_fd, linux.NEWNET)
    with socket.socket() as client:
        client.settimeout(2)
        client.connect(elsewhere)
        caught, _ = network.sockets[0].accept()
    if caught.getsockname()[:2] not in (elsewhere, (f"::ffff:{elsewhere[0]}", elsewhere[1])):
        raise OSError("another connection was caught")


def _try_seccomp() -> None:
    linux.set_no_new_privileges()
    linux.set_seccomp_filter(seccomp.template_filter())
    linux.set_seccomp_filter(seccomp.instance_filter())
    try:
        linux.unshare(linux.NEWNS)
    except PermissionError:
        return
    raise OSError("the filter does not hold")


def _try_user_namespace() -> None:
    """As a template does: unprivileged, and with what the new namespace should allow (AppArmor may take it away)."""
    if os.geteuid() == 0:
        nobody = 65534
        os.setgroups([])
        os.setresgid(nobody, nobody, nobody)
        os.setresuid(nobody, nobody, nobody)
    linux.unshare(linux.NEWUSER | linux.NEWNET | linux.NEWUTS)
    linux.set_host_name("probe")
    linux.bring_up_loopback()


def _try_open_beneath() -> None:
    folder = os.open("/", os.O_PATH)
    os.close(linux.open_beneath(folder, "proc"))


def _in_child(attempt: Callable[[], object]) -> bool:
    """Whether it works, tried where it can do no harm."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            attempt()
            status = 0
        except OSError:
            pass
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def _read(path: str) -> str:
    try:
        with open(path) as stream:
            return stream.read().strip()
    except OSError:
        return "?"
