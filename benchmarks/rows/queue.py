"""Asynchronous calls: how many are accepted a second, each durable before its 202, and how fast a backlog is made."""

import os
import sqlite3
import time
from pathlib import Path

from benchmarks.contestants.isotherm import Isotherm, isotherm, package
from benchmarks.machine import cpu_seconds
from benchmarks.result import Bar, Check, Figure
from benchmarks.samples import Sample
from benchmarks.session import Outcome, Session
from benchmarks.wrk import Load, run_wrk

__all__ = ["HELD", "Found", "figures", "measure", "measured", "note"]

EVENT = ("X-Amz-Invocation-Type", "Event")
HELD, BESIDE = "held back", "delivered beside it"
DRAIN_S = 120.0
LOOK_S = 0.5  # a look counts all calls, on a thread of the host
Found = dict[str, list[float]]


def measure(session: Session) -> Outcome:
    found: Found = {}
    settings = measured(session, found)
    return Outcome(
        settings=settings,
        checks=_checks(found),
        figures=figures(found),
        measurements=dict(found),
        notes=[
            "accepted: answered 202, which is after the transaction that holds the call was synced to disk",
            "a commit alone: one row in SQLite, WAL, synchronous=FULL, one at a time, on the same disk",
        ],
    )


def measured(session: Session, found: Found, *flags: str) -> dict[str, str | int | float]:
    """Rounds on a platform with these flags; returns the settings."""
    repeats, seconds = session.choose(5, 2), session.choose(5, 2)
    with isotherm(session.folder / "isotherm", *flags) as platform:
        digest = platform.upload(package("echo"))
        platform.deploy("held", digest)
        platform.deploy("beside", digest, concurrency=64, warm={"max_instances": 1})
        for _ in range(repeats):
            note(found, "commits", commits_per_second(session.folder))
            _round(session, platform, seconds, found)
    return {"repeats": repeats, "seconds": seconds, "connections": 64, "load": "wrk, one thread, same machine"}


def _round(session: Session, platform: Isotherm, seconds: int, found: Found) -> None:
    """Calls of a paused function, then its backlog; calls of one that runs meanwhile; and a client alone."""
    platform.steer("held", "pause")
    accepted = _accept(platform, "held", 64, seconds, HELD, found)
    began_s, cpu_s = time.monotonic(), cpu_seconds(platform.host_pid)
    platform.steer("held", "resume")
    _drain(platform)
    note(found, "delivered", accepted / (time.monotonic() - began_s))
    note(found, "delivery_cpu_us", (cpu_seconds(platform.host_pid) - cpu_s) / accepted * 1e6)
    _accept(platform, "beside", 64, seconds, BESIDE, found)
    _drain(platform)
    platform.steer("held", "pause")
    alone = run_wrk(_load(platform, "held", 1, seconds))
    note(found, "alone_p50_ms", alone.p50_ms)
    note(found, "alone_p99_ms", alone.p99_ms)
    platform.steer("held", "purge")
    session.say(", ".join(f"{name} {values[-1]:,.1f}" for name, values in found.items()))


def _accept(platform: Isotherm, name: str, connections: int, seconds: int, how: str, found: Found) -> int:
    cpu_s = cpu_seconds(platform.host_pid)
    report = run_wrk(_load(platform, name, connections, seconds))
    if report.errors:
        raise RuntimeError(f"{report.errors} of {report.requests} calls were not accepted")
    note(found, f"accepted, {how}", report.per_second)
    note(found, f"p99_ms, {how}", report.p99_ms)
    note(found, f"cpu_us, {how}", (cpu_seconds(platform.host_pid) - cpu_s) / report.requests * 1e6)
    return report.requests


def _load(platform: Isotherm, name: str, connections: int, seconds: int) -> Load:
    target = platform.by_invoke(name, name)
    return Load(target.url, connections, seconds, (*target.headers, EVENT))


def _drain(platform: Isotherm) -> None:
    deadline_s = time.monotonic() + DRAIN_S
    while any(queue["queued"] or queue["running"] for queue in platform.queues()):
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"the queue was not empty after {DRAIN_S:g} s")
        time.sleep(LOOK_S)


def commits_per_second(folder: Path) -> float:
    """What the disk does without grouping."""
    path = folder / f"commits-{os.getpid()}.db"
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS rows (content BLOB)")
        began_s, count = time.monotonic(), 0
        while time.monotonic() - began_s < 1.0:
            connection.execute("INSERT INTO rows VALUES (?)", (b"x" * 100,))
            count += 1
        return count / (time.monotonic() - began_s)
    finally:
        connection.close()


def note(found: Found, name: str, value: float) -> None:
    found.setdefault(name, []).append(round(value, 3))


def _checks(found: Found) -> list[Check]:
    checks = []
    for how in (HELD, BESIDE):
        value = Sample(tuple(found[f"accepted, {how}"]))
        checks.append(
            Check(
                f"asynchronous calls accepted, {how}", "≥", 3000, "a second", round(value.median),
                f"{value.low:.0f} to {value.high:.0f}",
            )
        )  # fmt: skip
    return checks


def figures(found: Found) -> list[Figure]:
    def bar(label: str, name: str) -> Bar:
        value = Sample(tuple(found[name]))
        return Bar(label, value.median, value.low, value.high)

    return [
        Figure(
            "Asynchronous calls, 64 connections",
            "a second",
            [
                bar("accepted, held back", f"accepted, {HELD}"),
                bar("accepted, delivered beside it", f"accepted, {BESIDE}"),
                bar("delivered of a backlog", "delivered"),
                bar("one commit at a time on this disk", "commits"),
            ],
            target=3000,
        ),
        Figure(
            "CPU of the host process",
            "µs a call",
            [
                bar("to accept", f"cpu_us, {HELD}"),
                bar("to accept and deliver", f"cpu_us, {BESIDE}"),
                bar("to deliver", "delivery_cpu_us"),
            ],
        ),
    ]
