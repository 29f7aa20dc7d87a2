"""A contestant's processes: started in a session of their own, watched until they answer, ended to the last one."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import descendants

__all__ = ["Running", "free_port", "listening", "wait_for"]

POLL_S = 0.02
STOP_TIMEOUT_S = 40.0


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(what: str, ready: Callable[[], bool], timeout_s: float) -> None:
    """Poll until `ready()`. Raises `TimeoutError` naming `what`."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(POLL_S)


class Running:
    """One command that runs; its output goes to a file that an error quotes."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.command = command
        self.log = log
        self._output = log.open("ab")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Poll `ready()`. Raises `RuntimeError` with the end of the log where the process ends or time is up."""

        def answered() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.command[0]} ended with {self.process.returncode}: {self.tail()}")
            return ready()

        try:
            wait_for(self.command[0], answered, timeout_s)
        except TimeoutError as exc:
            raise RuntimeError(f"{exc}: {self.tail()}") from exc

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """SIGTERM, and after a time limit SIGKILL to it and whatever it had started."""
        if self.process.poll() is None:
            family = descendants(self.pid)
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                for pid in family:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                self.process.wait(STOP_TIMEOUT_S)
        self._output.close()


def listening(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
