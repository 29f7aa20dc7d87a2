"""The learned policy beside keep-alives on a real platform: middling functions of a log, faster than time."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy

from benchmarks.contestants.isotherm import Isotherm, isotherm, setting
from benchmarks.contestants.process import wait_for
from benchmarks.result import Bar, Check, Curve, Figure
from benchmarks.session import Outcome, Session
from isotherm.replay.sketch import Cells, value_of

__all__ = ["measure"]

SPEED = 20.0
MINUTES = 30  # of the log
START = 120  # its first minute
FUNCTIONS = 60
CALLS = (2, 60)  # of a function within these minutes: at least, at most
KEEP_ALIVE_S = 600.0  # of the log's time, templates as instances
POLICIES = ("keep_alive", "foresight")
SAMPLE_S = 0.25
PLAN_TIMEOUT_S, RUN_TIMEOUT_S = 120.0, 900.0
PERCENTS = (50, 95, 99)


def measure(session: Session) -> Outcome:
    source = Path(os.environ.get("ISOTHERM_TRACES", "../shared/data")) / "azure_functions_2019" / "hours8"
    minutes = session.choose(MINUTES, 8)
    trace = _middling(source, session.folder / "middling", minutes, session.choose(FUNCTIONS, 20))
    rounds = session.choose(2, 1)
    runs: dict[str, list[dict[str, Any]]] = {policy: [] for policy in POLICIES}
    minute_s = f"{60 / SPEED:g}"  # the policy's minute is one of the log
    with setting("ISOTHERM_WARMING_MINUTE_S", minute_s), isotherm(session.folder / "isotherm") as platform:
        _wait_for_a_plan(platform)
        for turn in range(rounds):
            for policy in POLICIES if turn % 2 == 0 else POLICIES[::-1]:
                session.say(f"round {turn + 1} of {rounds}: {policy}")
                runs[policy].append(_replay(platform, session.folder / f"{policy}-{turn}", trace, policy, minutes))
                session.say(json.dumps(_facts(runs[policy][-1])))
    return Outcome(
        settings={
            "trace": "hours8",
            "first minute": START,
            "minutes": minutes,
            "functions": runs["foresight"][0]["functions"],
            "calls of each": CALLS,
            "speed": SPEED,
            "keep-alive": f"{KEEP_ALIVE_S:g} s of the log, of instances and of templates; no spares",
            "budget": runs["foresight"][0]["warming"]["budget"],
            "rounds": rounds,
        },
        checks=_checks(runs),
        figures=[
            Figure(
                "Avoidable cold starts",
                "",
                [_bar(policy, [_avoidable(x) for x in runs[policy]]) for policy in POLICIES],
            ),
            Figure("Idle memory", "GB·s", [_bar(policy, [_idle(x) for x in runs[policy]]) for policy in POLICIES]),
            Figure(
                "Beyond a stand-in's own sleep: share of calls within",
                "ms",
                distributions=[Curve(policy, _values(runs[policy], "overhead").tolist()) for policy in POLICIES],
            ),
        ],
        measurements={policy: [_facts(each) for each in runs[policy]] for policy in POLICIES},
        notes=[
            "idle memory is sampled: a function's memory less what its running calls account for",
            "a cold start is a call that found no instance, though it may have found a template",
            "seconds are ours; the log's are 20 times as many",
        ],
    )


def _middling(source: Path, folder: Path, minutes: int, limit: int) -> Path:
    """A trace of the functions with so many calls in these minutes, at most `limit`, by their names."""
    folder.mkdir()
    rows = list(csv.reader((source / "invocations.csv").open(encoding="utf-8")))
    first = rows[0].index("Trigger") + 1
    calls = {row[2]: sum(int(x) for x in row[first + START : first + START + minutes]) for row in rows[1:]}
    chosen = set(sorted(name for name, count in calls.items() if CALLS[0] <= count <= CALLS[1])[:limit])
    for name in ("invocations.csv", "durations.csv", "memory.csv"):
        table = csv.reader((source / name).open(encoding="utf-8"))
        head = next(table)
        column = head.index("HashFunction")
        with (folder / name).open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([head, *(row for row in table if row[column] in chosen)])
    return folder


def _wait_for_a_plan(platform: Isotherm) -> None:
    def planned() -> bool:
        headers = {"Authorization": f"Bearer {platform.key}"}
        answer = httpx.get(f"{platform.url}/api/v1/warmth", headers=headers, timeout=60)
        return answer.status_code == httpx.codes.OK and answer.json()["at_ms"] is not None

    wait_for("the first plan of the policy", planned, PLAN_TIMEOUT_S)


def _replay(platform: Isotherm, out: Path, trace: Path, policy: str, minutes: int) -> dict[str, Any]:
    """The report of one run."""
    command = [sys.executable, "-m", "isotherm", "replay", str(trace), "--live", "--out", str(out)]
    command += ["--speed", f"{SPEED:g}", "--start", str(START), "--minutes", str(minutes), "--sample", f"{SAMPLE_S:g}"]
    command += ["--warming", policy, "--spare", "0", "--simulate"]
    command += ["--keep-alive", f"{KEEP_ALIVE_S:g}", "--template-keep-alive", f"{KEEP_ALIVE_S:g}"]
    environment = {**os.environ, "ISOTHERM_URL": platform.url, "ISOTHERM_KEY": platform.key}
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, env=environment, check=False)
    if done.returncode != 0 or "warning" in done.stderr:
        raise RuntimeError(f"the replay by {policy}: {done.stderr[-1000:]}")
    report: dict[str, Any] = json.loads((out / "replay.json").read_text(encoding="utf-8"))
    return report


def _values(runs: list[dict[str, Any]], name: str) -> numpy.ndarray:
    """What all runs together had, in ascending order, as exactly as a report keeps it."""
    cells: list[Cells] = [run["cells"].get(name, []) for run in runs]
    pairs = [(int(bucket), count) for each in cells for part in each for bucket, count in part.items()]
    buckets, counts = (numpy.array(each, dtype=numpy.int64) for each in zip(*pairs, strict=True))
    found: numpy.ndarray = numpy.sort(numpy.repeat(value_of(buckets), counts))
    return found


def _avoidable(run: dict[str, Any]) -> float:
    return float(run["warming"]["avoidable"])


def _idle(run: dict[str, Any]) -> float:
    return float(run["memory"]["idle_gb_s"])


def _facts(run: dict[str, Any]) -> dict[str, Any]:
    marks = {
        f"{name} p{percent}": round(float(numpy.percentile(_values([run], name), percent)), 2)
        for name in ("latency", "overhead", "warm")
        for percent in PERCENTS
    }
    warmth = {key: value for key, value in run["warming"].items() if key != "warm_overhead_ms"}
    kept = ("invocations", "errors", "cold_starts", "load_before", "wall_s", "deploy_s", "memory")
    return {**{key: run[key] for key in kept}, "by cause": run["cold"]["by_cause"], "warming": warmth, "ms": marks}


def _checks(runs: dict[str, list[dict[str, Any]]]) -> list[Check]:
    theirs, ours = runs["keep_alive"], runs["foresight"]
    cold = [sum(_avoidable(run) for run in each) for each in (theirs, ours)]
    idle = [sum(_idle(run) for run in each) for each in (theirs, ours)]
    whole = [sum(run["cold_starts"] for run in each) for each in (theirs, ours)]
    errors = sum(run["errors"] for run in (*theirs, *ours))
    by_run = f"{[int(_avoidable(x)) for x in ours]} to {[int(_avoidable(x)) for x in theirs]}"
    checks = [
        Check("live: avoidable cold starts to keep-alive's", "≤", 1, "x", _ratio(cold[1], cold[0]), by_run),
        Check(
            "live: idle memory to keep-alive's",
            "≤",
            1,
            "x",
            _ratio(idle[1], idle[0]),
            f"{idle[1]:.1f} to {idle[0]:.1f} GB·s",
        ),
        Check("live: errors", "≤", 0, "", errors),
        Check(
            "live: all cold starts to keep-alive's, first calls after a deploy included",
            "≤",
            1,
            "x",
            _ratio(whole[1], whole[0]),
            f"{whole[1]} to {whole[0]}",
            promised=False,
        ),
    ]
    for name, what in (("overhead", "all calls"), ("warm", "warm calls")):
        for percent in PERCENTS:
            a, b = (float(numpy.percentile(_values(each, name), percent)) for each in (theirs, ours))
            label = f"live: {what} beyond their sleep, p{percent}, to keep-alive's"
            checks.append(Check(label, "≤", 1.1, "x", _ratio(b, a), f"{b:.2f} to {a:.2f} ms", promised=False))
    return checks


def _ratio(ours: float, theirs: float) -> float:
    return round(ours / theirs, 4) if theirs else 0.0


def _bar(label: str, values: list[float]) -> Bar:
    return Bar(label, float(numpy.median(values)), min(values), max(values))
