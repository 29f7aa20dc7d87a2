"""The port of the sandbox room. The pool drives it; `drivers/` has one file per isolation technology."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Protocol

from isotherm.sandbox.model import EgressReport, Exit, JobResult, JobSpec, Probe, SandboxSpec, TemplateInfo

__all__ = ["Driver", "Instance", "OnEgress", "Template"]

OnEgress = Callable[[EgressReport], None]


class Instance(Protocol):
    """One isolated instance. Speaks the protocol of `isotherm_runtime.frames` on `stream`."""

    id: str
    stream: socket.socket  # connected, non-blocking; its HELLO comes when it can take requests; ours to close
    output: int  # read end of the pipe that is its stdout and stderr, non-blocking; ours to close
    exited: asyncio.Future[Exit]  # set once the process is gone and its groups are removed

    @property
    def start_steps_ms(self) -> Mapping[str, float]:
        """What its start was made of, milliseconds by step."""

    def kill(self) -> None:
        """End it now; `exited` follows. Harmless where it has ended."""

    def memory_bytes(self) -> int:
        """What it uses now; 0 where that cannot be known."""

    def cpu_s(self) -> float:
        """CPU seconds it has used; 0 where that cannot be known."""


class Template(Protocol):
    """A revision that can start instances."""

    info: TemplateInfo
    closed: asyncio.Future[str]  # set with the reason once it is gone, asked for or not; its instances are gone too

    async def start(self) -> Instance:
        """A new instance, verified to be isolated. Raises `Unavailable`, `OutOfMemory`, `ImportFailed`."""

    async def close(self) -> None:
        """End the template and all its instances; returns when nothing is left."""

    def memory_bytes(self) -> int:
        """What the template itself uses now; 0 where that cannot be known."""


class Driver(Protocol):
    name: str

    async def probe(self) -> Probe:
        """What this driver can enforce here."""

    async def prepare(self, spec: SandboxSpec, on_egress: OnEgress) -> Template:
        """Import the user's code; `on_egress` hears what goes out, from then on.

        Raises `ImportFailed`, `OutOfMemory`, `TimedOut`, `NotIsolated`, `Unavailable`.
        """

    async def run(self, job: JobSpec, on_output: Callable[[str], None]) -> JobResult:
        """Run a program to its end in a sandbox with network. Raises `NotIsolated`, `Unavailable`."""

    async def close(self) -> None:
        """End everything that this driver started."""
