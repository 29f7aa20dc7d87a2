"""`python -m benchmarks [NAME …] [--quick] [--out DIR]`: run benchmarks, write JSON and a picture for each."""

import argparse
import datetime
import importlib
import sys
import tempfile
import traceback
from pathlib import Path

from benchmarks.machine import facts
from benchmarks.picture import draw
from benchmarks.result import Result, read_results, write_result
from benchmarks.session import Outcome, Session
from benchmarks.summary import default_folder, table

NAMES = (
    "echo",
    "first_response",
    "memory",
    "cold",
    "quiet",
    "registered",
    "queue",
    "queue_postgres",
    "reload",
    "recovery",
    "forecast",
    "forecast_arrivals",
    "forecast_tick",
    "templates",
    "warming",
    "replay_day",
    "warming_controller",
    "live_warming",
    "warming_latency",
)


def main() -> int:
    """0: all ran and held; 1: a promise was not held; 2: a benchmark could not run."""
    arguments = _arguments()
    worst = 0
    for name in arguments.names or NAMES:
        print(f"== {name}", flush=True)
        try:
            result = _run(name, arguments.quick)
        except Exception:  # noqa: BLE001 - one benchmark that cannot run must not keep the others from it
            traceback.print_exc()
            worst = 2
            continue
        path = write_result(result, arguments.out)
        draw(result, path.with_suffix(".png"))
        worst = max(worst, int(not all(check.held for check in result.checks)))
        print(table([result]), flush=True)
    print(f"\n{table(read_results(arguments.out))}" if len(arguments.names) != 1 else "", flush=True)
    return worst


def _run(name: str, quick: bool) -> Result:
    machine = facts()
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="isotherm-bench-") as folder:
        Path(folder).chmod(0o755)  # nginx's workers and the platform's own user must reach what is theirs in it
        session = Session(quick, Path(folder), lambda line: print(line, flush=True))
        outcome: Outcome = importlib.import_module(f"benchmarks.rows.{name}").measure(session)
    return Result(
        benchmark=name,
        command=f"python -m benchmarks {name}",
        at=at,
        quick=quick,
        machine=machine,
        settings=outcome.settings,
        checks=outcome.checks,
        figures=outcome.figures,
        measurements=outcome.measurements,
        notes=outcome.notes,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="few and short repeats: to see that it works")
    parser.add_argument("--out", type=Path, default=default_folder, help="folder for JSON and pictures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
