"""`isotherm dev` as a child process, read line by line; and a debugger's client in plain JSON."""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Platform

__all__ = ["Dap", "Dev", "developing"]


class Dev:
    """One session. `next(kind)` waits for an event of that kind; what came before it is in `seen`."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "isotherm", "dev", *argv, "--json"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen: list[dict[str, Any]] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def next(self, kind: str, limit_s: float = 30.0, **values: Any) -> dict[str, Any]:
        deadline = time.monotonic() + limit_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {kind} {values} in {limit_s} s; seen: {self.seen[-20:]}") from None
            if line is None:
                assert self.process.stderr is not None
                raise AssertionError(f"it ended: {self.seen[-5:]}\n{self.process.stderr.read()}")
            event: dict[str, Any] = json.loads(line)
            self.seen.append(event)
            if event.get("event") == kind and values.items() <= event.items():
                return event

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def stop(self, number: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def developing(folder: Path, environment: dict[str, str], *flags: str) -> Iterator[Dev]:
    """A session that is over afterwards, whatever happens."""
    dev = Dev([str(folder), *flags], environment)
    try:
        yield dev
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            dev.stop()
        if dev.process.poll() is None:
            dev.process.kill()
            dev.process.wait(10)


def without_platform(platform: Platform) -> dict[str, str]:
    """An environment in which no platform is known."""
    environment = {key: value for key, value in platform.environment.items() if not key.startswith("ISOTHERM_")}
    return environment | {"XDG_CONFIG_HOME": str(platform.folder / "nowhere"), "HOME": os.environ.get("HOME", "/root")}


class Dap:
    """A client of the Debug Adapter Protocol: requests, their answers, and events as they come."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 30)
        self._socket.settimeout(30)
        self._rest = b""
        self._seq = 0
        self._waiting: list[dict[str, Any]] = []

    def ask(self, command: str, **arguments: Any) -> int:
        self._seq += 1
        body = json.dumps({"seq": self._seq, "type": "request", "command": command, "arguments": arguments}).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return self._seq

    def call(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The body of the answer, which must be a success."""
        seq = self.ask(command, **arguments)
        answer = self._wait(lambda one: one["type"] == "response" and one["request_seq"] == seq)
        assert answer["success"], answer
        return dict(answer.get("body") or {})

    def event(self, name: str) -> dict[str, Any]:
        return dict(self._wait(lambda one: one["type"] == "event" and one["event"] == name).get("body") or {})

    def close(self) -> None:
        self._socket.close()

    def _wait(self, wanted: Any) -> dict[str, Any]:
        for index, one in enumerate(self._waiting):
            if wanted(one):
                return self._waiting.pop(index)
        while True:
            one = self._receive()
            if wanted(one):
                return one
            self._waiting.append(one)

    def _receive(self) -> dict[str, Any]:
        while b"\r\n\r\n" not in self._rest:
            self._fill()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        length = int(head.split(b"Content-Length:")[1].split(b"\r\n")[0])
        while len(self._rest) < length:
            self._fill()
        body, self._rest = self._rest[:length], self._rest[length:]
        found: dict[str, Any] = json.loads(body)
        return found

    def _fill(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise EOFError("the debugger hung up")
        self._rest += data
