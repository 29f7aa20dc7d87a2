"""Streams through a real platform: in time, in bounded memory, and ended when either side goes."""

import hashlib
import os
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.e2e.conftest import Platform, descendants, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.root]
MB = 1_000_000
FLOOD = """
import time
closed = []
def handler(event, context):
    if event["rawPath"] == "/closed":
        return closed
    return flood()
def flood():
    try:
        for _ in range(500):
            yield b"x" * 1_000_000
    finally:
        closed.append(True)
"""
TICKS = """
import time
closed = []
def handler(event, context):
    if event["rawPath"] == "/closed":
        return closed
    return ticks()
def ticks():
    try:
        for number in range(1000):
            yield f"tick {number}\\n"
            time.sleep(0.05)
    except GeneratorExit:
        closed.append(True)
        raise
"""
DIGEST = """
import hashlib
def handler(event, context):
    digest = hashlib.sha256()
    for piece in context.body:
        digest.update(piece)
    return digest.hexdigest()
"""
ONE = {"max_instances": 1, "spare": 0}


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def connect(platform: Platform, url: str) -> socket.socket:
    """A client that reads when it is told to. It has a small buffer, so that a stall is felt soon."""
    parts = urlsplit(url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    client.settimeout(20)
    client.connect((parts.hostname, parts.port))
    key = platform.ready["admin_key"]
    client.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    return client


def youngest(pids: Iterable[int]) -> int:
    """What was forked last. Numbers wrap around."""
    return max(pids, key=lambda pid: (psutil.Process(pid).create_time(), pid))


def closed(platform: Platform, url: str) -> bool:
    with platform.content() as http:
        return bool(http.get(url + "closed").json())


def test_events_arrive_while_the_handler_runs(platform: Platform) -> None:
    url = platform.function("ticks", TICKS, warm=ONE)
    with platform.content() as http, http.stream("GET", url) as answer:
        began = time.monotonic()
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(4)] == [f"tick {number}" for number in range(4)]
        assert time.monotonic() - began < 25.0  # all of it takes 50 s


def test_a_reader_that_stalls_costs_no_memory_and_is_cut_off(platform: Platform) -> None:
    url = platform.function("flood", FLOOD, memory_mb=64, warm=ONE)
    assert closed(platform, url) is False
    host = platform.pid("host")
    before = resident_bytes(host)
    client = connect(platform, url)
    have = 0
    while have < MB:
        have += len(client.recv(65536))
    time.sleep(1.0)
    assert resident_bytes(host) - before < 16 * MB
    # Nobody frees the instance but the limit of time for a client that reads nothing, here 2 s.
    assert wait_until(lambda: closed(platform, url), "the end of the generator")
    assert resident_bytes(host) - before < 16 * MB
    client.close()


def test_a_client_that_leaves_closes_the_generator(platform: Platform) -> None:
    url = platform.function("leave", TICKS, warm=ONE)
    client = connect(platform, url)
    assert b"200 OK" in client.recv(65536)
    client.close()
    assert wait_until(lambda: closed(platform, url), "the end of the generator", 10.0)


def test_an_upload_of_100_mb_needs_no_memory_of_its_size(platform: Platform) -> None:
    url = platform.function("digest", DIGEST, memory_mb=48, request_body="stream", timeout_s=60, warm=ONE)
    block = os.urandom(MB)
    digest = hashlib.sha256(block * 100).hexdigest()
    host = platform.pid("host")
    before, most = resident_bytes(host), 0

    def blocks() -> Iterator[bytes]:
        nonlocal most
        for _ in range(100):
            most = max(most, resident_bytes(host))
            yield block

    with platform.content() as http:
        assert http.put(url, content=blocks()).json() == digest  # chunked
        assert http.put(url, content=blocks(), headers={"Content-Length": str(100 * MB)}).json() == digest
    assert most - before < 16 * MB


def test_an_instance_that_is_killed_in_the_middle_ends_the_body_and_not_the_function(platform: Platform) -> None:
    earlier = set(descendants(platform.process.pid))
    url = platform.function("killed", TICKS, warm=ONE)
    with platform.content() as http:
        with http.stream("GET", url) as answer:
            lines = answer.iter_lines()
            next(lines)
            os.kill(youngest(set(descendants(platform.process.pid)) - earlier), signal.SIGKILL)
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)
        assert http.get(url + "closed").json() == []


def test_a_stream_outlives_control(platform: Platform) -> None:
    url = platform.function("outlives", TICKS, warm=ONE)
    with platform.content() as http, http.stream("GET", url) as answer:
        lines = answer.iter_lines()
        next(lines)
        platform.kill("control")
        assert [next(lines) for _ in range(20)][-1] == "tick 20"
    wait_until(lambda: platform.cli("ls").code == 0, "control")
