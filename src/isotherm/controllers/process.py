"""The control process at work: serves HTTP and the link, runs the controllers, drains at SIGTERM."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import structlog
import uvicorn
from starlette.types import ASGIApp

from isotherm.controllers.deploy import DeployController
from isotherm.controllers.keep import keep_running
from isotherm.controllers.link import LinkServer
from isotherm.controllers.retention import SweepController
from isotherm.controllers.rollouts import RolloutController
from isotherm.controllers.warming import WarmingController
from isotherm.wire.boot import ControlBoot

__all__ = ["ControlParts", "ReadyLine", "read_boot", "run_control"]

_log = structlog.get_logger(__name__)
_boot_bytes = 1024 * 1024
_drain_s = 3  # for calls under way; the supervisor waits five seconds


class ReadyLine(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor is told once control serves."""

    admin_key: str
    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlParts:
    """What `bootstrap` puts together. `close` is called last, when nothing of it runs any more."""

    app: ASGIApp
    link: LinkServer
    deploys: DeployController
    rollouts: RolloutController
    warming: WarmingController | None  # None: keep-alives alone decide
    sweeps: Sequence[SweepController]
    ready: ReadyLine
    stopping: asyncio.Event  # set when draining begins, so that streams end
    close: Callable[[], None]


def read_boot(boot_fd: int) -> ControlBoot:
    """The boot message, to the end of the descriptor. Raises `msgspec.ValidationError`."""
    with os.fdopen(boot_fd, "rb") as file:
        return msgspec.json.decode(file.read(_boot_bytes), type=ControlBoot)


async def run_control(boot: ControlBoot, build: Callable[[ControlBoot], ControlParts]) -> None:
    """Until SIGTERM or SIGINT. Raises what ended a server that should not have ended."""
    parts = build(boot)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    http = _HttpServer(parts.app, on_started=lambda: _tell_ready(boot.ready_fd, parts.ready))
    tasks = [
        asyncio.create_task(http.serve([_listener(boot.api_fd)]), name="http"),
        asyncio.create_task(parts.link.serve(_listener(boot.link_fd)), name="link"),
        asyncio.create_task(keep_running("deploys", parts.deploys.run), name="deploys"),
        asyncio.create_task(keep_running("rollouts", parts.rollouts.run), name="rollouts"),
        *(
            asyncio.create_task(keep_running("warming", each.run), name="warming")
            for each in (parts.warming,)
            if each is not None
        ),
        *(asyncio.create_task(keep_running(sweep.name, sweep.run), name=sweep.name) for sweep in parts.sweeps),
    ]
    stopping = asyncio.create_task(stop.wait(), name="signal")
    try:
        ended, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in ended - {stopping}:
            task.result()
            raise RuntimeError(f"{task.get_name()} ended by itself")
    finally:
        await _drain(parts, http, tasks, stopping)


async def _drain(
    parts: ControlParts, http: "_HttpServer", tasks: list[asyncio.Task[None]], stopping: asyncio.Task[bool]
) -> None:
    """HTTP first: its last calls may need the link."""
    _log.info("control drains")
    parts.stopping.set()
    http.should_exit = True
    await asyncio.wait(tasks[:1], timeout=_drain_s + 1)
    for task in [*tasks, stopping]:
        task.cancel()
    await asyncio.gather(*tasks, stopping, return_exceptions=True)
    parts.close()


class _HttpServer(uvicorn.Server):
    """uvicorn on a listening Unix socket; signals are ours."""

    def __init__(self, app: ASGIApp, on_started: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="none",
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=_drain_s,
            )
        )
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listener(fd: int) -> socket.socket:
    listener = socket.socket(fileno=fd)
    listener.setblocking(False)
    return listener


def _tell_ready(ready_fd: int, ready: ReadyLine) -> None:
    """One line that fits into a pipe; who does not read it is none of our concern."""
    with contextlib.suppress(BrokenPipeError):
        os.write(ready_fd, msgspec.json.encode(ready) + b"\n")
    os.close(ready_fd)
