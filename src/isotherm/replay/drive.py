"""Sends a plan's calls when they are due and writes down what became of each."""

import asyncio
import gc
import re
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np
import numpy.typing as npt

from isotherm.replay.client import Answer, LoadClient
from isotherm.replay.model import Way
from isotherm.replay.policy import Plan
from isotherm.replay.ways import is_crash, is_good, request, request_head, what_was_said

__all__ = ["Outcomes", "drive"]

TICK_S = 0.001  # the shortest sleep between two looks at what is due
WARM_CONNECTIONS = 64
LONGEST_LATENESS_S = 600.0  # on a machine that cannot keep up calls are sent late, which the report says, not lost
MAX_EXAMPLES = 10
GOOD = b"as a stand-in answers"
_timing = re.compile(rb"(queue|start|run);dur=([0-9.]+)")
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ways = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Outcomes:
    """One entry per call of the plan, in its order. Times in seconds after the start of the replay, or in ms."""

    way: Ways
    sent_s: Floats
    first_s: Floats  # the first bytes of the answer's body; 0 where none came
    done_s: Floats
    status: npt.NDArray[np.int32]  # 0: no answer
    failed: Bools
    crashed: Bools  # failed because its instance ended
    version: npt.NDArray[np.int32]  # the revision that answered; 0: not said
    queue_ms: Floats
    start_ms: Floats
    run_ms: Floats
    request_ids: list[str]
    errors: list[tuple[int, str]]  # (index of the call, what was said), the first few
    wall_s: float
    client_cpu_s: float


async def drive(
    plan: Plan,
    ways: Ways,
    names: list[str],
    host: str,
    port: int,
    key: str,
    *,
    started: float,
    max_connections: int,
    timeout_s: float,
) -> Outcomes:
    """Replay the plan, each call its way, from `started` (`time.perf_counter`) on.

    Ends when the last call is answered or has timed out. Raises `OSError` where no connection can be opened.
    """
    heads = {way: [request_head(way, f"{host}:{port}", key, name) for name in names] for way in Way}
    kinds = [Way(way) for way in ways.tolist()]
    answers: list[Answer] = []

    def note(answer: Answer) -> None:
        if is_good(kinds[answer.token], answer):
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
        await _send(client, plan, kinds, heads, started)
        await client.drain(LONGEST_LATENESS_S + timeout_s)
    finally:
        wall_s, cpu_s = perf_counter() - started, process_time() - cpu_s
        await client.close()
        gc.unfreeze()
    return _collect(answers, ways, started, wall_s, cpu_s)


async def _send(
    client: LoadClient, plan: Plan, kinds: list[Way], heads: dict[Way, list[bytes]], started: float
) -> None:
    due_s, rows, us, vs = plan.at_s.tolist(), plan.row.tolist(), plan.u.tolist(), plan.v.tolist()
    index, count = 0, len(due_s)
    while index < count:
        passed_s = perf_counter() - started
        while index < count and due_s[index] <= passed_s:
            way = kinds[index]
            body = request(heads[way][rows[index]], way, us[index], vs[index])
            client.submit(index, started + due_s[index], body)
            index += 1
        if index < count:
            await asyncio.sleep(max(TICK_S, due_s[index] - passed_s))


def _collect(answers: list[Answer], ways: Ways, started: float, wall_s: float, cpu_s: float) -> Outcomes:
    """Every submitted call has exactly one answer, so that the tokens are 0 … n - 1."""
    answers.sort(key=lambda answer: answer.token)
    timings = [dict(_timing.findall(answer.timing)) for answer in answers]
    bad = [answer for answer in answers if answer.body is not GOOD]
    return Outcomes(
        way=ways,
        sent_s=np.array([answer.sent_at - started for answer in answers]),
        first_s=np.array([answer.first_at - started if answer.first_at else 0.0 for answer in answers]),
        done_s=np.array([answer.done_at - started for answer in answers]),
        status=np.array([answer.status for answer in answers], dtype=np.int32),
        failed=np.array([answer.body is not GOOD for answer in answers], dtype=np.bool_),
        crashed=np.array([answer.body is not GOOD and is_crash(answer) for answer in answers], dtype=np.bool_),
        version=np.array([_number(answer.version) for answer in answers], dtype=np.int32),
        queue_ms=np.array([float(timing.get(b"queue", 0)) for timing in timings]),
        start_ms=np.array([float(timing.get(b"start", 0)) for timing in timings]),
        run_ms=np.array([float(timing.get(b"run", 0)) for timing in timings]),
        request_ids=[answer.request_id.decode(errors="replace") for answer in answers],
        errors=_examples(bad),
        wall_s=wall_s,
        client_cpu_s=cpu_s,
    )


def _examples(bad: list[Answer]) -> list[tuple[int, str]]:
    """The first of each kind come first: many alike would hide the others."""
    seen: set[tuple[int, bool]] = set()
    first: list[Answer] = []
    rest: list[Answer] = []
    for one in bad:
        kind = (one.status, is_crash(one))
        (rest if kind in seen else first).append(one)
        seen.add(kind)
    return [(one.token, what_was_said(one)) for one in [*first, *rest][:MAX_EXAMPLES]]


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 10 else 0
