"""The files that a sandbox sees: which, from where, and how its read-only root is put together."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import isotherm_runtime
from isotherm.base.runtimes import PROVIDED, find_node, own_python
from isotherm_runtime import linux

__all__ = [
    "CODE",
    "DEPS",
    "LAYERS",
    "NAME_SERVER",
    "OPT",
    "OUT",
    "RUNTIME",
    "Bind",
    "Interpreter",
    "Tree",
    "interpreters",
    "own_interpreter",
]

CODE, DEPS, LAYERS, OUT, RUNTIME = "/code", "/deps", "/layers", "/out", "/opt/isotherm"
OPT = "/opt"  # where code looks for what layers bring
NAME_SERVER = "127.0.0.1"  # where a sandbox with egress asks for names

_system = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_max_layer_entries = 1000
_devices = ("null", "zero", "full", "random", "urandom")
_etc_binds = ("/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted", "/etc/alternatives", "/etc/fonts")
_etc_copies = ("/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/openssl.cnf", "/etc/mime.types", "/etc/services")
_etc_network = ("/etc/resolv.conf", "/etc/hosts", "/etc/gai.conf")
_etc_texts = {
    "/etc/passwd": "root:x:0:0::/:/bin/false\nsandbox:x:1000:1000::/tmp:/bin/false\n",
    "/etc/group": "root:x:0:\nsandbox:x:1000:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/hostname": "sandbox\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n",
    "/etc/resolv.conf": "",
}


@dataclass(frozen=True, slots=True)
class Bind:
    """What is shown at `target`. `open` gives an O_PATH descriptor of it, in the mount namespace that asks."""

    open: Callable[[], int]
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What runs a revision's code, shown at its own path. `prefixes` are what it needs beside the system's folders."""

    name: str
    executable: str
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """`prefixes` are folders of the machine's that are shown beside those of the interpreter."""

    interpreter: Interpreter
    binds: tuple[Bind, ...] = field(default=())
    prefixes: tuple[str, ...] = ()
    network: bool = False  # names as on the machine itself
    name_server: str | None = None  # where names are asked instead

    def build(self, root: str) -> None:
        """Mount it below the folder `root`, in the caller's own mount namespace. Raises `OSError`."""
        linux.mount("tmpfs", root, "tmpfs", linux.NOSUID | linux.NODEV, "size=4m,mode=755")
        for path in _system:
            if os.path.islink(path):
                os.symlink(os.readlink(path), root + path)
            elif os.path.isdir(path):
                _bind(path, root + path)
        for prefix in dict.fromkeys((*self.interpreter.prefixes, *self.prefixes)):
            _bind(prefix, root + prefix)
        _bind(os.path.dirname(isotherm_runtime.__file__), f"{root}{RUNTIME}/isotherm_runtime")
        for bind in self.binds:
            fd = bind.open()  # here: what another mount namespace opened cannot be bound
            _bind(f"/proc/self/fd/{fd}", root + bind.target, writable=bind.writable)
            os.close(fd)
            if bind.target == DEPS:  # Node.js looks for a module's dependencies in the folders above it, up to the root
                os.symlink(f"{DEPS}/node_modules", root + "/node_modules")
            if bind.target == LAYERS:
                _show_layers(root)
        self._make_etc(root)
        _make_devices(root)
        for folder in ("/proc", "/tmp", "/sys"):  # noqa: S108  (inside the sandbox)
            os.mkdir(root + folder)

    def _make_etc(self, root: str) -> None:
        os.makedirs(root + "/etc", exist_ok=True)
        for path, text in _etc_texts.items():
            _write(root + path, text.encode())
        if self.name_server is not None:
            _write(root + "/etc/resolv.conf", f"nameserver {self.name_server}\n".encode())
        for path in (*_etc_copies, *(_etc_network if self.network else ())):
            if os.path.isfile(path):
                os.makedirs(os.path.dirname(root + path), exist_ok=True)
                with open(path, "rb") as stream:
                    _write(root + path, stream.read(1 << 20))
        for path in _etc_binds:
            if os.path.isdir(path):
                _bind(path, root + path)


def _show_layers(root: str) -> None:
    """At /opt, beside the runtime, which is there already."""
    there = set(os.listdir(root + OPT))
    for name in sorted(set(os.listdir(root + LAYERS)) - there)[:_max_layer_entries]:
        os.symlink(f"{LAYERS}/{name}", f"{root}{OPT}/{name}")


def own_interpreter() -> Interpreter:
    """The Python that runs the platform, without the platform's packages."""
    executable = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    prefixes = dict.fromkeys(os.path.realpath(prefix) for prefix in (sys.base_prefix, sys.base_exec_prefix))
    return Interpreter(own_python(), executable, _outside(prefixes))


def interpreters() -> dict[str, Interpreter]:
    """By runtime, all that this machine has. `provided` is served by our own Python and sees Node.js too."""
    python, node = own_interpreter(), find_node()
    found = {python.name: python}
    prefixes: tuple[str, ...] = ()
    if node is not None:
        prefixes = _outside((node.prefix,))
        found[node.name] = Interpreter(node.name, node.executable, prefixes)
    found[PROVIDED] = Interpreter(PROVIDED, python.executable, (*python.prefixes, *prefixes))
    return found


def _outside(prefixes: Iterable[str]) -> tuple[str, ...]:
    return tuple(prefix for prefix in prefixes if not _is_system(prefix))


def _is_system(path: str) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in _system)


def _make_devices(root: str) -> None:
    os.mkdir(root + "/dev")
    for name in _devices:
        _write(f"{root}/dev/{name}", b"")
        linux.mount(f"/dev/{name}", f"{root}/dev/{name}", None, linux.BIND)
    os.symlink("/tmp", root + "/dev/shm")  # noqa: S108  (inside the sandbox: shared memory counts against /tmp)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"{root}/dev/{name}")


def _bind(source: str, target: str, *, writable: bool = False) -> None:
    if stat.S_ISDIR(os.stat(source).st_mode):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target):
            _write(target, b"")
    linux.mount(source, target, None, linux.BIND)
    flags = linux.BIND | linux.REMOUNT | linux.NOSUID | linux.NODEV
    linux.mount(None, target, None, flags if writable else flags | linux.RDONLY)


def _write(path: str, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
