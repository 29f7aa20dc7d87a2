"""CPU that the runtime takes per warm call, by dispatcher, form and calls in flight. Writes JSON to stdout.

A forked child serves an echo handler; this process plays the host over a socketpair and keeps a number of calls in
flight. What counts is the child's CPU time (its process clock), so that a busy machine disturbs it little.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

from isotherm_runtime import serve as runtime_serve
from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.frames import HEADER, Flag, Kind, pack_frame
from isotherm_runtime.handler import load

SYNC = 'def handler(event, context):\n    return {"ok": True}\n'
HTTP = 'def handler(event, context):\n    return {"statusCode": 200, "body": event["rawPath"]}\n'
HEADERS = [
    ["host", "127.0.0.1:7071"],
    ["user-agent", "wrk"],
    ["accept", "*/*"],
    ["content-type", "application/json"],
    ["content-length", "27"],
]
BODY = b'{"name": "world", "n": 123}'
CASES = [  # name, concurrency, in flight, async, HTTP
    ("floor: one read, one write", 0, 1, False, False),
    ("serial invoke", 1, 1, False, False),
    ("serial http", 1, 1, False, True),
    ("threads invoke", 64, 1, False, False),
    ("threads invoke", 64, 16, False, False),
    ("threads invoke", 64, 64, False, False),
    ("threads http", 64, 64, False, True),
    ("async invoke", 64, 64, True, False),
    ("async http", 64, 64, True, True),
]


def start(concurrency: int, is_async: bool, http: bool, folder: Path) -> tuple[int, socket.socket]:
    code = HTTP if http else SYNC
    (folder / "bench_app.py").write_text(("async " if is_async else "") + code)
    host, instance = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        host.close()
        if not concurrency:
            os._exit(answer_blindly(instance.fileno()))
        config = RuntimeConfig(handler="bench_app.handler", path=[str(folder)], concurrency=concurrency)
        os._exit(runtime_serve.serve(instance.fileno(), load(config), config))
    instance.close()
    host.recv(4096)  # HELLO
    return pid, host


def answer_blindly(descriptor: int) -> int:
    """What the two system calls of a call cost, with nothing between them."""
    answer = pack_frame(Kind.RESPONSE, 1, b"", b'{"ok":true}')
    os.write(descriptor, answer)
    while os.read(descriptor, 1 << 16)[16] != Kind.DRAIN:
        os.write(descriptor, answer)
    return 0


def request(stream: int, http: bool) -> bytes:
    if not http:
        return pack_frame(Kind.REQUEST, stream, b'["7e2f1a90-0000-4000-a000-00000000001a"]', BODY, deadline_ms=30_000)
    head = json.dumps(["7e2f1a90-0000-4000-a000-00000000001a", 1_700_000_000_000])
    head += json.dumps(["POST", "/a/b", "", HEADERS, "127.0.0.1", "h:1"], separators=(",", ":"))
    return pack_frame(Kind.REQUEST, stream, head.encode(), BODY, flags=Flag.HTTP, deadline_ms=30_000)


def drive(host: socket.socket, calls: int, in_flight: int, http: bool) -> None:
    """Keep `in_flight` calls running until `calls` are answered."""
    template = bytearray(request(0, http))
    sent = answered = 0
    buffer = b""
    room = in_flight
    while answered < calls:
        batch = bytearray()
        for _ in range(min(room, calls - sent)):
            sent += 1
            template[8:12] = sent.to_bytes(4, "little")
            batch += template
        if batch:
            host.sendall(batch)
        buffer += host.recv(1 << 16)  # above that malloc maps pages for each
        offset = room = 0
        while len(buffer) - offset >= HEADER.size:
            length = HEADER.unpack_from(buffer, offset)[0]
            if len(buffer) - offset < HEADER.size + length:
                break
            offset += HEADER.size + length
            room += 1
        answered += room
        buffer = buffer[offset:]


def measure(case: tuple[str, int, int, bool, bool], calls: int, rounds: int) -> dict[str, object]:
    name, concurrency, in_flight, is_async, http = case
    with tempfile.TemporaryDirectory() as folder:
        pid, host = start(concurrency, is_async, http, Path(folder))
        clock = (~pid << 3) | 2  # the process clock of another process, see clock_getcpuclockid(3)
        drive(host, calls // 10, in_flight, http)
        costs, rates = [], []
        for _ in range(rounds):
            cpu, wall = time.clock_gettime(clock), time.perf_counter()
            drive(host, calls, in_flight, http)
            costs.append((time.clock_gettime(clock) - cpu) / calls * 1e6)
            rates.append(calls / (time.perf_counter() - wall))
        host.sendall(pack_frame(Kind.DRAIN))
        os.waitpid(pid, 0)
        host.close()
    return {
        "case": name,
        "concurrency": concurrency,
        "in_flight": in_flight,
        "cpu_us_per_call": round(statistics.median(costs), 2),
        "cpu_us_min": round(min(costs), 2),
        "cpu_us_max": round(max(costs), 2),
        "calls_per_s": round(statistics.median(rates)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    report = {
        "benchmark": "runtime_dispatch",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "calls": options.calls,
        "rounds": options.rounds,
        "results": [measure(case, options.calls, options.rounds) for case in CASES if options.only in case[0]],
    }
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
