"""A simulated replay in lines for a person, within 80 columns."""

import textwrap
from collections.abc import Iterator

from isotherm.replay.simulated.outcome import Marks, PolicyOutcome, Simulation

__all__ = ["summarise"]

WIDTH = 80
COLD = ("policy", "cold", "avoidable", "ratio", "95 %", "a call", "waited s")
COST = ("policy", "idle min", "idle GB·s", "busy GB·s", "idle $", "busy $")
RATES = ("policy", "apps p50", "p75", "p90", "p99", "fn p75", "fn p90", "fn p99")


def summarise(simulation: Simulation) -> str:
    """What was replayed, tables with a policy a line, and what their numbers are."""
    what = (
        f"{simulation.trace}: {simulation.invocations:,} calls to {simulation.functions:,} functions in "
        f"{simulation.apps:,} apps over {simulation.minutes:,} minutes; budget {simulation.budget}{_limit(simulation)}"
    )
    policies = simulation.policies
    return "\n".join(
        [
            *textwrap.wrap(what, WIDTH),
            *_table("Cold starts", [COLD, *map(_cold, policies)]),
            *_table("Memory and money", [COST, *map(_cost, policies)]),
            *_table("Cold starts of the calls of an app, and of a function (fn)", [RATES, *map(_rates, policies)]),
            "",
            *(line for note in _notes(simulation) for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ")),
        ]
    )


def _limit(simulation: Simulation) -> str:
    return "" if simulation.budget.startswith("p_cold") else f": {simulation.budget_limit:,.0f} {simulation.idle_unit}"


def _table(title: str, rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    yield from ("", title)
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join((row[0].ljust(widths[0]), *cells)).rstrip()


def _name(each: PolicyOutcome) -> str:
    return each.policy + ("" if each.within_budget else " *")


def _cold(each: PolicyOutcome) -> tuple[str, ...]:
    interval = each.avoidable_to_first_interval
    return (
        _name(each),
        f"{each.cold_starts:,}",
        f"{each.avoidable_cold_starts:,}",
        "" if each.avoidable_to_first is None else f"{each.avoidable_to_first:.3f}",
        "" if interval is None else f"{interval.low:.3f}-{interval.high:.3f}",
        _percent(each.cold_rate, 3),
        f"{each.added_latency_s:,.1f}",
    )


def _cost(each: PolicyOutcome) -> tuple[str, ...]:
    seconds = (each.idle_gb_s, each.busy_gb_s)
    money = (each.idle_usd, each.busy_usd)
    return (_name(each), f"{each.idle_minutes:,.0f}", *(f"{x:,.0f}" for x in seconds), *(f"{x:,.4f}" for x in money))


def _rates(each: PolicyOutcome) -> tuple[str, ...]:
    return (_name(each), *_marks(each.app_cold_rate), *_marks(each.function_cold_rate)[1:])


def _marks(marks: Marks) -> tuple[str, ...]:
    return tuple(_percent(rate, 1) for rate in (marks.p50, marks.p75, marks.p90, marks.p99))


def _percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f}%"


def _notes(simulation: Simulation) -> Iterator[str]:
    yield (
        f"Cold starts, idle minutes and apps' rates by {simulation.granularity}; GB·s, functions' rates, waiting and "
        f"money call by call, a start taking {simulation.start_ms:g} ms."
    )
    yield (
        "avoidable: without an app's first, which is cold under every policy that waits for it. ratio: of the "
        "avoidable ones to those of the first line, with an interval over apps. a call: cold starts to calls."
    )
    if not simulation.memory_known:
        yield "The log has no memory: each instance counts as 0.128 GB."
    if not simulation.durations_known:
        yield "The log has no durations: calls take no time, and nothing is busy but what starts."
    yield f"Prices of {simulation.price}."
    if any(not each.within_budget for each in simulation.policies):
        yield "* spends more than the budget, or has more cold starts."
