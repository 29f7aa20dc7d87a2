"""One tick over 50,000 series: what has passed taken in, the next hour forecast, by all members of the mixture."""

import json
import statistics
import subprocess
import sys

from benchmarks.result import Bar, Check, Figure
from benchmarks.session import Outcome, Session

__all__ = ["measure"]

LIMIT_S = 3600.0


def measure(session: Session) -> Outcome:
    series, ticks = session.choose(50_000, 2_000), session.choose(15, 3)
    argv = [sys.executable, "-m", "benchmarks.forecast_tick", str(series), str(ticks)]
    ran = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=LIMIT_S)
    found = json.loads(ran.stdout.splitlines()[-1])
    ticks_s = [update + predict for update, predict, _ in found["ticks_s"]]
    cpu_s = [cpu for _, _, cpu in found["ticks_s"]]
    spread = f"{min(ticks_s):.2f} to {max(ticks_s):.2f} s"
    return Outcome(
        settings={"series": series, "ticks": ticks, "horizon_minutes": 60, "members": found["members"]},
        checks=[
            Check(
                f"one tick over {series:,} series: median", "≤", 10, "s", round(statistics.median(ticks_s), 2), spread
            ),
            Check("the same: the process's most memory", "≤", 2048, "MB", round(found["peak_mb"])),
        ],
        figures=[
            Figure(
                f"a tick over {series:,} series",
                "s",
                [_bar("wall", ticks_s), _bar("CPU", cpu_s)],
                target=10,
            )
        ],
        measurements=found,
        notes=["ARIMA is fitted beside it in one worker process, which is not counted in the process's memory"],
    )


def _bar(label: str, values: list[float]) -> Bar:
    return Bar(label, statistics.median(values), min(values), max(values))
