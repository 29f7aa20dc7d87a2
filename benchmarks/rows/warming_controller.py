"""What the live policy costs with 10,000 workloads: CPU time a minute, with all that the controller does about it."""

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy

from benchmarks.result import Bar, Check, Figure
from benchmarks.session import Outcome, Session
from isotherm.base.clock import SystemClock
from isotherm.base.errors import NotFound
from isotherm.bus.warmth import WarmthBoard
from isotherm.db.places import open_databases
from isotherm.forecast.live import LiveForecasts
from isotherm.records.model import Retention
from isotherm.records.service import Records
from isotherm.replay.drivers.logs import read_log
from isotherm.storage.vault import Vault, create_master_key
from isotherm.warming.service import Options, Warming
from isotherm.warming.shown import summary_of
from isotherm.wire.desired import AliasSpec, Desired, Item, RevisionSpec, RouteSpec
from isotherm.wire.link import encode
from isotherm.wire.telemetry import Batch, MinuteAggregate

__all__ = ["measure"]

WORKLOADS = 10_000
BEGIN = 29_000_160  # a minute since 1970
MINUTE_MS = 60_000
TURNS = 12  # a minute
HISTORY = 600  # minutes that the policy remembers when it begins


def measure(session: Session) -> Outcome:
    log = read_log(Path(os.environ.get("ISOTHERM_TRACES", "../shared/data")) / "azure_functions_2019" / "day")
    minutes = session.choose(60, 10)
    counts = _counts(log.counts, HISTORY + minutes)
    forecasts = LiveForecasts(session.folder / "models", BEGIN, limit=400)
    warming = Warming(Options(), forecasts)
    warming.apply(_desired())
    began = time.process_time()
    warming.restore((BEGIN + HISTORY) * MINUTE_MS, _history(counts[:, :HISTORY]))
    restored_s = time.process_time() - began
    board, records = WarmthBoard(), _records(session.folder)
    parts: dict[str, list[float]] = {"take": [], "turns": [], "tell": [], "write": [], "show": []}
    written = sent = 0
    for minute in range(HISTORY, HISTORY + minutes):
        spent = dict.fromkeys(parts, 0.0)
        begin_ms = (BEGIN + minute) * MINUTE_MS
        for turn in range(TURNS):
            now_ms = begin_ms + (turn + 1) * MINUTE_MS // TURNS
            batches = list(_batches(counts[:, minute], now_ms, turn))
            began = time.process_time()
            for batch in batches:
                warming.take(batch, now_ms)
            spent["take"] += time.process_time() - began
            began = time.process_time()
            found = warming.turn(now_ms - 500)
            spent["turns"] += time.process_time() - began
            began = time.process_time()
            if found.warmth is not None:
                sent += len(encode(found.warmth))
            spent["tell"] += time.process_time() - began
            began = time.process_time()
            records.add_receipts(found.receipts)
            written += len(found.receipts)
            spent["write"] += time.process_time() - began
            if found.minute is not None:
                began = time.process_time()
                board.sum_up(summary_of(warming))
                spent["show"] += time.process_time() - began
        for name, took_s in spent.items():
            parts[name].append(took_s)
        session.say(f"minute {minute}: {', '.join(f'{name} {1000 * s:.0f} ms' for name, s in spent.items())}")
    whole = [100 * sum(each) / 60 for each in zip(*parts.values(), strict=True)]
    bars = [
        Bar(name, *(1000 * x for x in (statistics.median(each), min(each), max(each)))) for name, each in parts.items()
    ]
    what = f"the warming controller, {WORKLOADS:,} workloads"
    spread = f"{min(whole):.2f} to {max(whole):.2f} of {minutes} minutes"
    return Outcome(
        settings={"workloads": WORKLOADS, "minutes": minutes, "turns a minute": TURNS, "history": HISTORY},
        checks=[Check(what, "≤", 2.0, "% of a core", round(statistics.mean(whole), 2), spread)],
        figures=[Figure("CPU time of the warming controller in a minute", "ms", bars)],
        measurements={
            "percent of a core, by minute": [round(each, 3) for each in whole],
            "members of the forecast": forecasts.members,
            "receipts a minute": written / minutes,
            "bytes told a minute": sent / minutes,
            "restored in s of CPU": round(restored_s, 2),
        },
        notes=["the day of 1,000 functions ten times over, each copy by other minutes; CPU of the whole process"],
    )


def _counts(counts: numpy.ndarray, minutes: int) -> numpy.ndarray:
    """[WORKLOADS, minutes]."""
    copies = [numpy.roll(counts, 97 * k, axis=1)[:, :minutes] for k in range(-(-WORKLOADS // len(counts)))]
    found: numpy.ndarray = numpy.concatenate(copies)[:WORKLOADS]
    return found


def _desired() -> Desired:
    items = []
    for i in range(WORKLOADS):
        spec = RevisionSpec(id=f"rev_{i}", workload_id=f"wl_{i}", namespace="default", name=f"f{i}", number=1,
                            runtime="python3.11", handler="app.handler", package="")  # fmt: skip
        route = RouteSpec(workload_id=spec.workload_id, namespace="default", name=spec.name,
                          aliases=[AliasSpec("live", [(spec.id, 1.0)])])  # fmt: skip
        items += [Item(revision=spec), Item(route=route)]
    return Desired(epoch="e", version=1, full=True, items=items)


def _history(counts: numpy.ndarray) -> Iterator[tuple[str, str, int, int, float]]:
    for minute in range(counts.shape[1]):
        for row in numpy.flatnonzero(counts[:, minute]):
            calls = int(counts[row, minute])
            yield "default", f"f{row}", BEGIN + minute, calls, 50.0 * calls


def _batches(counts: numpy.ndarray, now_ms: int, turn: int) -> Iterator[Batch]:
    """Five of a second each, with their part of the minute's calls: most are at its beginning."""
    for second in range(5):
        at = 5 * turn + second
        rows = numpy.flatnonzero((counts > at) if at else counts)
        minutes = [
            MinuteAggregate(
                namespace="default", name=f"f{row}", revision_id=f"rev_{row}", minute=now_ms // MINUTE_MS,
                count=max(1, int(counts[row]) // 60), outcomes={}, cold={}, latency=[], total_ms=50.0, run_ms=50.0,
                queue_ms=0.0,
            )
            for row in rows
        ]  # fmt: skip
        yield Batch(host_id="h", boot_id="b", sequence=at, sent_at_ms=now_ms - 5000 + 1000 * second, minutes=minutes)


def _records(folder: Path) -> Records:
    (folder / "data").mkdir()
    databases = open_databases(folder / "data", "")
    databases.upgrade()
    vault = Vault(create_master_key(folder / "data", {}))

    def unknown(revision_id: str) -> RevisionSpec:
        raise NotFound(revision_id)

    return Records(databases.records, SystemClock(), vault=vault, retention=Retention(), spec_of=unknown)
