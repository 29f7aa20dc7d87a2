"""Hostile code for a sandbox, standard library alone: each attack says what became of it, as JSON.

It is read as text and deployed as a function: `ATTACKS` runs at import, in the template, and again in the handler.
A value is "EPERM" and the like where the kernel refused, what was seen otherwise.
"""

import ctypes
import errno
import json
import os
import signal
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

X86 = os.uname().machine == "x86_64"
NUMBERS = {
    # name: (x86-64, aarch64)
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "fsopen": (430, 430),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "mount_setattr": (442, 442),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "swapon": (167, 224),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "acct": (163, 89),
    "personality": (135, 92),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "fanotify_init": (300, 262),
    "seccomp": (317, 277),
    "pivot_root": (155, 41),
    "sethostname": (170, 161),
    "landlock_create_ruleset": (444, 444),
}


def name_of(number):
    return errno.errorcode.get(number, str(number))


def call(name, *arguments):
    number = NUMBERS[name][0 if X86 else 1]
    return raw(number, *arguments)


def raw(number, *arguments):
    words = [ctypes.c_ulong(value & 0xFFFFFFFFFFFFFFFF) if isinstance(value, int) else value for value in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    return name_of(ctypes.get_errno()) if result < 0 else f"worked: {result}"


def checked(result):
    return name_of(ctypes.get_errno()) if result < 0 else "worked"


def read(path):
    with open(path, "rb") as file:
        return f"worked: {len(file.read(4096))} bytes"


def write(path, text="x"):
    with open(path, "w") as file:
        file.write(text)
    return "worked"


def connect(family, kind, address):
    with socket.socket(family, kind) as client:
        client.settimeout(1)
        client.connect(address)
    return "worked"


def make_socket(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()
    return "worked"


def in_child(action):
    """What may kill or change the process, in a child of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, str(attempt(action)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        text = stream.read().decode()
    _, status = os.waitpid(pid, 0)
    return text or f"killed by {signal.Signals(status & 0x7F).name}"


def attempt(action):
    try:
        return action()
    except OSError as exc:
        return name_of(exc.errno)


def visible_processes():
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def mount(source, target, kind):
    return checked(libc.mount(source, target, kind, ctypes.c_ulong(0), None))


def enter_namespace():
    with open("/proc/self/ns/net") as file:
        return checked(libc.setns(file.fileno(), 0))


def x32_getpid():
    return raw(0x40000000 + 39) if X86 else "EPERM"


def inject_terminal_input():
    import fcntl

    fcntl.ioctl(0, 0x5412, b"x")
    return "worked"


def steal_loopback():
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, 0x8914, struct.pack("16sh14x", b"lo", 0))
    return "worked"


def raise_limit():
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
    except ValueError:  # what Python makes of EPERM here
        return "EPERM"
    return "worked"


def lower_oom_score():
    return write("/proc/self/oom_score_adj", "-1000")


def clone_with(flags):
    number = 56 if X86 else 220
    return raw(number, flags | 17, 0, 0, 0, 0)


def set_user_zero():
    os.setuid(0)
    return "worked"


def shared_memory_of_others():
    return os.listdir("/dev/shm")


WRITABLE_BY_NOBODY = [
    "/",
    "/code",
    "/etc",
    "/usr",
    "/usr/bin",
    "/opt/isotherm",
    "/dev",
    "/proc",
    "/proc/sys",
    "/sys",
    "/var",
    "/root",
    "/home",
]


def files_outside():
    """Folders in which a file could be made, /tmp and below aside."""
    return [name for name in WRITABLE_BY_NOBODY if attempt(lambda name=name: write(f"{name}/planted")) == "worked"]


def environment_of_others():
    return attempt(lambda: read("/proc/2/environ")) if os.getpid() == 1 else attempt(lambda: read("/proc/1/environ"))


def attacks(target):
    """`target`: a host's path, TCP port, abstract socket and pid that exist outside."""
    return {
        # files
        "read the host's shadow": lambda: read("/etc/shadow"),
        "read a host's file": lambda: read(target["path"]),
        "read a host's file through root": lambda: read("/proc/1/root" + target["path"]),
        "read a host's file through a parent's cwd": lambda: read("/proc/1/cwd/../../.." + target["path"]),
        "list root's home": lambda: [name for name in os.listdir("/root") if name != ".pyenv"],
        "write anywhere": files_outside,
        "write to the code": lambda: write("/code/app.py"),
        "write to the runtime": lambda: write("/opt/isotherm/isotherm_runtime/serve.py"),
        "write to the interpreter through its process": lambda: write("/proc/self/exe"),
        "write to the interpreter": lambda: write(sys.executable),
        "make a device": lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0)) or "worked",
        "open the kernel's memory": lambda: read("/dev/kmem"),
        "open a disk": lambda: read("/dev/vda"),
        # the kernel's files
        "trigger sysrq": lambda: write("/proc/sysrq-trigger", "b"),
        "set core_pattern": lambda: write("/proc/sys/kernel/core_pattern", "|/tmp/x"),
        "set the modprobe path": lambda: write("/proc/sys/kernel/modprobe", "/tmp/x"),
        "write to sys": lambda: write("/sys/kernel/uevent_helper"),
        "read kcore": lambda: read("/proc/kcore"),
        "lower the oom score": lower_oom_score,
        # other processes
        "see processes": visible_processes,
        "signal a host's process": lambda: os.kill(target["pid"], 0) or "worked",
        "open a host's process": lambda: os.pidfd_open(target["pid"]),
        "read another's environment": environment_of_others,
        "trace": lambda: call("ptrace", 16, 1, 0, 0),
        "trace oneself": lambda: in_child(lambda: call("ptrace", 0, 0, 0, 0)),
        "read another's memory": lambda: call("process_vm_readv", 1, 0, 0, 0, 0, 0),
        "write another's memory": lambda: call("process_vm_writev", 1, 0, 0, 0, 0, 0),
        "steal a descriptor": lambda: call("pidfd_getfd", 0, 0, 0),
        "compare kernel objects": lambda: call("kcmp", 1, 1, 0, 0, 0),
        # network
        "connect out": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("1.1.1.1", 53)),
        "send a datagram out": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("1.1.1.1", 53)),
        "connect to the host's loopback": lambda: connect(
            socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", target["port"])
        ),
        "connect to the host's abstract socket": lambda: connect(
            socket.AF_UNIX, socket.SOCK_STREAM, target["abstract"]
        ),
        "netlink": lambda: make_socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "packet socket": lambda: make_socket(socket.AF_PACKET, socket.SOCK_RAW),
        "raw socket": lambda: make_socket(socket.AF_INET, socket.SOCK_RAW, 1),
        "vsock": lambda: make_socket(40, socket.SOCK_STREAM),
        "key socket": lambda: make_socket(15, socket.SOCK_RAW, 2),
        "crypto socket": lambda: make_socket(38, socket.SOCK_SEQPACKET),
        "change the loopback": steal_loopback,
        # mounts and namespaces
        "mount tmpfs": lambda: mount(b"t", b"/tmp", b"tmpfs"),
        "remount root": lambda: checked(libc.mount(None, b"/", None, ctypes.c_ulong(32 | 4096), None)),
        "mount proc": lambda: mount(b"p", b"/tmp", b"proc"),
        "unmount proc": lambda: checked(libc.umount2(b"/proc", 2)),
        "unmount tmp": lambda: checked(libc.umount2(b"/tmp", 2)),
        "unshare user": lambda: in_child(lambda: checked(libc.unshare(0x10000000))),
        "unshare mount": lambda: in_child(lambda: checked(libc.unshare(0x20000))),
        "clone with a user namespace": lambda: clone_with(0x10000000),
        "clone with a mount namespace": lambda: clone_with(0x20000),
        "clone3": lambda: raw(435, 0, 88),
        "enter a namespace": enter_namespace,
        "chroot": lambda: os.chroot("/tmp") or "worked",
        "fsopen": lambda: call("fsopen", b"proc", 0),
        "open_tree": lambda: call("open_tree", -100, b"/", 1),
        "move_mount": lambda: call("move_mount", 0, b"", 0, b"", 0),
        "mount_setattr": lambda: call("mount_setattr", -100, b"/", 0, 0, 0),
        "pivot_root": lambda: call("pivot_root", b".", b"."),
        # privileges
        "become root": set_user_zero,
        "raise limits": raise_limit,
        "set the host name": lambda: in_child(lambda: call("sethostname", b"x", 1)),
        # the kernel's odd corners
        **{
            name: (lambda name=name: call(name, 0, 0, 0, 0, 0))
            for name in (
                "bpf",
                "perf_event_open",
                "userfaultfd",
                "io_uring_setup",
                "keyctl",
                "add_key",
                "init_module",
                "finit_module",
                "kexec_load",
                "open_by_handle_at",
                "quotactl",
                "swapon",
                "reboot",
                "syslog",
                "acct",
                "personality",
                "settimeofday",
                "clock_settime",
                "fanotify_init",
                "landlock_create_ruleset",
            )
        },
        "x32 call": x32_getpid,
        "inject terminal input": inject_terminal_input,
        "see others' shared memory": shared_memory_of_others,
    }


def run(target):
    return {name: attempt(action) for name, action in attacks(target).items()}


target = json.loads(os.environ["TARGET"])
at_import = run(target)


def handler(event, context):
    if event == "stack a filter":
        return [call("seccomp", 1, 0, 0), checked(libc.prctl(22, 2, 0, 0, 0))]
    return {"import": at_import, "handler": run(target), "modules": len(sys.modules)}
