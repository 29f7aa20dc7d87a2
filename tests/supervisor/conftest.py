"""A supervisor with stand-in children, as the console would start it."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
DEADLINE_S = 15.0


class Console:
    """The console's ends of a supervisor's pipes."""

    def __init__(self, data_dir: Path, **changes: Any) -> None:
        self.data_dir = data_dir
        words, self._words = os.pipe()
        self._report, report = os.pipe()
        self._text = b""
        self.lines: list[dict[str, Any]] = []
        boot = {
            "data_dir": str(data_dir),
            "console_pid": os.getpid(),
            "console_fd": words,
            "report_fd": report,
            "host": "127.0.0.1",
            "port": 0,
            "content_port": 0,
            "service_user": None,
            "drain_timeout_s": 5.0,
            "tls_cert": None,
            "tls_key": None,
            "host_boot": {"settings": {}},
            "control_boot": {"settings": {}},
            "egress_boot": {},
            "modules": dict.fromkeys(("warden", "host", "control", "egress"), "stand_in"),
        }
        environment = changes.pop("environment", {})
        boot_fd = os.memfd_create("boot")
        os.write(boot_fd, json.dumps(boot | changes).encode())
        os.lseek(boot_fd, 0, os.SEEK_SET)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "isotherm.warden.supervisor", "--boot-fd", str(boot_fd)],
            pass_fds=(boot_fd, words, report),
            env=os.environ | {"PYTHONPATH": os.pathsep.join((str(HERE), *sys.path))} | environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )
        for fd in (boot_fd, words, report):
            os.close(fd)

    def say(self, word: bytes) -> None:
        os.write(self._words, word + b"\n")

    def hang_up(self) -> None:
        if self._words >= 0:
            os.close(self._words)
        self._words = -1

    def expect(self, op: str, **wanted: Any) -> dict[str, Any]:
        """The next line that is `op` with these values."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            while b"\n" in self._text:
                line, _, self._text = self._text.partition(b"\n")
                self.lines.append(json.loads(line))
                if self.lines[-1]["op"] == op and wanted.items() <= self.lines[-1].items():
                    return self.lines[-1]
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._report], [], [], left)[0]:
                raise AssertionError(f"no {op} {wanted} in time; had {self.lines}")
            chunk = os.read(self._report, 65536)
            if not chunk:
                raise AssertionError(f"the supervisor ended without {op}; had {self.lines}")
            self._text += chunk

    def facts(self, url: str) -> dict[str, Any]:
        """What the stand-in behind a TCP port says about itself; waits in the backlog while it restarts."""
        host, port = url.removeprefix("http://").rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
            return json.loads(client.makefile().readline())

    def control_facts(self) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_S)
            client.connect(str(self.data_dir / "run/api.sock"))
            return json.loads(client.makefile().readline())

    def children(self) -> list[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(word) for word in text.split()]

    @staticmethod
    def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
        """Poll until it holds; fails naming `what`."""
        deadline = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not in time: {what}")
            time.sleep(0.01)

    def close(self) -> None:
        self.hang_up()
        try:
            self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(DEADLINE_S)
        os.close(self._report)


@pytest.fixture
def console(data_dir: Path) -> Iterator[Callable[..., Console]]:
    """Starts supervisors; `console(name=value)` changes the boot message."""
    made: list[Console] = []

    def make(**changes: Any) -> Console:
        made.append(Console(changes.pop("folder", data_dir), **changes))
        return made[-1]

    yield make
    for each in made:
        each.close()
