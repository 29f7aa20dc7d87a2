"""`invocations`, `explain`, `status`, `settings`: what calls came to, and why; how the platform is, and can be set."""

from typing import Any

import msgspec

from isotherm.base.settings import describe_settings
from isotherm.cli.output import output
from isotherm.cli.times import age, clock, duration
from isotherm.client import Client

__all__ = ["explain", "list_invocations", "settings", "status"]

_A_MOMENT_MS = 1_000_000_000_000  # more is a moment, less a duration


def list_invocations(client: Client, name: str | None, outcome: str | None, limit: int) -> None:
    """Calls that are recorded in full, the newest first."""
    found = list(client.invocations.list(name, outcome=outcome, limit=limit))
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
    found = client.invocations.explain(invocation)
    if output.json:
        output.result(msgspec.to_builtins(found))
        return
    output.line(found.summary)
    if found.cold:
        output.line(f"cold: {found.cold}")
    for phase in found.phases:
        output.line(f"  {phase.name:<6} {duration(phase.ms):>8} {phase.share:>4.0%}  {phase.what}")
    if found.start_steps_ms:
        output.line("start: " + ", ".join(f"{name} {duration(took)}" for name, took in found.start_steps_ms.items()))
    if found.decision is not None:
        output.line(f"decided: {found.decision.summary}")
    for remedy in found.remedies:
        change = f"{remedy.setting} = {remedy.proposed} (now {remedy.now})"
        output.line(f"try {f'a {remedy.setting}' if remedy.proposed is None else change}: {remedy.why}")
    if found.gb_s is not None:
        output.line(f"cost: {found.gb_s:.6f} GB·s, ${found.cost_usd or 0.0:.9f} ({found.price})")


def status(client: Client) -> None:
    """The platform's version, hosts and counts."""
    found = msgspec.to_builtins(client.platform.status())
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
