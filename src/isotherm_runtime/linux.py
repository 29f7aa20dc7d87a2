"""A thin layer over Linux: raw clone, namespaces, mounts, capabilities, pidfds. x86-64 and aarch64.

`libc` is a PyDLL, so the interpreter's lock stays held over a clone: the child is the only thread and owns it.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import select
import socket
import struct

__all__ = [
    "ANY_NAMESPACE",
    "CLONE_FIXED",
    "INSTANCE_FLAGS",
    "NAMESPACES",
    "NEWCGROUP",
    "NEWIPC",
    "NEWNET",
    "NEWNS",
    "NEWPID",
    "NEWTIME",
    "NEWUSER",
    "NEWUTS",
    "PidfdInfo",
    "adopt_orphans",
    "await_exit",
    "bring_up_loopback",
    "change_owner",
    "clone",
    "drop_capabilities",
    "instance_flags",
    "is_exiting",
    "keep_capabilities",
    "machine",
    "mount",
    "namespaces_of",
    "open_beneath",
    "pid_of",
    "pidfd_info",
    "pivot_root",
    "process_status",
    "set_dumpable",
    "set_host_name",
    "set_no_new_privileges",
    "set_parent_death_signal",
    "set_process_name",
    "setns",
    "unmount",
    "unshare",
]

NEWTIME, NEWNS, NEWCGROUP, NEWUTS = 0x80, 0x20000, 0x2000000, 0x4000000
NEWIPC, NEWUSER, NEWPID, NEWNET = 0x8000000, 0x10000000, 0x20000000, 0x40000000
NAMESPACES = ("user", "pid", "mnt", "net", "ipc", "uts")
INSTANCE_FLAGS = NEWUSER | NEWPID | NEWNS | NEWNET | NEWIPC | NEWUTS
ANY_NAMESPACE = INSTANCE_FLAGS | NEWCGROUP  # NEWTIME shares its bit with the exit signal of clone(): clone3 only
_SIGCHLD, _PIDFD, _SETTID, _CLEARTID = 17, 0x1000, 0x1000000, 0x200000
CLONE_FIXED = _SIGCHLD | _PIDFD | _SETTID | _CLEARTID  # every clone of ours has these bits

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_MNT_DETACH = 2

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NAME, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 15, 22, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_GET_TID_ADDRESS, _PR_CAP_AMBIENT = 36, 38, 40, 47
_CAPABILITY_VERSION_3 = 0x20080522

machine = os.uname().machine
_numbers = {"x86_64": (56, 155), "aarch64": (220, 41)}
_clone_number, _pivot_root_number = _numbers.get(machine, (-1, -1))
_openat2_number = 437

libc = ctypes.PyDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _text(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def prctl(operation: int, first: int = 0, second: int = 0, third: int = 0, fourth: int = 0) -> int:
    arguments = (ctypes.c_ulong(value) for value in (first, second, third, fourth))
    return _check(libc.prctl(operation, *arguments), f"prctl {operation}")


def clone(flags: int) -> tuple[int, int]:
    """`(pid, pidfd)` in the parent, `(0, -1)` in the child. Only for single-threaded processes. Raises `OSError`.

    Runs none of libc's fork handlers. SETTID writes the child's thread id over the one that glibc has cached,
    which a raw clone would leave stale.
    """
    tid_address = ctypes.c_void_p()
    libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(tid_address), 0, 0, 0)
    pidfd = ctypes.c_int(-1)
    tail = (tid_address, None) if machine == "x86_64" else (None, tid_address)
    ctypes.pythonapi.PyOS_BeforeFork()
    word = ctypes.c_ulong(flags | CLONE_FIXED)
    pid = libc.syscall(ctypes.c_long(_clone_number), word, None, ctypes.byref(pidfd), *tail)
    code = ctypes.get_errno()
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0, -1
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(code, f"clone: {os.strerror(code)}")
    return pid, pidfd.value


def instance_flags(*, own_network: bool) -> int:
    """What an instance is cloned with. Without a network of its own it stays in its revision's."""
    return INSTANCE_FLAGS if own_network else INSTANCE_FLAGS & ~NEWNET


