"""An instance of the `process` driver as the host sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Mapping
from typing import Any

from isotherm.base.errors import ImportFailed, InstanceCrashed, OutOfMemory, TimedOut, Unavailable
from isotherm.sandbox.drivers.warden_link import WardenLink
from isotherm.sandbox.model import Exit
from isotherm_runtime.frames import HEADER, MAX_HEAD_BYTES, FrameError, Kind, split_frames

__all__ = ["ProcessInstance", "await_import", "exit_of", "import_failure"]

_PEEK_PAUSE_S = 0.005


def exit_of(message: Mapping[str, Any]) -> Exit:
    return Exit(
        status=message.get("status"),
        signal=message.get("signal"),
        out_of_memory=bool(message.get("out_of_memory")),
        asked=bool(message.get("asked")),
    )


class ProcessInstance:
    """See `isotherm.sandbox.port.Instance`. The warden's `started` message and its two descriptors make one."""

    def __init__(self, warden: WardenLink, message: Mapping[str, Any], stream: socket.socket, output: int) -> None:
        self.id = str(message["id"])
        self.stream = stream
        self.output = output
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.start_steps_ms: dict[str, float] = dict(message["steps_ms"])
        self._warden = warden
        self._memory_file: str | None = message["memory_file"]
        self._cpu_file: str | None = message["cpu_file"]

    def kill(self) -> None:
        if not self.exited.done():
            with contextlib.suppress(Unavailable):  # without a warden it has ended already
                self._warden.send({"op": "kill", "id": self.id})

    def memory_bytes(self) -> int:
        return 0 if self._memory_file is None else read_number(self._memory_file)

    def cpu_s(self) -> float:
        if self._cpu_file is None:
            return 0.0
        if self._cpu_file.endswith("cpu.stat"):  # control groups version 2
            return read_number(self._cpu_file, "usage_usec") / 1e6
        return read_number(self._cpu_file) / 1e9

    def end(self, how: Exit) -> None:
        if not self.exited.done():
            self.exited.set_result(how)


def read_number(path: str, name: str | None = None) -> int:
    """A number in a file of the kernel's, alone or after `name`; 0 where it is gone."""
    try:
        with open(path) as lines:
            for line in lines:
                if name is None:
                    return int(line)
                if line.startswith(name + " "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


async def await_import(instance: ProcessInstance, memory_bytes: int, timeout_s: float) -> None:
    """Until an instance that imports by itself has said HELLO, which stays in its stream for the caller.

    Raises `ImportFailed`, `OutOfMemory`, `InstanceCrashed`, `TimedOut`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while not (kinds := _peek(instance.stream)):
                await _readable(instance.stream)
                await asyncio.sleep(0 if _peek(instance.stream) else _PEEK_PAUSE_S)
                if instance.exited.done():
                    raise death_at_import(instance.exited.result(), memory_bytes)
            if kinds[-1][0] == Kind.ERROR:
                raise import_failure(json.loads(kinds[-1][1]))
    except TimeoutError as exc:
        raise TimedOut(f"the import took longer than {timeout_s:g} s") from exc


def death_at_import(how: Exit, memory_bytes: int) -> Exception:
    if how.out_of_memory:
        return OutOfMemory(f"the import needs more than the limit of {memory_bytes >> 20} MB")
    end = f"signal {how.signal}" if how.signal else f"exit status {how.status}"
    return InstanceCrashed(f"the instance ended while it imported the handler ({end})", signal=how.signal)


def import_failure(head: Mapping[str, Any]) -> ImportFailed:
    """From the head of an ERROR frame."""
    error_type = str(head.get("error_type") or "ImportError")[:256]
    message = str(head.get("error_message") or "the handler could not be imported")[:16384]
    trace = head.get("stack_trace")
    lines = [str(line)[:2048] for line in trace[:64]] if isinstance(trace, list) else []
    return ImportFailed(f"{error_type}: {message}", error_type=error_type, error_message=message, stack_trace=lines)


async def _readable(stream: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(stream.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(stream.fileno())


def _peek(stream: socket.socket) -> list[tuple[int, bytes]]:
    """Kind and head of the frames up to the first HELLO or ERROR, left in the stream; empty where there is none yet."""
    try:
        data = stream.recv(MAX_HEAD_BYTES + HEADER.size, socket.MSG_PEEK)
    except (BlockingIOError, ConnectionResetError):
        return []
    with contextlib.suppress(FrameError):
        frames, _ = split_frames(data)
        for number, (kind, _, _, _, head, _) in enumerate(frames):
            if kind in (Kind.HELLO, Kind.ERROR):
                return [(frame[0], frame[4]) for frame in frames[:number]] + [(kind, head)]
    return []
