"""The load of a soak: calls at a steady rate that know what to expect, and when an error is excused."""

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

__all__ = ["FUNCTIONS", "Tally", "call_later", "drive", "settle"]

ECHO = """
def handler(event, context):
    return event.get("body")
"""
WAIT = """
import asyncio
import contextlib

async def handler(event, context):
    await asyncio.sleep(0.02)
    return event.get("body")
"""
LATER = """
def handler(event, context):
    return event
"""
BAD = """
import os

blobs = []

def handler(event, context):
    kind = event.get("body")
    if kind == "exit":
        os._exit(3)
    if kind == "leak":
        blobs.append(bytearray(64 << 20))
    if kind == "raise":
        raise ValueError("as asked")
    return kind
"""
# Name → (source, configuration): an ordinary one, an asynchronous one with many calls at once, and a bad neighbour.
FUNCTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "soak-echo": (ECHO, {}),
    "soak-wait": (WAIT, {"concurrency": 16}),
    "soak-bad": (BAD, {"memory_mb": 128}),
    "soak-later": (LATER, {"asynchronous": {"retries": 10, "retry_delay_s": 0.2}}),
}
BAD_WORDS = ("fine", "exit", "leak", "raise")
TIMEOUT_S = 30.0


@dataclass
class Tally:
    """What came of the calls."""

    outcomes: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    excuse_until_s: float = 0.0  # errors before this moment belong to a kill of host or warden
    latencies_ms: list[float] = field(default_factory=list)
    accepted: int = 0  # asynchronous calls
    succeeded: int = 0
    dead: int = 0

    def note(self, name: str, started_s: float, what: str, wrong: bool) -> None:
        if not wrong:
            self.outcomes[what] += 1
        elif started_s <= self.excuse_until_s:
            self.excused[what] += 1
        else:
            self.outcomes["error"] += 1
            if len(self.errors) < 100:
                self.errors.append(f"{name}: {what}")


async def drive(url: str, key: str, rate_per_s: float, until_s: float, tally: Tally) -> None:
    """Call the functions in turn, `rate_per_s` in all, until the moment `until_s`; waits for the last answers."""
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/plain"}
    number, next_s = 0, time.monotonic()
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S, limits=limits) as http,
        asyncio.TaskGroup() as calls,
    ):
        while time.monotonic() < until_s:
            number += 1
            calls.create_task(_call(http, number, tally))
            next_s += 1 / rate_per_s
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))


async def _call(http: httpx.AsyncClient, number: int, tally: Tally) -> None:
    # One call in 50 goes to the bad neighbour.
    name = "soak-bad" if number % 50 == 0 else ("soak-echo", "soak-wait")[number % 2]
    body = BAD_WORDS[number // 50 % 4] if name == "soak-bad" else f"call {number}"
    started_s = time.monotonic()
    try:
        answer = await http.post(f"/{name}/", content=body)
    except httpx.TransportError as exc:
        tally.note(name, started_s, type(exc).__name__, wrong=True)
        return
    if name == "soak-bad":
        # What it does wrong must stay its own: a plain answer or a 502, at times for a neighbour in the queue.
        tally.note(name, started_s, f"bad neighbour {answer.status_code}", wrong=answer.status_code not in (200, 502))
        return
    right = answer.status_code == httpx.codes.OK and answer.text.strip('"') == body
    tally.note(name, started_s, "ok" if right else f"{answer.status_code} {answer.text[:200]}", wrong=not right)
    if right:
        tally.latencies_ms.append((time.monotonic() - started_s) * 1000)


async def call_later(url: str, key: str, rate_per_s: float, until_s: float, tally: Tally) -> None:
    """Asynchronous calls at a steady rate; what is not accepted while a process is killed is no error."""
    headers = {"Authorization": f"Bearer {key}", "X-Amz-Invocation-Type": "Event"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S) as http:
        while time.monotonic() < until_s:
            with contextlib.suppress(httpx.TransportError):
                answer = await http.post("/2015-03-31/functions/soak-later/invocations", json={"at": time.time()})
                tally.accepted += answer.status_code == httpx.codes.ACCEPTED
            await asyncio.sleep(1 / rate_per_s)


async def settle(url: str, key: str, limit_s: float, tally: Tally) -> None:
    """Wait until no asynchronous call is open, at most `limit_s`; then note what became of them."""
    deadline_s = time.monotonic() + limit_s
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S) as http:
        while True:
            answer = await http.get("/api/v1/namespaces/default/queues")
            queues = answer.json()["queues"] if answer.status_code == httpx.codes.OK else None
            if queues is not None and not any(queue["queued"] or queue["running"] for queue in queues):
                tally.succeeded = sum(queue["succeeded"] for queue in queues)
                tally.dead = sum(queue["dead"] for queue in queues)
                return
            if time.monotonic() > deadline_s:
                return
            await asyncio.sleep(0.5)
