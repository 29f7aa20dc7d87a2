"""`invocations`, `explain`, `status`, `settings`: what calls came to, and why; how the platform is, and can be set."""

from typing import Any

import msgspec

from isotherm.base.settings import describe_settings
from isotherm.cli.client import Client
from isotherm.cli.output import output
from isotherm.cli.times import age, clock, duration

__all__ = ["explain", "list_invocations", "settings", "status"]

_A_MOMENT_MS = 1_000_000_000_000  # more is a moment, less a duration


def list_invocations(client: Client, name: str | None, outcome: str | None, limit: int) -> None:
    """Calls that are recorded in full, the newest first."""
    found = client.invocations(name, outcome, limit)
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    output.table(
        ("ID", "FUNCTION", ">AGE", "SOURCE", "OUTCOME", ">TOOK", "KEPT AS", "COLD", "ERROR"),
        (
            (
                each.id,
                each.name,
                age(each.started_at_ms),
                each.source,
                each.outcome,
                duration(each.total_ms),
                each.why_kept,
                each.cold_cause,
                ": ".join(text for text in (each.error_type, each.error_message) if text),
            )
            for each in found
        ),
        "no recorded calls; kept are those that were cold, failed or slow, and a sample of all others",
    )


def explain(client: Client, invocation: str) -> None:
    """One recorded call: where its time went, why it was cold, and what would have avoided it."""
    found = client.explanation(invocation)
    if output.json:
        output.result(found)
        return
    output.line(str(found.get("summary", "")))
    if found.get("cold"):
        output.line(f"cold: {found['cold']}")
    phases: list[dict[str, Any]] = found.get("phases") or []
    for phase in phases:
        output.line(f"  {phase['name']:<6} {duration(phase['ms']):>8} {phase['share']:>4.0%}  {phase['what']}")
    steps: dict[str, float] = found.get("start_steps_ms") or {}
    if steps:
        output.line("start: " + ", ".join(f"{name} {duration(took)}" for name, took in steps.items()))
    for remedy in found.get("remedies") or []:
        proposed, now = remedy["proposed"], remedy["now"]
        change = f"a {remedy['setting']}" if proposed is None else f"{remedy['setting']} = {proposed} (now {now})"
        output.line(f"try {change}: {remedy['why']}")
    if "gb_s" in found:
        output.line(f"cost: {found['gb_s']:.6f} GB·s, ${found['cost_usd']:.9f} ({found['price']})")


def status(client: Client) -> None:
    """The platform's version, hosts and counts."""
    found = client.status()
    if output.json:
        output.result(found)
        return
    for line in _lines(found, ""):
        output.line(line)


def settings() -> None:
    """Every setting of the platform."""
    found = describe_settings()
    if output.json:
        names = ("name", "variable", "default", "help")
        output.result([dict(zip(names, each, strict=True)) for each in found])
        return
    output.table(("SETTING", "VARIABLE", "DEFAULT", "WHAT IT IS"), found, "no settings")


def _lines(value: Any, indent: str) -> list[str]:
    """Nested values as indented lines."""
    if not isinstance(value, dict):
        return [f"{indent}{value}"]
    lines = []
    for key, inner in value.items():
        label = str(key).replace("_", " ")
        if label.endswith(" ms") and isinstance(inner, int) and inner > _A_MOMENT_MS:
            label, inner = label.removesuffix(" ms"), clock(inner)
        if isinstance(inner, dict) and inner:
            lines += [f"{indent}{label}", *_lines(inner, indent + "  ")]
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            lines.append(f"{indent}{label}")
            for each in inner:
                lines += _lines(each, indent + "  ")
        else:
            lines.append(f"{indent}{label:<20} {'' if inner in (None, [], {}) else inner}")
    return lines