def unshare(flags: int) -> None:
    _check(libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    _check(libc.setns(fd, kind), "setns")


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    word = ctypes.c_ulong(flags)
    result = libc.mount(_text(source), _text(target), _text(kind), word, _text(options))
    _check(result, f"mount {kind or source or ''} on {target}")


def unmount(target: str) -> None:
    _check(libc.umount2(_text(target), _MNT_DETACH), f"umount {target}")


def pivot_root(new_root: str) -> None:
    """Make `new_root` the root and let go of the old one."""
    os.chdir(new_root)
    _check(libc.syscall(ctypes.c_long(_pivot_root_number), b".", b"."), f"pivot_root {new_root}")
    unmount(".")
    os.chdir("/")


def open_beneath(directory_fd: int, path: str, flags: int = os.O_PATH) -> int:
    """Open `path` below the directory and through no symbolic link. Raises `OSError`."""
    resolve = 0x02 | 0x04 | 0x08  # NO_MAGICLINKS, NO_SYMLINKS, BENEATH
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    fd = libc.syscall(ctypes.c_long(_openat2_number), directory_fd, _text(path), how, ctypes.c_size_t(len(how)))
    return _check(fd, f"open {path}")


def change_owner(fd: int, uid: int, gid: int) -> None:
    """Change the owner of what an O_PATH descriptor names, a symbolic link itself included."""
    empty_path = 0x1000
    _check(libc.fchownat(fd, b"", uid, gid, empty_path), "fchownat")


def set_no_new_privileges() -> None:
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_dumpable() -> None:
    """Let /proc/PID belong to the process's own user again: each change of user id undoes it."""
    prctl(_PR_SET_DUMPABLE, 1)


def set_parent_death_signal(signal_number: int) -> None:
    prctl(_PR_SET_PDEATHSIG, signal_number)


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants (child subreaper)."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def set_seccomp_filter(program: bytes) -> None:
    """Install a classic BPF program (8 bytes an instruction); no_new_privs must be set or CAP_SYS_ADMIN held."""
    value = _Program(len(program) // 8, program)
    _check(libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.byref(value), 0, 0), "seccomp")


def keep_capabilities(kept: frozenset[int]) -> None:
    """Drop all capabilities but `kept` from the bounding, ambient, effective, permitted and inheritable sets."""
    for capability in range(64):
        if capability not in kept and libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break  # past the last one that this kernel knows, or not allowed: then it is not in the set either
    libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(4), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    mask = sum(1 << capability for capability in kept)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(libc.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)), "capset")


def drop_capabilities() -> None:
    keep_capabilities(frozenset())


def set_process_name(name: str) -> None:
    """What `ps` and `top` show; 15 bytes at most."""
    text = ctypes.create_string_buffer(name.encode())
    prctl(_PR_SET_NAME, ctypes.addressof(text))


def set_host_name(name: str) -> None:
    socket.sethostname(name)


def bring_up_loopback() -> None:
    set_interface_flags, up_and_running = 0x8914, 0x41
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, set_interface_flags, struct.pack("16sh14x", b"lo", up_and_running))


def pid_of(pidfd: int) -> int:
    """The pid behind a pidfd as this process's namespace sees it. Raises `ValueError` where it is no live pidfd."""
    with open(f"/proc/self/fdinfo/{pidfd}") as lines:
        for line in lines:
            if line.startswith("Pid:"):
                pid = int(line[4:])
                if pid > 0:
                    return pid
    raise ValueError(f"descriptor {pidfd} is no pidfd of a process that is visible here")


def namespaces_of(pid: int | str) -> dict[str, int]:
    return {name: os.stat(f"/proc/{pid}/ns/{name}").st_ino for name in NAMESPACES}


def await_exit(pidfd: int) -> None:
    """Block until the process has ended, and its children have their new parent."""
    events = select.poll()  # not select(), which takes no descriptor above 1023
    events.register(pidfd, select.POLLIN)
    events.poll()


def is_exiting(pid: int) -> bool:
    """Whether its end has begun. Raises `FileNotFoundError` where it is over."""
    with open(f"/proc/{pid}/stat") as stream:
        fields = stream.read().rpartition(") ")[2].split()
    begun_to_exit = 0x4
    return bool(int(fields[6]) & begun_to_exit)


def process_status(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status."""
    with open(f"/proc/{pid}/status") as lines:
        return {name: value.strip() for name, separator, value in (line.partition(":") for line in lines) if separator}


class PidfdInfo:
    """Constants of PIDFD_GET_INFO."""

    REQUEST = 0xC040FF0B
    EXIT = 1 << 3


def pidfd_info(pidfd: int) -> int | None:
    """The wait status of a process that has ended, our child or not; None where the kernel (< 6.15) cannot say."""
    info = array.array("B", struct.pack("=QQ", PidfdInfo.EXIT, 0) + bytes(48))
    try:
        fcntl.ioctl(pidfd, PidfdInfo.REQUEST, info)
    except OSError:
        return None
    (mask,) = struct.unpack_from("=Q", info, 0)
    return int(struct.unpack_from("=i", info, 60)[0]) if mask & PidfdInfo.EXIT else None
