"""A scripted platform over real HTTP: as much of the REST API as a replay needs, stand-ins that answer at once."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httptools

from isotherm.wire.eventstream import encode_event

Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Scripted:
    """What it was asked, and how it behaves."""

    cold_first: bool = True  # the first call of each function is cold
    fail_invoke: Callable[[int], Reply | None] = lambda number: None  # by the number of the call
    fail_deploy: str | None = None  # the name whose revision fails
    busy: int = 0  # REST calls still to be answered 429
    deployed: dict[str, dict[str, Any]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    calls: list[tuple[str, dict[str, float]]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    queue: dict[str, dict[str, Any]] = field(default_factory=dict)  # asynchronous calls by id
    lose: Callable[[int], bool] = lambda number: False  # accepted and forgotten, by the number of the call
    end_as: Callable[[int], str] = lambda number: "succeeded"  # the state of an asynchronous call
    fail_stream: Callable[[int], bool] = lambda number: False
    rollouts: dict[str, dict[str, Any]] = field(default_factory=dict)  # the newest of each function
    roll_out_as: str = "finished"  # once it was looked at twice
    minute_s: float = 0.25  # what its policy takes for a minute
    connections: int = 0
    url: str = ""

    async def serve(self) -> asyncio.Server:
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def answer(self, method: str, target: str, body: bytes, *, event: bool = False) -> Reply:
        path = urlsplit(target).path
        if found := re.fullmatch(r"/2021-11-15/functions/([^/]+)/response-streaming-invocations", path):
            return self._stream(found[1], json.loads(body))
        if event:
            return self._accept(path.split("/")[3], json.loads(body))
        if found := re.fullmatch(r"/2015-03-31/functions/([^/]+)/invocations", path):
            return self._invoke(found[1], json.loads(body))
        if path == "/metrics":
            return 200, {}, self._metrics()
        if self.busy:
            self.busy -= 1
            return problem(429, "too_many_requests", "too fast")
        return self._rest(method, path, parse_qs(urlsplit(target).query), body)

    def _invoke(self, name: str, event: dict[str, float]) -> Reply:
        self.calls.append((name, event))
        failure = self.fail_invoke(len(self.calls))
        if failure is not None:
            return failure
        cold = self.cold_first and sum(called == name for called, _ in self.calls) == 1
        request_id = f"call-{len(self.calls)}"
        if cold:
            self.records.append(
                {
                    "id": request_id,
                    "name": name,
                    "cold_cause": "spare",
                    "started_at_ms": 10**15,
                    "start_ms": 3.5,
                    "total_ms": 4.5,
                }
            )
        timing = f"queue;dur=0.1, start;dur={3.5 if cold else 0}, run;dur=50"
        return 200, {"Server-Timing": timing, "X-Amzn-RequestId": request_id}, b'{"slept_ms": 0.5, "held_mb": 1.0}'

    def _accept(self, name: str, event: dict[str, float]) -> Reply:
        self.calls.append((name, event))
        number = len(self.calls)
        state = self.end_as(number)
        if not self.lose(number):
            self.queue[f"call-{number}"] = {
                "id": f"call-{number}",
                "name": name,
                "state": state,
                "accepted_at_ms": 10**15 + number,
                "finished_at_ms": 10**15 + number + 250 if state in ("succeeded", "dead") else None,
                "attempts": int(state == "dead"),
                "error_code": "instance_crashed" if state == "dead" else None,
            }
        return 202, {"X-Amzn-RequestId": f"call-{number}"}, b""

    def _stream(self, name: str, event: dict[str, float]) -> Reply:
        self.calls.append((name, event))
        number = len(self.calls)
        pieces = [b'{"piece": 1}\n', b'{"slept_ms": 0.5, "held_mb": 1.0}\n']
        end = b'{"ErrorCode": "Unhandled", "ErrorDetails": "{}"}' if self.fail_stream(number) else b"{}"
        body = b"".join(encode_event("PayloadChunk", "application/octet-stream", piece) for piece in pieces)
        headers = {"X-Amzn-RequestId": f"call-{number}", "X-Amz-Executed-Version": "1"}
        return 200, headers, body + encode_event("InvokeComplete", "application/json", end)

    def _calls(self, start: int) -> Reply:
        rows = list(self.queue.values())[::-1]
        following = str(start + 20) if rows[start + 20 :] else None
        return as_json(200, {"items": rows[start : start + 20], "next_cursor": following})

    def _rollouts(self, name: str) -> Reply:
        found = self.rollouts.get(name)
        if found is None:
            return as_json(200, {"items": [], "next_cursor": None})
        found["looks"] += 1
        if found["looks"] > 2:
            found["state"] = self.roll_out_as
            found["rule"] = "errors" if self.roll_out_as == "rolled_back" else None
        return as_json(200, {"items": [found], "next_cursor": None})

    def _rest(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Reply:
        tail = path.removeprefix("/api/v1/")
        if tail == "me":
            return as_json(200, {"home_namespace": "default"})
        if tail == "warmth":
            found = {"policy": "foresight", "why": "it decides", "at_ms": 1, "minute_s": self.minute_s}
            return as_json(200, {**found, "budget": "platform: idle <= 2 GBh/day"})
        if tail == "status":
            return as_json(200, {"version": "1.2.3"})
        if tail.endswith("/queues"):
            waiting = sum(call["state"] == "queued" for call in self.queue.values())
            names = {call["name"] for call in self.queue.values()}
            queues = [{"name": name, "queued": waiting, "running": 0} for name in names]
            return as_json(200, {"queues": queues})
        if tail.endswith("/calls"):
            return self._calls(int(query.get("cursor", ["0"])[0]))
        if tail.endswith("/packages"):
            return as_json(201, {"digest": "d1"})
        if tail.endswith("/invocations"):
            start = int(query.get("cursor", ["0"])[0])
            rest = self.records[start + 2 :]
            return as_json(
                200, {"items": self.records[start : start + 2], "next_cursor": str(start + 2) if rest else None}
            )
        name = tail.split("/")[3]
        if method == "DELETE":
            self.removed.append(name)
            return 204, {}, b""
        if tail.endswith("/rollouts"):
            return self._rollouts(name)
        if method == "PUT":
            number = 1 + (name in self.deployed)
            self.deployed[name] = json.loads(body)
            if number > 1:
                self.rollouts[name] = {"to": number, "state": "open", "step": 1, "rule": None, "looks": 0}
            return as_json(202, {"number": number, "state": "building"})
        failed = {"code": "import_failed", "detail": "no module named nothing", "status": 502}
        bad = name == self.fail_deploy
        last = {"done": True, "state": "failed" if bad else "ready", "problem": failed if bad else None}
        steps = [{"step": "import", "state": "running"}, last]
        return 200, {"Content-Type": "application/x-ndjson"}, "\n".join(json.dumps(step) for step in steps).encode()

    def _metrics(self) -> bytes:
        lines = ["# TYPE isotherm_instances gauge"]
        for name in self.deployed:
            label = f'namespace="default",function="{name}"'
            lines += [f'isotherm_instances{{{label},temperature="{t}"}} 1' for t in ("warm", "spare", "template")]
            cold = sum(record["name"] == name for record in self.records)
            lines.append(f'isotherm_cold_starts_total{{{label},cause="spare"}} {cold}')
            lines.append(f"isotherm_memory_bytes{{{label}}} {30 * 1024 * 1024}")
        return "\n".join([*lines, 'isotherm_instances{function="someone-else"} 7', ""]).encode()


def as_json(status: int, value: Any) -> Reply:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def problem(status: int, code: str, detail: str) -> Reply:
    return as_json(status, {"code": code, "detail": detail, "status": status})


class _Connection(asyncio.Protocol):
    def __init__(self, platform: Scripted) -> None:
        self.platform = platform

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.platform.connections += 1
        self.transport: Any = transport
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.body = b""
        self.event = False

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.event = self.event or (name.lower(), value) == (b"x-amz-invocation-type", b"Event")

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        method = self.parser.get_method().decode()
        status, headers, body = self.platform.answer(method, self.url.decode(), self.body, event=self.event)
        self.url, self.body, self.event = b"", b"", False
        if status == 0:  # a script says: hang up, or (with a body) say nothing
            if not body:
                self.transport.close()
            return
        lines = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in headers.items()), f"Content-Length: {len(body)}"]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
