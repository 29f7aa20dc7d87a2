"""What the warden has to build sandboxes with, found once at its start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from dataclasses import dataclass

from isotherm.warden.cgroups import Group
from isotherm.warden.ranges import RangeAllocator
from isotherm.warden.request import BadRequest
from isotherm.warden.tree import Interpreter
from isotherm_runtime import linux
from isotherm_runtime.seqpacket import close_all

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
    interpreters: dict[str, Interpreter]
    network_fd: int  # the machine's own network namespace
    pip_dir: str | None

    def interpreter(self, runtime: str) -> Interpreter:
        """Raises `BadRequest`."""
        found = self.interpreters.get(runtime)
        if found is None:
            raise BadRequest(f"runtime: {runtime} is not on this host; it has {', '.join(self.interpreters)}")
        return found

    def open_in_host_dir(self, relative: str, *, readable_by_all: bool = True) -> int:
        """An O_PATH descriptor of what lies there, reached through no link. Raises `BadRequest`."""
        try:
            directory = os.open(self.host_dir, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as exc:
            raise BadRequest(f"{self.host_dir}: {exc.strerror}") from exc
        try:
            if os.fstat(directory).st_uid != self.host_uid:
                raise BadRequest(f"{self.host_dir} does not belong to the host process (uid {self.host_uid})")
            found = linux.open_beneath(directory, relative)
        except (OSError, UnicodeError) as exc:
            raise BadRequest(f"{self.host_dir}/{relative}: {exc}") from exc
        finally:
            os.close(directory)
        mode = os.fstat(found).st_mode
        wanted = 0o5 if stat.S_ISDIR(mode) else 0o4
        if readable_by_all and self.isolated and mode & wanted != wanted:
            close_all([found])
            raise BadRequest(f"{self.host_dir}/{relative} is not readable by all: sandboxes have users of their own")
        return found


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
    return None
