"""Write measured figures into SPEC.md and README.md, between the marks that say where.

    python docs/figures.py [--results FOLDER] [--replay FILE]

FOLDER holds what `python -m benchmarks` wrote, FILE what `isotherm replay … --json` or its `--out` wrote.
"""

import argparse
import re
import sys
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # `benchmarks` is beside the package, not in it

from benchmarks.result import Check, Result, read_results  # noqa: E402  (found through the line above)
from benchmarks.summary import table  # noqa: E402
from isotherm.replay.report import Report  # noqa: E402
from isotherm.replay.summary import summarise  # noqa: E402

WARMING = ("templates", "warming")  # benchmarks with a table of their own


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, help="folder of the benchmarks' JSON")
    parser.add_argument("--replay", type=Path, help="the report of a replay, as JSON")
    options = parser.parse_args()
    if options.results:
        results = read_results(options.results)
        speed = [result for result in results if result.benchmark not in WARMING]
        if speed:
            put(ROOT / "SPEC.md", "speed", table(speed))
            put(ROOT / "README.md", "speed", short_table(speed))
        if warming := [result for result in results if result.benchmark in WARMING]:
            put(ROOT / "SPEC.md", "warming", table(warming))
    if options.replay:
        report = msgspec.json.decode(options.replay.read_bytes(), type=Report)
        for page in ("SPEC.md", "README.md"):
            put(ROOT / page, "replay", f"```\n{summarise(report)}\n```")
    return 0


def put(page: Path, mark: str, text: str) -> None:
    """Replace what stands between `<!-- mark -->` and `<!-- /mark -->`. Raises `ValueError` where they are missing."""
    between = re.compile(rf"(<!-- {mark} -->\n).*?(\n?<!-- /{mark} -->)", re.DOTALL)
    written, count = between.subn(lambda found: f"{found[1]}\n{text.strip()}\n\n<!-- /{mark} -->", page.read_text())
    if count != 1:
        raise ValueError(f"{page}: expected the marks of {mark} once, found {count}")
    page.write_text(written)


def short_table(results: list[Result]) -> str:
    """What is promised of function URLs and of starts, and what was measured."""
    checks = [check for result in results for check in result.checks if check.promised and "(Invoke)" not in check.what]
    return "\n".join(["| what | promised | measured |", "|---|---|---|", *(short_row(check) for check in checks)])


def short_row(check: Check) -> str:
    what = check.what.removesuffix(" (URL)")
    promised = f"{check.comparison} {check.target:g} {check.unit}".strip()
    measured = f"{check.measured:.4g} {check.unit}".strip() + ("" if check.held else ", **not held**")
    return f"| {what} | {promised} | {measured} |"


if __name__ == "__main__":
    sys.exit(main())
