"""`isotherm quotas`: what namespaces may use, and what they use."""

import msgspec

from isotherm.base.errors import Invalid
from isotherm.cli.output import output
from isotherm.client import Client
from isotherm.client.model import Quota

__all__ = ["change", "list_quotas", "show", "use_text"]

_whole = frozenset(("instances", "memory_mb", "burst", "disk_mb", "log_mb"))
_labels = {
    "instances": "instances",
    "memory_mb": "memory, MB",
    "rate_per_s": "calls a second",
    "burst": "burst",
    "disk_mb": "disk, MB",
    "log_mb": "logs kept, MB",
    "log_kb_per_s": "logs a second, KB",
    "warm_budget": "warmth",
}
_columns = ("instances", "memory_mb", "rate_per_s", "disk_mb", "log_mb")


def change(client: Client, namespace: str, given: dict[str, str]) -> None:
    """Set the limits that were given and leave the others; nothing is lost where another does the same meanwhile."""
    if not given:
        raise Invalid("quotas set: say what to set, such as --instances 20, or --instances none")
    changes = {name: _parsed(name, text) for name, text in given.items()}
    _print(client.quotas.change(changes, namespace))


def show(client: Client, namespace: str) -> None:
    _print(client.quotas.get(namespace))


def list_quotas(client: Client) -> None:
    found = list(client.quotas.list())
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    output.table(
        ("NAMESPACE", ">INSTANCES", ">MEMORY, MB", ">CALLS/S", ">DISK, MB", ">LOGS, MB"),
        ((each.namespace, *(use_text(each, name) for name in _columns)) for each in found),
        "no namespaces",
    )


def use_text(quota: Quota, name: str) -> str:
    """`3 of 20`; `3` where there is no limit."""
    used, limit = quota.use.get(name), quota.limits.get(name)
    shown = f"{used:g}" if isinstance(used, (int, float)) else ""
    return shown if limit is None else f"{shown} of {_shown(limit)}".strip()


def _shown(limit: float | str) -> str:
    return limit if isinstance(limit, str) else f"{limit:g}"


def _parsed(name: str, text: str) -> float | str | None:
    if text == "none":
        return None
    if name == "warm_budget":
        return text
    try:
        return int(text) if name in _whole else float(text)
    except ValueError as exc:
        kind = "a whole number" if name in _whole else "a number"
        raise Invalid(f"{name}: expected {kind} or none, got {text!r}", key=name) from exc


def _print(quota: Quota) -> None:
    if output.json:
        output.result(msgspec.to_builtins(quota))
        return
    output.line(quota.namespace)
    for name, label in _labels.items():
        limit = quota.limits.get(name)
        if name not in quota.use:
            none = "shares the platform's budget" if name == "warm_budget" else "no limit"
            text = none if limit is None else _shown(limit)
        else:
            text = use_text(quota, name) + (", no limit" if limit is None else "")
        output.line(f"  {label:<18} {text}{'' if limit is None or quota.own.get(name) else ' (default)'}")
    for name, count in sorted(quota.refused.items()):
        output.line(f"  refused for {name}: {count}")
