"""Results as the Markdown table of SPEC.md: what is promised, what was measured, whether it held, by which command."""

import argparse
from pathlib import Path

from benchmarks.result import Check, Result, read_results

__all__ = ["main", "table"]

default_folder = Path(__file__).parent / "results"


def table(results: list[Result]) -> str:
    """One row per promise. A quick run says so: its figures are not to be quoted."""
    lines = ["| what | promised | measured | spread | held | command |", "|---|---|---|---|---|---|"]
    lines += [_row(result, check) for result in results for check in result.checks]
    return "\n".join([*lines, "", *(_conditions(result) for result in results)])


def _row(result: Result, check: Check) -> str:
    held = "yes" if check.held else f"**no**, {_apart(check)}"
    measured = f"{check.measured:g} {check.unit}".strip() + (" (quick run)" if result.quick else "")
    promised = f"{check.comparison} {check.target:g} {check.unit}".strip()
    return f"| {check.what} | {promised} | {measured} | {check.spread} | {held} | `{result.command}` |"


def _apart(check: Check) -> str:
    """How far from the target, in words."""
    if not check.target:
        return "0 was promised"
    if not check.measured:
        return "nothing was measured"
    factor = check.measured / check.target if check.comparison == "≤" else check.target / check.measured
    return f"off by {factor:.2f} x"


def _conditions(result: Result) -> str:
    machine = result.machine
    facts = f"{machine['cores']} cores, {machine['cpu']}, kernel {machine['kernel']}, Python {machine['python']}"
    return f"- `{result.benchmark}`: {result.at}, {facts}, load {machine['load_1m']} before it began."


def main() -> None:
    """Print the table of a folder of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=default_folder)
    print(table(read_results(parser.parse_args().folder)))


if __name__ == "__main__":
    main()
