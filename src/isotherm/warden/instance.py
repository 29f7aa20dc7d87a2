"""One instance as the warden sees it: its groups, its user id, its pidfd, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from isotherm.warden.cgroups import Group
from isotherm.warden.kit import Kit
from isotherm_runtime import linux

__all__ = ["Instance", "describe_end", "exit_message", "remove_group"]

_REMOVE_TIMEOUT_S = 10.0


@dataclass(slots=True, eq=False)
class Instance:
    """`kit` is there from the moment that it is asked of the keeper."""

    id: str
    kit: Kit | None = None
    pidfd: int = -1
    asked: bool = False
    buried: bool = False  # its end is known, and on its way to the host
    asked_at: float = field(default_factory=time.perf_counter)
    steps_ms: dict[str, float] = field(default_factory=dict)

    @property
    def group(self) -> Group | None:
        return None if self.kit is None else self.kit.group

    def kill(self, *, isolated: bool) -> None:
        if self.pidfd < 0:
            self.asked = True
            return
        with contextlib.suppress(ProcessLookupError, ValueError, FileNotFoundError):
            # A host sees the stream of a dying process end, and asks, before its death is seen here.
            self.asked = self.asked or not linux.is_exiting(linux.pid_of(self.pidfd))
            if not isolated:  # there is no namespace that dies with its first process
                os.killpg(linux.pid_of(self.pidfd), signal.SIGKILL)
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


def exit_message(status: int | None, group: Group | None, *, asked: bool) -> dict[str, Any]:
    """`status` is a wait status; None where the kernel did not say."""
    code = None if status is None else os.waitstatus_to_exitcode(status)
    # The last: the first process of a sandbox tells so that the program it looks after was killed.
    killed = code is None or code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    out_of_memory = killed and not asked and group is not None and group.out_of_memory_kills() > 0
    return {
        "status": code if code is not None and code >= 0 else None,
        "signal": -code if code is not None and code < 0 else None,
        "out_of_memory": out_of_memory,
        "asked": asked,
    }


def describe_end(status: int | None) -> str:
    """A wait status in words."""
    if status is None:
        return "nobody knows how"
    code = os.waitstatus_to_exitcode(status)
    return f"killed by signal {-code}" if code < 0 else f"exit status {code}"


async def remove_group(group: Group | None) -> bool:
    """Remove it as soon as its last process has left. Whether it is gone."""
    if group is None:
        return True
    delay_s = 0.0005
    deadline = time.monotonic() + _REMOVE_TIMEOUT_S
    while not group.remove():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, 0.05)
    return True
