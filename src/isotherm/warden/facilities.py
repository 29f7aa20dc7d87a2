"""What the warden has to build sandboxes with, found once at its start."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass

from isotherm.warden.cgroups import Group
from isotherm.warden.paths import HostFolder
from isotherm.warden.ranges import RangeAllocator
from isotherm.warden.request import BadRequest
from isotherm.warden.tree import Interpreter
from isotherm_runtime import linux

__all__ = ["Facilities", "process_end", "reap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facilities:
    """`base` is the platform's own control group, below which all others are; None where there are none."""

    isolated: bool
    seccomp: bool
    host_dir: str  # DATA/host
    host_uid: int
    host_gid: int
    base: Group | None
    ranges: RangeAllocator
    python: Interpreter  # our own: keepers and templates are forked from it, whatever runs in them later
    interpreters: dict[str, Interpreter]  # by runtime
    network_fd: int  # the machine's own network namespace
    pip_dir: str | None

    def interpreter(self, runtime: str) -> Interpreter:
        """Raises `BadRequest`."""
        found = self.interpreters.get(runtime)
        if found is None:
            raise BadRequest(f"runtime: {runtime} is not on this host; it has {', '.join(self.interpreters)}")
        return found

    def open_in_host_dir(self, relative: str, *, readable_by_all: bool = True) -> int:
        """Raises `BadRequest`."""
        folder = HostFolder(self.host_dir, self.host_uid)
        return folder.open(relative, readable_by_all=readable_by_all and self.isolated)


async def process_end(pidfd: int, timeout_s: float) -> bool:
    """Whether the process ended within the time."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(timeout_s):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pidfd)
    return True


def reap(pidfd: int) -> int | None:
    """Collect an ended child; its wait status as `os.waitstatus_to_exitcode` wants it, None where it is not ours."""
    with contextlib.suppress(ChildProcessError):
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        if result is not None:
            return result.si_status << 8 if result.si_code == os.CLD_EXITED else result.si_status & 0x7F
    return linux.pidfd_info(pidfd)
