"""Starting a launcher from the warden's loop: fork it, collect it, and give up in time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

from isotherm.warden.facilities import process_end, reap
from isotherm_runtime import linux

__all__ = ["LaunchFailed", "Launched", "collect_later", "reap_orphans"]

_LAUNCH_TIMEOUT_S = 15.0
_tasks: set[asyncio.Task[None]] = set()
_launched: set[int] = set()  # children whose status somebody waits for


class LaunchFailed(RuntimeError):
    """The sandbox could not be built; the message says at which step."""


class Launched:
    """Waits for the launcher's word, which the owner of the channel passes on by `on_message`."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def on_message(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """`launched` or `failed`. Owns the descriptors where it takes them (the list is emptied)."""
        if self._answer.done():
            return
        if message.get("op") == "launched" and len(descriptors) == 1:
            with contextlib.suppress(ValueError, OSError):
                _launched.add(linux.pid_of(descriptors[0]))
            self._answer.set_result(descriptors.pop())
        else:
            self._answer.set_exception(LaunchFailed(str(message.get("why", "the launcher broke its protocol"))))

    def on_closed(self) -> None:
        if not self._answer.done():
            self._answer.set_exception(LaunchFailed("the launcher ended"))

    async def pidfd(self) -> int:
        """Of pid 1; the caller's to close. Raises `LaunchFailed`."""
        try:
            async with asyncio.timeout(_LAUNCH_TIMEOUT_S):
                return await self._answer
        except TimeoutError as exc:
            raise LaunchFailed(f"the sandbox was not built within {_LAUNCH_TIMEOUT_S:g} s") from exc


async def _collect(pidfd: int) -> None:
    """Wait for a short-lived child and reap it; kill it where it does not end."""
    try:
        if not await process_end(pidfd, _LAUNCH_TIMEOUT_S):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            await process_end(pidfd, _LAUNCH_TIMEOUT_S)
        reap(pidfd)
    finally:
        os.close(pidfd)


def reap_orphans() -> None:
    """Collect what dead keepers left to us. Needed without namespaces alone: with them the kernel does it."""
    with open(f"/proc/self/task/{os.getpid()}/children") as stream:
        children = {int(text) for text in stream.read().split()}
    _launched.intersection_update(children)
    for pid in children - _launched:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def collect_later(pidfd: int) -> None:
    """Reap a child whose end is near; the descriptor is closed then."""
    task = asyncio.get_running_loop().create_task(_collect(pidfd))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
