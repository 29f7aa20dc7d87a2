"""The launcher: a short-lived process that builds a sandbox's tree and namespaces and clones its pid 1.

A nursery forks it for a revision, the warden for a job. It runs no code of a user. The pidfd of pid 1 comes back over
`channel`; the launcher ends, and pid 1 becomes a child of the warden (its subreaper).
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

from isotherm.warden.tree import Interpreter, Tree
from isotherm_runtime import linux
from isotherm_runtime.confine import USER_UID, limit_resources
from isotherm_runtime.seccomp import instance_filter, supported
from isotherm_runtime.seqpacket import send

__all__ = ["Launch", "base_environment", "close_all_but", "exec_job", "fork_launcher"]

_ROOT = "/sys"  # where the tree is built: a folder that is everywhere, all may enter, and no source lies in
_MAX_DESCRIPTORS = 1 << 20
_OOM_SCORE = 300  # when the whole machine is out of memory, sandboxes go before the platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """`channel` is pid 1's end of its channel to the warden; `become` turns the clone into its program."""

    channel: socket.socket
    join_files: tuple[int, ...]
    become: Callable[[Launch], NoReturn]
    isolated: bool
    tree: Tree
    id_base: int  # first host id of its range
    tmp_bytes: int
    tmp_uid: int
    network_fd: int | None = None  # the network namespace to be in; None: an empty one of its own


def fork_launcher(launch: Launch) -> int:
    """Start it; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.umask(0o022)
        for descriptor in launch.join_files:
            os.write(descriptor, b"0")
        if launch.isolated:
            _launch_isolated(launch)
        else:
            _launch_plain(launch)
        os._exit(0)
    except BaseException as exc:  # noqa: BLE001  (nothing may unwind into the warden's code in the child)
        send(launch.channel, {"op": "failed", "why": f"{type(exc).__name__}: {exc}"[:1000]})
    finally:
        os._exit(1)


def _launch_plain(launch: Launch) -> None:
    """Without namespaces: pid 1's stand-in is a plain clone."""
    own_pidfd = os.pidfd_open(os.getpid())
    pid, pidfd = linux.clone(0)
    if pid == 0:
        try:
            linux.await_exit(own_pidfd)  # once the launcher has gone, our parent is the warden
            launch.become(launch)
        except BaseException as exc:  # noqa: BLE001  (as above)
            send(launch.channel, {"op": "failed", "why": f"{type(exc).__name__}: {exc}"[:1000]})
        finally:
            os._exit(1)
    send(launch.channel, {"op": "launched"}, [pidfd])


def _launch_isolated(launch: Launch) -> None:
    with open("/proc/self/oom_score_adj", "w") as stream:
        stream.write(str(_OOM_SCORE))
    linux.unshare(linux.NEWNS)
    linux.mount(None, "/", None, linux.REC | linux.PRIVATE)
    # A /proc without mounts over parts of it (containers), or the kernel refuses one in a user namespace.
    linux.mount("proc", "/proc", "proc")
    launch.tree.build(_ROOT)
    flags = linux.INSTANCE_FLAGS | linux.NEWCGROUP
    if launch.network_fd is not None:
        linux.setns(launch.network_fd, linux.NEWNET)
        flags &= ~linux.NEWNET
    own_pidfd = os.pidfd_open(os.getpid())
    mapped, map_done = os.pipe()
    pid, pidfd = linux.clone(flags)
    if pid == 0:
        try:
            os.close(map_done)
            os.read(mapped, 1)
            _enter(launch)
            linux.await_exit(own_pidfd)  # once the launcher has gone, our parent is the warden
            launch.become(launch)
        except BaseException as exc:  # noqa: BLE001  (as above)
            send(launch.channel, {"op": "failed", "why": f"{type(exc).__name__}: {exc}"[:1000]})
        finally:
            os._exit(1)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w") as stream:
            stream.write(f"0 {launch.id_base} 65536")
    os.write(map_done, b"g")
    send(launch.channel, {"op": "launched"}, [pidfd])


def _enter(launch: Launch) -> None:
    """In the clone: root of the new user namespace; makes the tree its only one."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    linux.mount(_ROOT, _ROOT, None, linux.BIND | linux.REC)  # a mount of our own: pivot_root refuses an inherited one
    linux.mount("proc", _ROOT + "/proc", "proc", linux.NOSUID | linux.NODEV | linux.NOEXEC)
    options = f"size={launch.tmp_bytes},nr_inodes=65536,mode=700,uid={launch.tmp_uid},gid={launch.tmp_uid}"
    linux.mount("tmpfs", _ROOT + "/tmp", "tmpfs", linux.NOSUID | linux.NODEV, options)  # noqa: S108  (inside the sandbox)
    read_only = linux.BIND | linux.REMOUNT | linux.RDONLY | linux.NOSUID | linux.NODEV
    linux.mount(None, _ROOT, None, read_only)
    linux.pivot_root(_ROOT)
    if launch.network_fd is None:
        linux.bring_up_loopback()


def base_environment(interpreters: Iterable[Interpreter]) -> dict[str, str]:
    """In which all of them are found by their names."""
    folders = [os.path.dirname(each.executable) for each in interpreters]
    return {
        "PATH": ":".join(dict.fromkeys((*folders, "/usr/local/bin", "/usr/bin", "/bin"))),
        "HOME": "/tmp",  # noqa: S108  (inside the sandbox)
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def exec_job(argv: tuple[str, ...], env: dict[str, str], output: int) -> Callable[[Launch], NoReturn]:
    """Become a program that runs to its end, confined like an instance."""

    def become(launch: Launch) -> NoReturn:
        os.dup2(output, 1)
        os.dup2(output, 2)
        close_all_but(launch.channel.fileno())
        os.setsid()
        linux.set_parent_death_signal(signal.SIGKILL)
        limit_resources(launch.tmp_bytes)
        if launch.isolated:
            os.setresgid(USER_UID, USER_UID, USER_UID)
            os.setresuid(USER_UID, USER_UID, USER_UID)
            linux.drop_capabilities()
            os.chdir("/tmp")  # noqa: S108  (inside the sandbox)
        linux.set_no_new_privileges()
        if supported():
            linux.set_seccomp_filter(instance_filter())
        linux.set_parent_death_signal(signal.SIGKILL)  # the change of ids undid it
        os.execve(argv[0], argv, env)  # noqa: S606  (no shell is the point)

    return become


def close_all_but(kept: int) -> None:
    """All are close-on-exec; what the warden holds must not depend on that alone."""
    os.closerange(3, kept)
    os.closerange(kept + 1, _MAX_DESCRIPTORS)
