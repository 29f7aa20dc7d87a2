"""`decisions`, `warmth`: what the policy decided about warmth, and what it thinks now."""

import msgspec

from isotherm.cli.output import output
from isotherm.cli.times import age, clock
from isotherm.client import Client
from isotherm.client.warmth import Receipt, Warmth, WarmthSummary

__all__ = ["list_decisions", "show", "show_platform"]

REAL_MINUTE_S = 60.0


def list_decisions(client: Client, name: str, limit: int) -> None:
    """One line for each decision, the newest first."""
    found = list(client.warming.decisions(name, limit=limit))
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    output.table(
        (">AGE", "WAITS", "BEFORE", "WHY", ">P(CALL)", ">CALLS", ">PRICE", "AGAIN", "BUDGET"),
        (
            (
                age(each.at_ms),
                _rung(each.rung, each.instances),
                _rung(each.former_rung, each.former_instances),
                each.reason,
                _percent(each.expected),
                f"{each.calls:.3g}",
                f"{each.price:.3g}",
                None if each.again_ms is None else clock(each.again_ms),
                each.budget,
            )
            for each in found
        ),
        f"no decisions about {name} are kept; `isotherm warmth {name}` says who decides about it",
    )


def show(client: Client, name: str) -> None:
    """What the policy thinks of one function."""
    view = client.warming.get(name)
    if output.json:
        output.result(msgspec.to_builtins(view))
        return
    output.line(f"{view.namespace}/{view.name}  {view.policy}: {view.why}")
    for label, text in _lines(view):
        output.line(f"  {label:<15} {text}")


def show_platform(client: Client) -> None:
    """All workloads together."""
    summary = client.warming.platform()
    if output.json:
        output.result(msgspec.to_builtins(summary))
        return
    output.line(f"{summary.policy}: {summary.why}")
    for label, text in _totals(summary):
        output.line(f"  {label:<15} {text}")


def _lines(view: Warmth) -> list[tuple[str, str]]:
    found = []
    if view.rung is not None:
        found.append(("waits", _rung(view.rung, view.instances or 0)))
    if view.again_ms is not None:
        found.append(("warm again", clock(view.again_ms)))
    if view.expected is not None:
        found.append(("next minute", f"a call with {_percent(view.expected)}{_calls(view)}"))
    if view.budget is not None:
        found.append(("budget", view.budget))
    if view.price is not None:
        found.append(("price", _price(view.price)))
    if view.last_receipt is not None:
        found.append(("last decision", _decided(view.last_receipt)))
    return found + _quality(view.quality)


def _totals(summary: WarmthSummary) -> list[tuple[str, str]]:
    found = [] if summary.at_ms is None else [("decided", f"{age(summary.at_ms)} ago")]
    found += [(rung, f"{count} workload{'' if count == 1 else 's'}") for rung, count in summary.workloads.items()]
    if summary.minute_s is not None and summary.minute_s != REAL_MINUTE_S:
        found.append(("a minute", f"{summary.minute_s:g} s"))
    if summary.idle_gb is not None:
        found.append(("held idle", f"{summary.idle_gb:.3g} GB"))
    if summary.spent_gb_h is not None:
        found.append(("spent today", f"{summary.spent_gb_h:.3g} GB·h"))
    if summary.budget is not None:
        found.append(("budget", summary.budget))
    if summary.price is not None:
        found.append(("price", _price(summary.price)))
    if summary.avoided is not None:
        found.append(("avoided today", f"{summary.avoided:.3g} cold starts that keep-alives would have had"))
    return found + _quality(summary.quality)


def _rung(rung: str, instances: int) -> str:
    return f"{instances} warm" if rung == "warm" else rung


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _calls(view: Warmth) -> str:
    if view.calls_mean is None:
        return ""
    high = "" if view.calls_high is None else f", at most {view.calls_high:.3g} in 95 of 100"
    return f"; {view.calls_mean:.3g} calls on the mean{high}"


def _price(price: float) -> str:
    return f"{price:.3g} cold starts a GB·minute"


def _decided(receipt: Receipt) -> str:
    before = _rung(receipt.former_rung, receipt.former_instances)
    return f"{age(receipt.at_ms)} ago: {before} to {_rung(receipt.rung, receipt.instances)}, {receipt.reason}"


def _quality(quality: dict[str, float]) -> list[tuple[str, str]]:
    """A line for each lead of which some forecasts have been judged; a measure ends with its lead, in minutes."""
    found = []
    for name, judged in quality.items():
        measure, _, lead = name.rpartition("_")
        if measure == "judged" and judged:
            own = {key.removesuffix(f"_{lead}"): value for key, value in quality.items() if key.endswith(f"_{lead}")}
            found.append((f"{lead} min ahead", ", ".join(f"{key} {value:.3g}" for key, value in own.items())))
    return found
