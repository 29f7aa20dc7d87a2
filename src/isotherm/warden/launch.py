"""Starts one process of the platform: its descriptors, its private view of the files, its user, its end.

Everything here runs in the child between fork and exec, and the parent has one thread. Standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = [
    "EGRESS_ID",
    "Cover",
    "Identity",
    "Launch",
    "LaunchError",
    "covers",
    "interpreter_paths",
    "service_identity",
    "start",
]

FALLBACK_ID = 61313  # user and group of the unprivileged processes where no account was made for them
EGRESS_ID = 61314  # of the egress process, which faces sandboxes and the world and may read nothing of the platform's
EXIT_LAUNCH_FAILED = 71  # EX_OSERR
OPEN_FILES = 1 << 16

_CLONE_NEWNS = 0x00020000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV = 1, 2, 4
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38

_libc = ctypes.CDLL(None, use_errno=True)


class LaunchError(Exception):
    """A process could not be started as it must be; the message says what to mend."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to start. `identity` None: stay the user that we are, and see all files."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    fds: tuple[int, ...]  # inherited under the same numbers
    identity: Identity | None = None
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    umask: int = 0o077


@dataclass(frozen=True, slots=True)
class Cover:
    """A folder that the user may not enter, to be hidden under an empty one that holds only `binds`."""

    root: str
    binds: tuple[tuple[str, bool], ...] = field(default=())  # (path, writable)


def service_identity(name: str | None) -> Identity:
    """The user of the unprivileged processes; who we are, where we are not root. Raises `LaunchError`."""
    if os.geteuid() != 0:
        return Identity(os.geteuid(), os.getegid())
    try:
        account = pwd.getpwnam(name or "isotherm")
    except KeyError:
        if name:
            raise LaunchError(f"ISOTHERM_SERVICE_USER: there is no user {name!r}; make it, or unset this") from None
        return Identity(FALLBACK_ID, FALLBACK_ID)
    if account.pw_uid == 0:
        raise LaunchError(f"ISOTHERM_SERVICE_USER: {name!r} is root; name an unprivileged user")
    return Identity(account.pw_uid, account.pw_gid)


def interpreter_paths() -> tuple[str, ...]:
    """All that this interpreter and its packages are read from: prefixes, import path, links to the executable."""
    found = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, *sys.path]
    found.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    executable = sys.executable
    for _ in range(40):  # the kernel's own bound for a chain of links
        found.append(executable)
        if not os.path.islink(executable):
            break
        executable = os.path.normpath(os.path.join(os.path.dirname(executable), os.readlink(executable)))
    found += [os.path.realpath(path) for path in found if path]
    return tuple(dict.fromkeys(path for path in found if os.path.isabs(path) and os.path.lexists(path)))


def covers(readable: Iterable[str], writable: Iterable[str], identity: Identity) -> list[Cover]:
    """Which folders to hide so that `identity` reaches all these paths. Empty: it reaches them as it is."""
    wanted = dict.fromkeys(readable, False) | dict.fromkeys(writable, True)
    found: dict[str, list[tuple[str, bool]]] = {}
    for path, may_write in sorted(wanted.items()):
        root = _untraversable(path, identity)
        if root is None:
            continue
        binds = found.setdefault(root, [])
        if not any(path.startswith(other + "/") and (may_write == other_write) for other, other_write in binds):
            binds.append((path, may_write))
    return [Cover(root, tuple(binds)) for root, binds in found.items()]


def start(launch: Launch) -> int:
    """Start it; returns its pid. What goes wrong after the fork goes to stderr, and the child exits with 71."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _become(launch, parent)
        os.execve(launch.argv[0], launch.argv, dict(launch.env))  # noqa: S606 (no shell is the point)
    except BaseException as exc:  # noqa: BLE001 (nothing may unwind into the parent's code in the child)
        os.write(2, f"isotherm: cannot start {' '.join(launch.argv[:5])}: {exc}\n".encode())
    finally:
        os._exit(EXIT_LAUNCH_FAILED)


def _become(launch: Launch, parent: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    os.chdir("/")
    os.umask(launch.umask)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if launch.identity is not None:
        _hide(covers(launch.readable, launch.writable, launch.identity))
        _drop(launch.identity)
        _check_readable(launch)
    # After the change of user: that clears it.
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl PDEATHSIG")
    if os.getppid() != parent:
        raise LaunchError("the supervisor is gone")
    for fd in launch.fds:
        os.set_inheritable(fd, True)


def _hide(hidden: list[Cover]) -> None:
    """In a mount namespace of our own, cover each folder by an empty one with only its binds in it."""
    if _libc.unshare(_CLONE_NEWNS) != 0:
        if not hidden:
            return  # as in a container without CAP_SYS_ADMIN, where all is reachable anyhow
        _check(-1, f"unshare, needed because the service user may not enter {hidden[0].root}")
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    for cover in hidden:
        sources = [(path, may_write, os.open(path, os.O_PATH)) for path, may_write in cover.binds]
        links = {path: os.readlink(path) for path, _ in cover.binds if os.path.islink(path)}
        _mount("tmpfs", cover.root, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
        for path, may_write, fd in sources:
            _place(path, may_write, fd, links.get(path))
            os.close(fd)
        _mount(None, cover.root, None, _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")


def _place(path: str, may_write: bool, fd: int, link: str | None) -> None:
    """Make `path` exist under a cover: as the link that it was, or bound from `fd`."""
    _make_folders(os.path.dirname(path))
    there = os.path.lexists(path)  # a bind above it brought it along
    if link is not None:
        if not there:
            os.symlink(link, path)
        return
    if not there and stat.S_ISDIR(os.fstat(fd).st_mode):
        _make_folders(path)
    elif not there:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    _mount(f"/proc/self/fd/{fd}", path, None, _MS_BIND | _MS_REC)
    protect = 0 if may_write else _MS_RDONLY
    _mount(None, path, None, _MS_REMOUNT | _MS_BIND | _MS_NOSUID | _MS_NODEV | protect)


def _make_folders(path: str) -> None:
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        os.mkdir(folder)
        os.chmod(folder, 0o755)  # noqa: S103 (the user must pass through, whatever our umask)


def _drop(identity: Identity) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold secrets
    os.setgroups([])
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl NO_NEW_PRIVS")


def _check_readable(launch: Launch) -> None:
    """Say which path the user cannot read, while somebody can still mend it."""
    uid = os.getuid()
    for path in launch.readable:
        mode = os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK
        if not os.access(path, mode):
            raise LaunchError(
                f"{path} cannot be read by the service user (uid {uid}); make it readable to all "
                f"(chmod -R a+rX), or install isotherm where it is, such as /opt"
            )
    for path in launch.writable:
        if not os.access(path, os.W_OK | os.X_OK):
            raise LaunchError(f"{path} cannot be written by the service user (uid {uid})")


def _untraversable(path: str, identity: Identity) -> str | None:
    """The topmost folder above `path` that `identity` may not enter."""
    parts = path.split("/")
    for depth in range(2, len(parts)):
        folder = "/".join(parts[:depth])
        status = os.stat(folder)
        if status.st_uid == identity.uid:
            bit = stat.S_IXUSR
        elif status.st_gid == identity.gid:
            bit = stat.S_IXGRP
        else:
            bit = stat.S_IXOTH
        if not status.st_mode & bit:
            return folder
    return None


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind, options)]
    result = _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    _check(result, f"mount {source or kind or 'flags'} on {target}")


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise LaunchError(f"{what}: {os.strerror(number)}")
