"""The processes of a platform on this machine, as /proc shows them: found by who listens, ended by SIGKILL.

    console (`isotherm up`) → supervisor → warden → nursery → keeper → template → instances
                                         → control, host, egress

The supervisor is known by the socket that it listens on, so that no other platform of this machine is harmed. An
instance is the first process of a process namespace that lies two below the warden's: the keeper made the one, the
template the other. What is not isolated has no namespaces; there the name that the runtime gives itself says it.
"""

import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isotherm.base.errors import Forbidden, Invalid, Unavailable

__all__ = ["Process", "ProcessTable", "kill_process"]

SUPERVISOR, WARDEN, CONTROL = "isotherm.warden.supervisor", "isotherm.warden", "isotherm.controllers"
INSTANCE = "iso-instance"
LISTEN = "0A"
ANYWHERE = {"00000000", "0" * 32}
_marked = re.compile(r"/(replay-[0-9]{4,}-[0-9a-f]{10}) \(deleted\)$")


@dataclass(frozen=True)
class Process:
    """A process as it was seen. `started` (clock ticks after the boot) tells it from a later one of the same number."""

    pid: int
    parent: int
    started: int


class ProcessTable:
    """What /proc says. `root` is another folder in tests."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = root

    def supervisor_at(self, host: str, port: int) -> Process:
        """Who listens there. Raises `Invalid` where that is no platform of this machine, `Forbidden` where it cannot be
        told."""
        inodes = set().union(*(self._listening(address, port) for address in _own_addresses(host)))
        hidden = False
        for process in self._all():
            if self._module(process.pid) == SUPERVISOR:
                held = self._descriptors(process.pid)
                hidden = hidden or held is None
                if any(f"socket:[{inode}]" in (held or ()) for inode in inodes):
                    return process
        if hidden:
            raise Forbidden(f"--kill: processes of the platform at {host}:{port} belong to somebody else; run as root")
        raise Invalid(
            f"--kill: what listens at {host}:{port} is no platform of this machine; "
            "where a proxy stands before it, --pid says which process is `isotherm up`"
        )

    def supervisor_of(self, pid: int) -> Process:
        """The supervisor that is this process, or its child. Raises `Invalid`."""
        for process in self._all():
            if pid in (process.pid, process.parent) and self._module(process.pid) == SUPERVISOR:
                return process
        raise Invalid(f"--pid {pid}: that is no `isotherm up` of this machine; the ready file has its pid")

    def child(self, supervisor: Process, module: str) -> Process | None:
        """The supervisor's process that runs a module; None while there is none."""
        mine = (process for process in self._all() if process.parent == supervisor.pid)
        return next((process for process in mine if self._module(process.pid) == module), None)

    def instances(self, supervisor: Process) -> list[Process]:
        """All instances of the platform, the oldest first."""
        warden = self.child(supervisor, WARDEN)
        if warden is None:
            return []
        depth = len(self._namespace_pids(warden.pid))
        found = [process for process in self._below(warden) if self._is_instance(process.pid, depth)]
        return sorted(found, key=lambda process: (process.started, process.pid))

    def function_of(self, instance: Process) -> str | None:
        """The function whose stand-in it is, by the file that it keeps open; None before its first call."""
        for held in self._descriptors(instance.pid) or ():
            marked = _marked.search(held)
            if marked is not None:
                return marked[1]
        return None

    def is_there(self, process: Process) -> bool:
        """Whether it is still the same process."""
        found = self._look(process.pid)
        return found is not None and found.started == process.started

    # -- inside --------------------------------------------------------------------------------------------------------

    def _all(self) -> Iterator[Process]:
        for entry in self._root.iterdir():
            if entry.name.isdecimal() and (process := self._look(int(entry.name))) is not None:
                yield process

    def _look(self, pid: int) -> Process | None:
        text = self._text(pid, "stat")
        fields = text.rpartition(")")[2].split()  # the name before it may hold anything
        if len(fields) < 20 or fields[0] == "Z":
            return None
        return Process(pid, int(fields[1]), int(fields[19]))

    def _below(self, top: Process) -> Iterator[Process]:
        children: dict[int, list[Process]] = {}
        for process in self._all():
            children.setdefault(process.parent, []).append(process)
        rest = [top]
        while rest:
            below = children.get(rest.pop().pid, [])
            yield from below
            rest += below

    def _is_instance(self, pid: int, depth: int) -> bool:
        pids = self._namespace_pids(pid)
        if len(pids) > depth:
            return len(pids) == depth + 2 and pids[-1] == "1"
        return self._text(pid, "comm").strip() == INSTANCE

    def _namespace_pids(self, pid: int) -> list[str]:
        """Its number in each namespace, from ours inwards."""
        for line in self._text(pid, "status").splitlines():
            if line.startswith("NSpid:"):
                return line.split()[1:]
        return []

    def _module(self, pid: int) -> str:
        """What it was started with by `-m`."""
        words = self._text(pid, "cmdline").split("\0")[:6]
        return words[words.index("-m") + 1] if "-m" in words[:-1] else ""

    def _descriptors(self, pid: int) -> set[str] | None:
        """What it has open; None where we may not know."""
        folder = self._root / str(pid) / "fd"
        found: set[str] = set()
        try:
            for entry in folder.iterdir():
                with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                    found.add(str(entry.readlink()))
        except PermissionError:
            return None
        except (FileNotFoundError, ProcessLookupError):
            return set()
        return found

    def _listening(self, address: str, port: int) -> set[str]:
        """Inodes of the sockets that listen at an address."""
        table = "net/tcp6" if ":" in address else "net/tcp"
        wanted = {_as_proc(address), *ANYWHERE}
        try:
            lines = (self._root / table).read_text().splitlines()[1:]
        except OSError:
            return set()
        found = set()
        for fields in (line.split() for line in lines):
            at, _, number = fields[1].partition(":")
            if fields[3] == LISTEN and int(number, 16) == port and at in wanted:
                found.add(fields[9])
        return found

    def _text(self, pid: int, name: str) -> str:
        try:
            return (self._root / str(pid) / name).read_text(errors="replace")
        except (OSError, ValueError):
            return ""


def kill_process(process: Process, number: int = signal.SIGKILL, table: ProcessTable | None = None) -> bool:
    """Signal exactly this process: a later one of the same number is left alone. Whether it was there; 0 only asks.

    Raises `Forbidden` where it is somebody else's.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    except OSError as exc:
        raise Unavailable(f"--kill: process {process.pid} cannot be held: {exc.strerror}") from exc
    try:
        if not (table or ProcessTable()).is_there(process):  # the handle is of whoever has the number now
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    except PermissionError as exc:
        raise Forbidden(
            f"--kill: process {process.pid} belongs to somebody else; run as root, or as its owner"
        ) from exc
    finally:
        os.close(handle)
    return True


def _own_addresses(host: str) -> list[str]:
    """The addresses of a name that are this machine's. Raises `Invalid` where none is."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError as exc:
        raise Invalid(f"--kill: {host} cannot be found: {exc.strerror}") from exc
    own = [address for address in sorted(found) if _is_own(address)]
    if not own:
        raise Invalid(f"--kill: the platform at {host} is on another machine; only processes of this one can be killed")
    return own


def _is_own(address: str) -> bool:
    """Only an address of this machine can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _as_proc(address: str) -> str:
    """As /proc/net/tcp writes it: words of four bytes in the machine's order."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    words = [packed[place : place + 4] for place in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
