"""A real warden for tests: started as the supervisor starts it, with a data folder of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType

from isotherm.sandbox.drivers.process import ProcessDriver, WardenLink
from isotherm.sandbox.drivers.process_template import ProcessTemplate
from isotherm.sandbox.model import JobResult, JobSpec, Probe, SandboxSpec
from isotherm.sandbox.port import OnEgress
from isotherm.warden.launch import Identity, Launch, interpreter_paths, start

__all__ = ["HOST_ID", "PlacedDriver", "WardenProcess", "open_driver"]

HOST_ID = 61313 if os.geteuid() == 0 else os.geteuid()


class WardenProcess:
    """`peer()` gives a new end for a `WardenLink`. At the exit of the block it is stopped and its folder removed."""

    def __init__(self, data: Path | None = None) -> None:
        self.data = data or Path(tempfile.mkdtemp(prefix="isotherm-warden-"))
        self.data.mkdir(exist_ok=True)
        os.chmod(self.data, 0o755)
        self.host = self.data / "host"
        self.host.mkdir(mode=0o755)
        self._own(self.host)
        self.import_path = sys.path  # where it finds the platform: a test may give it another one
        self.pid = 0
        self._supervisor: socket.socket | None = None

    def start_unprivileged(self) -> None:
        """As the service user: nothing can be isolated."""
        for folder, _, files in os.walk(self.data):
            for path in (folder, *(os.path.join(folder, name) for name in files)):
                os.chown(path, HOST_ID, HOST_ID)
        self.start(Identity(HOST_ID, HOST_ID))

    def start(self, identity: Identity | None = None) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        boot = os.memfd_create("boot")
        message = {"data_dir": str(self.data), "supervisor_fd": theirs.fileno(), "uid": HOST_ID, "gid": HOST_ID}
        os.write(boot, json.dumps(message).encode())
        os.lseek(boot, 0, os.SEEK_SET)
        argv = [sys.executable, "-P", "-m", "isotherm.warden", "--boot-fd", str(boot)]
        launch = Launch(
            argv=tuple(argv),
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(self.import_path),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            fds=(boot, theirs.fileno()),
            identity=identity,
            readable=interpreter_paths(),
            writable=(str(self.data),),
        )
        self.pid = start(launch)
        os.close(boot)
        theirs.close()
        self._supervisor = ours

    def peer(self) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.tell("peer", theirs.fileno())
        theirs.close()
        return ours.detach()

    def tell(self, word: str, descriptor: int) -> None:
        """As the supervisor does, with an end of a pair."""
        assert self._supervisor is not None
        socket.send_fds(self._supervisor, [json.dumps({"op": word}).encode()], [descriptor])

    def stop(self) -> int:
        assert self._supervisor is not None
        with contextlib.suppress(OSError):
            self._supervisor.send(b'{"op":"stop"}')
        return self._collect(30)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self._collect(10)

    def _collect(self, limit_s: float) -> int:
        """Its exit code. Killed where it does not end in time."""
        assert self._supervisor is not None
        deadline = time.monotonic() + limit_s
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.005)
        self._supervisor.close()
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def code(self, name: str, **files: str) -> Path:
        """A folder of code below DATA/host: file names without `.py`."""
        folder = self.host / "code" / name
        folder.mkdir(parents=True, exist_ok=True)
        for module, text in files.items():
            (folder / f"{module}.py").write_text(text)
        return folder

    def folder(self, name: str) -> Path:
        found = self.host / name
        found.mkdir(parents=True, exist_ok=True)
        self._own(found)
        return found

    def __enter__(self) -> WardenProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.pid:
            self.stop()
        shutil.rmtree(self.data)

    def _own(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, HOST_ID, HOST_ID)


class PlacedDriver:
    """The process driver for specs whose code lies anywhere: puts it below DATA/host first, where a host has it."""

    name = "process"

    def __init__(self, driver: ProcessDriver, warden: WardenProcess) -> None:
        self._driver = driver
        self._warden = warden
        self._numbers = itertools.count()

    async def probe(self) -> Probe:
        return await self._driver.probe()

    async def prepare(self, spec: SandboxSpec, on_egress: OnEgress = lambda _report: None) -> ProcessTemplate:
        code, deps = self._place(spec.code_dir), spec.deps_dir and self._place(spec.deps_dir)
        return await self._driver.prepare(dataclasses.replace(spec, code_dir=code, deps_dir=deps), on_egress)

    async def run(self, job: JobSpec, on_output: Callable[[str], None]) -> JobResult:
        return await self._driver.run(job, on_output)

    async def close(self) -> None:
        await self._driver.close()

    def _place(self, folder: str) -> str:
        target = self._warden.host / f"placed-{next(self._numbers)}"
        shutil.copytree(folder, target, copy_function=_link_or_copy, ignore=shutil.ignore_patterns("__pycache__"))
        return str(target)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextlib.asynccontextmanager
async def open_driver(folder: Path) -> AsyncIterator[PlacedDriver]:
    """A driver with a warden of its own, whose state lies in `folder`."""
    with WardenProcess(folder / "platform") as warden:
        link = WardenLink(warden.peer())
        driver = ProcessDriver(link)
        yield PlacedDriver(driver, warden)
        await driver.close()
        link.close()
