"""`ls`, `show`, `versions`, `triggers`, `rollback`, `rm`: functions and their revisions."""

from typing import Any

import msgspec
import typer

from isotherm.base.errors import Invalid
from isotherm.cli.output import output
from isotherm.cli.times import age, duration, moment, size
from isotherm.client import Client
from isotherm.client.model import Revision, State, Trigger, Weight

__all__ = ["list_functions", "remove", "rollback", "show", "triggers", "versions", "weights_text"]

SHOWN_REVISIONS = 100

_SHOWN = (
    ("runtime", "runtime"),
    ("handler", "handler"),
    ("memory_mb", "memory, MB"),
    ("cpus", "CPUs"),
    ("timeout_s", "time limit, s"),
    ("concurrency", "concurrency"),
    ("dispatch", "dispatch"),
    ("isolation", "isolation"),
)


def list_functions(client: Client, limit: int) -> None:
    """One line for each function of the namespace."""
    found = list(client.functions.list(limit))
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    output.table(
        ("NAME", "LIVE", "LATEST", ">MEMORY", ">AGE", "URL"),
        ((each.name, weights_text(each.live), *_latest(each.latest), each.url) for each in found),
        f"no functions in {client.namespace}; `isotherm init` and `isotherm deploy` make one",
    )


def show(client: Client, name: str) -> None:
    """One function: what it is, where it is reached, and what runs of it now."""
    function = client.functions.get(name)
    if output.json:
        output.result(msgspec.to_builtins(function))
        return
    output.line(f"{function.namespace}/{function.name}  {function.url}")
    output.line(f"  live            {weights_text(function.live) or 'nothing yet'}")
    output.line(f"  open to         {'everybody' if function.public else 'holders of a key'}")
    latest = function.latest
    if latest is not None:
        output.line(f"  latest          revision {latest.number}, {latest.state}, {age(latest.created_at_ms)} ago")
        for key, label in _SHOWN:
            output.line(f"  {label:<15} {latest.config.get(key)}")
        output.line(f"  warmth          {_warmth_text(latest.config.get('warm') or {})}")
        _show_lists(latest)
    numbers = {each.id: each.number for each in client.revisions.list(name, SHOWN_REVISIONS)} if function.states else {}
    for state in function.states:
        which = f"revision {numbers[state.revision_id]}: " if state.revision_id in numbers else ""
        output.line(f"  now             {which}{_state_text(state)}")
        if state.outdated is not None:
            output.line(f"  former secrets  {which}{state.outdated}")


def versions(client: Client, name: str, limit: int) -> None:
    """The revisions, newest first."""
    found = list(client.revisions.list(name, limit))
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    live = {each.number: each.weight for each in client.functions.get(name).live}
    output.table(
        (">REVISION", "STATE", "LIVE", ">READY AFTER", ">AGE", "TEMPLATE", "PACKAGE"),
        (
            (
                each.number,
                each.state,
                f"{live[each.number]:.0%}" if each.number in live else "",
                duration(each.ready_after_ms),
                age(each.created_at_ms),
                {True: "yes", False: "no", None: ""}[each.template],
                str(each.config.get("package", ""))[:12],
            )
            for each in found
        ),
        f"{name} has no revisions",
    )


def rollback(client: Client, name: str, to: int | None) -> None:
    """Point `live` at an earlier revision."""
    alias = client.functions.rollback(name, to)
    if output.json:
        output.result(msgspec.to_builtins(alias))
        return
    output.line(f"{name}: live is now {weights_text(alias.weights)}")


def remove(client: Client, name: str, yes: bool) -> None:
    """Delete a function with all its revisions, after a question where a person is asked."""
    if not yes and not output.json:
        if not output.live:
            raise Invalid(f"rm {name}: nobody is there to ask; pass --yes")
        typer.confirm(f"Delete {client.namespace}/{name} with all its revisions?", abort=True, err=True)
    client.functions.delete(name)
    if output.json:
        output.result({"deleted": name})
        return
    output.line(f"deleted {name}")


def triggers(client: Client, name: str) -> None:
    """What calls the function by itself."""
    found = client.functions.triggers(name)
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    output.table(
        ("TRIGGER", "KIND", "WHEN", "NEXT", "CALLS"),
        ((each.name, each.kind, _when(each), _next(each), each.target) for each in found),
        f"nothing calls {name}: no revision of it is live",
    )


def _when(trigger: Trigger) -> str:
    if trigger.cron is None:
        return trigger.url or ""
    return f"{trigger.cron['schedule']} ({trigger.cron['timezone']})"


def _next(trigger: Trigger) -> str:
    if trigger.cron is None:
        return ""
    return moment(trigger.next_at_ms[0]) if trigger.next_at_ms else "not enabled"


def weights_text(weights: list[Weight]) -> str:
    """`3`, or `3 (90%), 4 (10%)`."""
    if len(weights) == 1:
        return str(weights[0].number)
    return ", ".join(f"{each.number} ({each.weight:.0%})" for each in weights)


def _latest(latest: Revision | None) -> tuple[str, str, str]:
    if latest is None:
        return "", "", ""
    return f"{latest.number} {latest.state}", f"{latest.config.get('memory_mb', '')} MB", age(latest.created_at_ms)


def _show_lists(latest: Revision) -> None:
    output.line(f"  egress          {_egress_text(latest.config.get('egress'))}")
    env: Any = latest.config.get("env") or {}
    if env:
        output.line(f"  env             {', '.join(sorted(env))}")
    secrets: Any = latest.config.get("secrets") or {}
    if secrets:
        output.line(f"  secrets         {', '.join(f'{name} = {secrets[name]}' for name in sorted(secrets))}")
    if latest.template is not None:
        output.line(f"  template        {'yes' if latest.template else 'no: ' + '; '.join(latest.unfit)}")
    if latest.problem is not None:
        output.line(f"  problem         {latest.problem.get('detail') or latest.problem.get('title')}")


def _warmth_text(warm: dict[str, Any]) -> str:
    """By what it is kept warm, on one line."""
    kept = f"{warm.get('min_instances', 0)} to {warm.get('max_instances', '')} instances"
    if warm.get("policy") == "keep_alive":
        return f"{kept}, each kept {warm.get('keep_alive_s', 0):g} s (policy keep_alive)"
    return f"{kept}, policy foresight, budget {warm.get('budget') or 'of the namespace or the platform'}"


def _egress_text(egress: Any) -> str:
    """The rules on one line; a word where it is one."""
    if isinstance(egress, dict):
        return ", ".join([*egress.get("hosts", []), *egress.get("cidrs", [])])
    return str(egress)


def _state_text(state: State) -> str:
    temperatures = ", ".join(f"{count} {name}" for name, count in state.temperatures.items() if count)
    queued = f", {state.queued} waiting" if state.queued else ""
    return f"{temperatures or 'cold'}, {size(state.memory_bytes)}, {state.cpu_s:.1f} s of CPU{queued}"
