"""Cold crowds: 100 different functions at once after a restart; 500 simultaneous calls of one cold function."""

import json
from collections.abc import Sequence

from benchmarks.calls import burst, request_bytes
from benchmarks.contestants.isotherm import Isotherm, isotherm, package
from benchmarks.result import Check, Curve, Figure
from benchmarks.samples import percentile
from benchmarks.session import Outcome, Session
from isotherm.replay.client import Answer

__all__ = ["measure", "most_at_once"]

LIMIT = 20
HOLD_S = 0.02


def measure(session: Session) -> Outcome:
    functions, calls = session.choose(100, 20), session.choose(500, 100)
    with isotherm(session.folder / "isotherm") as platform:
        digest = platform.upload(package("probe"))
        for number in range(functions):
            platform.deploy(f"cold-{number}", digest, env={"NUMBER": str(number)})
        platform.deploy("crowded", digest, warm={"max_instances": LIMIT})
        session.say(f"{functions + 1} functions deployed; starting again, so that nothing is warm")
        platform.restart()
        different = _call(platform, [f"cold-{number}" for number in range(functions)])
        crowd = _call(platform, ["crowded"] * calls)
    times = [(one.done_at - one.due_at) * 1000 for one in different]
    crowd_times = [(one.done_at - one.due_at) * 1000 for one in crowd]
    most, instances = most_at_once(crowd)
    session.say(f"{functions} functions: p95 {percentile(times, 95):.0f} ms; {calls} calls: {instances} instances")
    return Outcome(
        settings={"functions": functions, "calls": calls, "limit": LIMIT, "hold_s": HOLD_S},
        checks=[
            Check(f"{functions} different functions cold at once: answered", "≥", functions, "", _good(different)),
            Check(
                f"{functions} different functions cold at once: p95", "≤", 2000, "ms", round(percentile(times, 95), 1)
            ),
            Check(f"{calls} simultaneous calls of one cold function: answered", "≥", calls, "", _good(crowd)),
            Check(f"the same, instances at once, limit {LIMIT}", "≤", LIMIT, "", most),
        ],
        figures=[
            Figure(
                "Cold crowds: share of calls answered within",
                "ms",
                distributions=[
                    Curve(f"{functions} different functions", times),
                    Curve(f"{calls} calls of one function", crowd_times),
                ],
            )
        ],
        measurements={
            "different_ms": times,
            "crowd_ms": crowd_times,
            "crowd_instances": instances,
            "failures": [_failure(one) for one in [*different, *crowd] if not _is_good(one)][:20],
        },
        notes=["cold: the platform was stopped and started; no template and no instance of these functions ran"],
    )


def _call(platform: Isotherm, names: list[str]) -> list[Answer]:
    requests = [request_bytes(platform.by_invoke(name, name), {"hold_s": HOLD_S}) for name in names]
    return burst(platform.address, requests)


def most_at_once(answers: Sequence[Answer]) -> tuple[int, int]:
    """(the most calls that ran at one moment, by the handlers' own clocks; how many instances answered)."""
    bodies = [json.loads(one.body) for one in answers if _is_good(one)]
    steps = sorted([(body["began"], 1) for body in bodies] + [(body["ended"], -1) for body in bodies])
    now = most = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most, len({body["instance"] for body in bodies})


def _is_good(answer: Answer) -> bool:
    return answer.status == 200 and b'"instance"' in answer.body


def _good(answers: Sequence[Answer]) -> int:
    return sum(_is_good(one) for one in answers)


def _failure(answer: Answer) -> str:
    return f"{answer.status} {answer.error or answer.body[:300].decode(errors='replace')}"
