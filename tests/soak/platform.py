"""A platform under soak: its processes, what it holds of the machine, and what it leaves behind."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.conftest import groups_of, mounts_below, processes_with

__all__ = ["Holding", "Running", "holding", "leftovers", "start"]

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
MODULES = {
    "host": "isotherm.host",
    "control": "isotherm.controllers",
    "warden": "isotherm.warden",
    "egress": "isotherm.egress",
}


@dataclass(frozen=True)
class Running:
    process: asyncio.subprocess.Process
    data_dir: Path
    url: str
    content_url: str
    admin_key: str

    def pid_of(self, name: str) -> int | None:
        """The pid of `host`, `control` or `warden` as it is now; None while it is being restarted."""
        for child in _family(self.process.pid):
            try:
                arguments = child.cmdline()
            except psutil.Error:
                continue
            if MODULES[name] in arguments:
                return child.pid
        return None

    async def stop(self) -> int:
        """SIGTERM; the exit code. Raises `TimeoutError`."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)


@dataclass(frozen=True)
class Holding:
    """What the platform's own processes hold at one moment."""

    at_s: float
    rss_mb: dict[str, float]  # by process name
    descriptors: dict[str, int]
    threads: dict[str, int]
    disk_mb: float  # of the data folder
    processes: int


async def start(data_dir: Path, log: Path) -> Running:
    """`isotherm up` on free ports. Raises `TimeoutError` where it does not serve in time."""
    ready = data_dir / "ready.json"
    argv = [sys.executable, "-m", "isotherm", "up", "--data", str(data_dir / "state"), "--port", "0"]
    argv += ["--content-port", "0", "--ready-file", str(ready)]
    environ = {**os.environ, "HOME": str(data_dir), "XDG_CONFIG_HOME": str(data_dir)}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, env=environ
        )
    async with asyncio.timeout(START_TIMEOUT_S):
        while not ready.exists():
            if process.returncode is not None:
                raise RuntimeError(f"`isotherm up` ended with {process.returncode}; see {log}")
            await asyncio.sleep(0.05)
    told = json.loads(ready.read_text())
    return Running(process, data_dir, told["url"], told["content_url"], told["admin_key"])


def holding(running: Running, started_s: float) -> Holding:
    rss, descriptors, threads = {}, {}, {}
    for name in MODULES:
        pid = running.pid_of(name)
        if pid is None:
            continue
        try:
            process = psutil.Process(pid)
            rss[name] = process.memory_info().rss / 2**20
            descriptors[name] = process.num_fds()
            threads[name] = process.num_threads()
        except psutil.Error:
            continue
    disk_mb = disk_bytes(running.data_dir / "state") / 2**20
    processes = len(_family(running.process.pid))
    return Holding(time.monotonic() - started_s, rss, descriptors, threads, disk_mb, processes)


def disk_bytes(folder: Path) -> int:
    """What the files below `folder` take, as the file system counts it."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
    return total


def leftovers(running: Running) -> list[str]:
    """What is still there of a stopped platform: mounts, control groups, processes."""
    folder = running.data_dir
    return [*mounts_below(folder), *groups_of(folder), *processes_with(folder)]


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
