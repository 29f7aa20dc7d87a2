"""Calls that are timed one by one: a blocking connection for the shortest times, bursts over an open-loop client."""

import asyncio
import json
import socket
from collections.abc import Sequence
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import uvloop

from benchmarks.contestants.peers import Target
from isotherm.replay.client import Answer, LoadClient

__all__ = ["Holds", "Wire", "burst", "request_bytes"]

TIMEOUT_S = 60.0


def request_bytes(target: Target, event: dict[str, Any]) -> bytes:
    """A whole POST of `event` as JSON."""
    parts = urlsplit(target.url)
    body = json.dumps(event).encode()
    headers = {"Host": parts.netloc, "Content-Type": "application/json", **dict(target.headers)}
    lines = [f"POST {parts.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Wire:
    """One kept-alive connection on a plain blocking socket: nothing between the clock and the kernel."""

    def __init__(self, target: Target) -> None:
        parts = urlsplit(target.url)
        self._target = target
        self._socket = socket.create_connection((str(parts.hostname), int(parts.port or 80)), TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, event: dict[str, Any]) -> tuple[float, Any]:
        """(milliseconds from the first byte sent to the last received, the answer). Raises `RuntimeError`: not 200."""
        request = request_bytes(self._target, event)
        began = perf_counter()
        self._socket.sendall(request)
        received = self._socket.recv(65536)
        while not _whole(received):
            more = self._socket.recv(65536)
            if not more:
                raise RuntimeError(f"{self._target.label}: the connection was closed: {received!r}")
            received += more
        took_ms = (perf_counter() - began) * 1000
        head, body = received.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 200") or b"x-amz-function-error" in head.lower():
            raise RuntimeError(f"{self._target.label}: {received[:1000]!r}")
        return took_ms, json.loads(body)

    def close(self) -> None:
        self._socket.close()


class Holds:
    """Calls that keep instances busy: each on a connection of its own, sent and left without an answer."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sockets: list[socket.socket] = []

    def hold(self, seconds: float) -> None:
        """Occupy the instance that gets the next call."""
        parts = urlsplit(self._target.url)
        held = socket.create_connection((str(parts.hostname), int(parts.port or 80)), TIMEOUT_S)
        held.sendall(request_bytes(self._target, {"hold_s": seconds}))
        self._sockets.append(held)

    def release(self) -> None:
        for held in self._sockets:
            held.close()


def _whole(received: bytes) -> bool:
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    raise RuntimeError(f"an answer without a length: {head!r}")


def burst(address: tuple[str, int], requests: Sequence[bytes], timeout_s: float = TIMEOUT_S) -> list[Answer]:
    """All requests at once, each on a connection of its own that was opened before; answers in the same order."""

    async def run() -> list[Answer]:
        answers: list[Answer] = []
        client = LoadClient(*address, answers.append, max_connections=len(requests), timeout_s=timeout_s)
        try:
            await client.open(len(requests))
            now = perf_counter()
            for token, request in enumerate(requests):
                client.submit(token, now, request)
            await client.drain(timeout_s + 5)
        finally:
            await client.close()
        return sorted(answers, key=lambda answer: answer.token)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())
