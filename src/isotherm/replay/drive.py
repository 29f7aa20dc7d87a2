"""Sends a plan's calls when they are due and writes down what became of each."""

import asyncio
import gc
import re
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np
import numpy.typing as npt

from isotherm.replay.client import Answer, LoadClient
from isotherm.replay.policy import Plan

__all__ = ["Outcomes", "drive", "invoke_head"]

TICK_S = 0.001  # the shortest sleep between two looks at what is due
WARM_CONNECTIONS = 64
LONGEST_LATENESS_S = 600.0  # on a machine that cannot keep up calls are sent late, which the report says, not lost
MAX_EXAMPLES = 10
GOOD = b"as a stand-in answers"
BODY = b'{"u":%.6f,"v":%.6f}'
_timing = re.compile(rb"(queue|start|run);dur=([0-9.]+)")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """One entry per call of the plan, in its order. Times in seconds after the start of the replay, or in ms."""

    sent_s: Floats
    done_s: Floats
    status: npt.NDArray[np.int32]  # 0: no answer
    failed: npt.NDArray[np.bool_]
    queue_ms: Floats
    start_ms: Floats
    run_ms: Floats
    request_ids: list[str]
    examples: list[str]  # of errors, the first few
    wall_s: float
    client_cpu_s: float


def invoke_head(host: str, key: str, function: str) -> bytes:
    """The head of a request on Lambda's Invoke route; every body has the same length."""
    return (
        b"POST /2015-03-31/functions/%b/invocations HTTP/1.1\r\nHost: %b\r\nAuthorization: Bearer %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % (function.encode(), host.encode(), key.encode(), len(BODY % (0.0, 0.0)))
    )


async def drive(
    plan: Plan,
    names: list[str],
    host: str,
    port: int,
    key: str,
    *,
    started: float,
    max_connections: int,
    timeout_s: float,
) -> Outcomes:
    """Replay the plan against the Invoke route from `started` (`time.perf_counter`) on.

    Ends when the last call is answered or has timed out. Raises `OSError` where no connection can be opened.
    """
    heads = [invoke_head(f"{host}:{port}", key, name) for name in names]
    answers: list[Answer] = []

    def note(answer: Answer) -> None:
        if answer.status == 200 and b'"slept_ms"' in answer.body:
            answer.body = GOOD  # the same bytes for all: there are many
        answers.append(answer)

    client = LoadClient(
        host, port, note, max_connections=max_connections, timeout_s=timeout_s, backlog_s=LONGEST_LATENESS_S
    )
    await client.open(WARM_CONNECTIONS)
    gc.collect()
    gc.freeze()  # the plan itself need not be walked again and again while it is sent
    cpu_s = process_time()
    try:
        await _send(client, plan, heads, started)
        await client.drain(LONGEST_LATENESS_S + timeout_s)
    finally:
        wall_s, cpu_s = perf_counter() - started, process_time() - cpu_s
        await client.close()
        gc.unfreeze()
    return _collect(answers, started, wall_s, cpu_s)


async def _send(client: LoadClient, plan: Plan, heads: list[bytes], started: float) -> None:
    due_s, rows, us, vs = plan.at_s.tolist(), plan.row.tolist(), plan.u.tolist(), plan.v.tolist()
    index, count = 0, len(due_s)
    while index < count:
        passed_s = perf_counter() - started
        while index < count and due_s[index] <= passed_s:
            client.submit(index, started + due_s[index], heads[rows[index]] + BODY % (us[index], vs[index]))
            index += 1
        if index < count:
            await asyncio.sleep(max(TICK_S, due_s[index] - passed_s))


def _collect(answers: list[Answer], started: float, wall_s: float, cpu_s: float) -> Outcomes:
    """Every submitted call has exactly one answer, so that the tokens are 0 … n - 1."""
    answers.sort(key=lambda answer: answer.token)
    timings = [dict(_timing.findall(answer.timing)) for answer in answers]
    bad = [answer for answer in answers if not _is_good(answer)]
    return Outcomes(
        sent_s=np.array([answer.sent_at - started for answer in answers]),
        done_s=np.array([answer.done_at - started for answer in answers]),
        status=np.array([answer.status for answer in answers], dtype=np.int32),
        failed=np.array([not _is_good(answer) for answer in answers], dtype=np.bool_),
        queue_ms=np.array([float(timing.get(b"queue", 0)) for timing in timings]),
        start_ms=np.array([float(timing.get(b"start", 0)) for timing in timings]),
        run_ms=np.array([float(timing.get(b"run", 0)) for timing in timings]),
        request_ids=[answer.request_id.decode(errors="replace") for answer in answers],
        examples=[
            f"{one.status}: {one.error or one.body[:300].decode(errors='replace')}" for one in bad[:MAX_EXAMPLES]
        ],
        wall_s=wall_s,
        client_cpu_s=cpu_s,
    )


def _is_good(answer: Answer) -> bool:
    """A 200 with the stand-in's own answer: on this route a handler's error has status 200, too."""
    return answer.body is GOOD
