"""One instance as the warden sees it: its groups, its user id, its pidfd, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from isotherm.warden.cgroups import Group
from isotherm_runtime import linux
from isotherm_runtime.seqpacket import close_all

__all__ = ["Instance", "exit_message", "remove_group"]

_REMOVE_TIMEOUT_S = 10.0


@dataclass(slots=True, kw_only=True)
class Instance:
    id: str
    uid: int  # within the revision's range
    group: Group | None
    stream: socket.socket | None  # the host's end, until it is handed over
    output: int
    pidfd: int = -1
    asked: bool = False
    told: bool = False  # the host knows it as started
    asked_at: float = field(default_factory=time.perf_counter)
    steps_ms: dict[str, float] = field(default_factory=dict)

    def kill(self, *, isolated: bool) -> None:
        self.asked = True
        if self.pidfd < 0:
            return
        with contextlib.suppress(ProcessLookupError, ValueError):
            if not isolated:  # there is no namespace that dies with its first process
                os.killpg(linux.pid_of(self.pidfd), signal.SIGKILL)
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def let_go(self) -> None:
        """Close what the host was to get."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        close_all([descriptor for descriptor in (self.output,) if descriptor >= 0])
        self.output = -1


def exit_message(status: int | None, group: Group | None, *, asked: bool) -> dict[str, Any]:
    """`status` is a wait status; None where the kernel did not say."""
    code = None if status is None else os.waitstatus_to_exitcode(status)
    killed = code == -signal.SIGKILL or code is None
    # Also where we were asked: the host sees the stream end first, and asks.
    out_of_memory = killed and group is not None and group.out_of_memory_kills() > 0
    return {
        "status": code if code is not None and code >= 0 else None,
        "signal": -code if code is not None and code < 0 else None,
        "out_of_memory": out_of_memory,
        "asked": asked,
    }


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
