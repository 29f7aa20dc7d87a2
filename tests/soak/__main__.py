"""A long run: steady calls while control, host and warden are killed and functions are deployed anew.

    python -m tests.soak [--minutes 30] [--rate 50] [--json FILE]

Exits 1 where a call fails that nothing excuses, where a process's memory or descriptors keep growing, or where the
stopped platform leaves something behind. A kill of host or warden excuses the calls of two seconds.
"""

import argparse
import asyncio
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from statistics import quantiles
from typing import Any

from isotherm.replay.platform import Platform
from tests.soak.load import FUNCTIONS, Tally, call_later, drive, settle
from tests.soak.platform import MODULES, Holding, Running, holding, leftovers, start

EVERY_S = 20.0  # between two disturbances
EXCUSE_S = 2.0
SAMPLE_S = 5.0
WARM_UP_S = 600.0
MAX_GROWTH = {"rss_mb": 64.0, "descriptors": 32.0, "threads": 8.0, "mb": 512.0}  # records and results are kept
SETTLE_S = 60.0


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="isotherm-soak-", dir="/tmp"))
    running = await start(folder, folder / "log")
    started_s, tally, holdings = time.monotonic(), Tally(), list[Holding]()
    disturbances: list[str] = []
    try:
        platform = Platform(running.url, running.admin_key)
        for name in FUNCTIONS:
            await deploy(platform, name, 0)
        until_s = started_s + options.minutes * 60
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(sample(running, started_s, holdings))
            disturb = tasks.create_task(disturb_it(running, platform, tally, disturbances, until_s - EVERY_S))
            later = tasks.create_task(call_later(running.url, running.admin_key, options.rate / 10, until_s, tally))
            await drive(running.content_url, running.admin_key, options.rate, until_s, tally)
            watch.cancel()
            await asyncio.gather(disturb, later)
        await settle(running.url, running.admin_key, SETTLE_S, tally)
        await platform.close()
    finally:
        exit_code = await running.stop()
    report = sum_up(tally, holdings, disturbances, options.minutes)
    report |= {"exit_code": exit_code, "left_behind": leftovers(running)}
    report["verdict"] = verdict(report)
    text = json.dumps(report, indent=2)
    print(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n")
    if not report["verdict"]:
        shutil.rmtree(folder, ignore_errors=True)
    return int(bool(report["verdict"]))


async def deploy(platform: Platform, name: str, edition: int) -> None:
    source, config = FUNCTIONS[name]
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        archive.writestr("app.py", f"# edition {edition}\n{source}")
    digest = await platform.upload("default", output.getvalue())
    await platform.deploy("default", name, {"package": digest, "handler": "app.handler", "public": False, **config})


async def disturb_it(
    running: Running, platform: Platform, tally: Tally, disturbances: list[str], until_s: float
) -> None:
    """One disturbance after the other, in an order that chance shuffles anew each round."""
    edition, chance = 0, random.Random(0)
    kinds: list[str] = []
    while time.monotonic() < until_s:
        await asyncio.sleep(EVERY_S)
        kinds = kinds or chance.sample(["control", "host", "warden", "deploy", "deploy", "control"], 6)
        kind = kinds.pop()
        disturbances.append(kind)
        if kind == "deploy":
            edition += 1
            await deploy(platform, ("soak-echo", "soak-wait")[edition % 2], edition)
            continue
        if kind != "control":
            tally.excuse_until_s = time.monotonic() + EXCUSE_S
        if (pid := running.pid_of(kind)) is not None:
            os.kill(pid, signal.SIGKILL)


async def sample(running: Running, started_s: float, holdings: list[Holding]) -> None:
    while True:
        await asyncio.sleep(SAMPLE_S)
        holdings.append(await asyncio.to_thread(holding, running, started_s))


def sum_up(tally: Tally, holdings: list[Holding], disturbances: list[str], minutes: float) -> dict[str, Any]:
    cuts = quantiles(tally.latencies_ms, n=1000) if len(tally.latencies_ms) > 1 else [0.0] * 999
    return {
        "minutes": minutes,
        "calls": sum(tally.outcomes.values()) + sum(tally.excused.values()),
        "outcomes": dict(tally.outcomes),
        "excused": dict(tally.excused),
        "errors": tally.errors,
        "asynchronous": {"accepted": tally.accepted, "succeeded": tally.succeeded, "dead": tally.dead},
        "latency_ms": {"p50": round(cuts[499], 2), "p99": round(cuts[989], 2), "p99.9": round(cuts[998], 2)},
        "disturbances": {kind: disturbances.count(kind) for kind in sorted(set(disturbances))},
        "growth": growth(holdings),
        "holdings": [asdict(each) for each in holdings[:: max(1, len(holdings) // 60)]],
    }


def growth(holdings: list[Holding]) -> dict[str, dict[str, float]]:
    """The middle of the last sixth against that of the sixth after the warm-up, by process; `disk` is the folder.

    The warm-up is ten minutes, or a quarter of a shorter run.
    """
    if not holdings:
        return {}
    warm_s = min(WARM_UP_S, holdings[-1].at_s / 4)
    steady = [each for each in holdings if each.at_s >= warm_s]
    part = max(1, len(steady) // 6)
    second, last = steady[:part], steady[-part:]

    def grown(field: str, name: str) -> float:
        return round(middle(of(last, field, name)) - middle(of(second, field, name)), 1)

    found = {name: {field: grown(field, name) for field in ("rss_mb", "descriptors", "threads")} for name in MODULES}
    disk_mb = middle([each.disk_mb for each in last]) - middle([each.disk_mb for each in second])
    return found | {"disk": {"mb": round(disk_mb, 1)}}


def middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def of(holdings: list[Holding], field: str, name: str) -> list[float]:
    return [getattr(each, field)[name] for each in holdings if name in getattr(each, field)]


def verdict(report: dict[str, Any]) -> list[str]:
    """What is wrong; empty where all held."""
    wrong = [f"{len(report['errors'])} errors or more"] if report["errors"] else []
    later = report["asynchronous"]
    if later["dead"] or later["succeeded"] < later["accepted"]:  # what was accepted may not have been heard of
        wrong.append(f"asynchronous calls: {later}")
    wrong += [f"exit code {report['exit_code']}"] if report["exit_code"] else []
    wrong += [f"left behind: {each}" for each in report["left_behind"]]
    for name, grown in report["growth"].items():
        if any(value > MAX_GROWTH[what] for what, value in grown.items()):
            wrong.append(f"{name} grew: {grown}")
    return wrong


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
