"""`isotherm rollout`: begin one, see it, steer it, follow it to its end."""

from typing import Any

import msgspec

from isotherm.base.errors import NotFound, RolledBack
from isotherm.cli.output import output
from isotherm.cli.steps import Steps, steps_for
from isotherm.cli.times import age, duration
from isotherm.client import Client
from isotherm.client.model import Rollout, Sample

__all__ = ["find", "follow", "list_rollouts", "start", "status", "steer", "summary"]

_WHY = {
    "errors": "it failed more often",
    "latency": "it was slower",
    "quiet": "too few calls came",
    "start": "no host could start it",
    "asked": "somebody asked",
}


def start(client: Client, name: str, revision: int, alias: str, plan: dict[str, Any], watch: bool) -> None:
    """Begin a rollout, and follow it where that was asked for."""
    made = client.rollouts.start(name, revision, alias=alias, plan=plan)
    _show(follow(client, name, made) if watch else made)


def status(client: Client, name: str, rollout_id: str | None, alias: str, watch: bool) -> None:
    """One rollout: the named one, or the newest of the alias."""
    found = client.rollouts.get(name, rollout_id) if rollout_id else find(client, name, alias)
    _show(follow(client, name, found) if watch else found)


def list_rollouts(client: Client, name: str, limit: int) -> None:
    found = list(client.rollouts.list(name, limit))
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    output.table(
        ("ID", "ALIAS", "FROM", "TO", "STRATEGY", "STATE", ">AGE"),
        (
            (each.id, each.alias, each.before, each.to, each.plan["strategy"], _state(each), _age(each))
            for each in found
        ),
        f"{name} has had no rollout",
    )


def steer(client: Client, name: str, alias: str, verb: str) -> None:
    """Pause, resume or abort the newest rollout of the alias."""
    verbs = {"pause": client.rollouts.pause, "resume": client.rollouts.resume, "abort": client.rollouts.abort}
    _show(verbs[verb](name, find(client, name, alias).id))


def find(client: Client, name: str, alias: str) -> Rollout:
    """The newest of an alias. Raises `NotFound`."""
    found = next((each for each in client.rollouts.list(name, 100) if each.alias == alias), None)
    if found is None:
        raise NotFound(
            f"the alias {alias!r} of {name} has had no rollout; `isotherm rollout {name} REVISION` begins one"
        )
    return found


def follow(client: Client, name: str, rollout: Rollout) -> Rollout:
    """To its end, saying each step as it comes. Raises `RolledBack` with the evidence."""
    with steps_for(output) as steps:
        _say(rollout, steps)
        if rollout.state == "open":
            for looked in client.rollouts.watch(name, rollout.id):
                rollout = looked
                _say(rollout, steps)
    if rollout.state == "rolled_back":
        why = "; ".join([_WHY.get(rollout.rule or "", "no reason"), *(line.strip() for line in _evidence(rollout))])
        raise RolledBack(
            f"{name}: {rollout.alias} is back at revision {rollout.before}: {why}",
            rollout_id=rollout.id,
            rule=rollout.rule,
            reading=msgspec.to_builtins(rollout.reading),
        )
    return rollout


def summary(rollout: Rollout) -> str:
    """In one line."""
    return (
        f"{rollout.alias} of revision {rollout.before} to {rollout.to}, {rollout.plan['strategy']}: {_state(rollout)}"
    )


def _show(rollout: Rollout) -> None:
    if output.json:
        output.result(msgspec.to_builtins(rollout))
        return
    output.line(f"{rollout.id}  {summary(rollout)}")
    for line in _evidence(rollout):
        output.line(line)


def _say(rollout: Rollout, steps: Steps) -> None:
    if rollout.step:
        steps.done(
            f"  step {rollout.step} of {rollout.steps}: revision {rollout.to} has {rollout.percent:g} % of the calls"
        )
    calls = "" if rollout.reading is None else f", {rollout.reading.new.calls} calls"
    if rollout.state == "open" and steps.live:
        steps.now(f"  {_state(rollout)}{calls}")


def _state(rollout: Rollout) -> str:
    if rollout.state == "rolled_back":
        return f"rolled back: {_WHY.get(rollout.rule or '', 'no reason')}"
    if rollout.state == "finished":
        return "finished"
    paused = ", paused" if rollout.paused else ""
    if not rollout.step:
        return f"about to begin{paused}"
    return f"step {rollout.step} of {rollout.steps}, {rollout.percent:g} % of the calls{paused}"


def _evidence(rollout: Rollout) -> list[str]:
    reading = rollout.reading
    if reading is None:
        return []
    seen = f"errors {reading.error_e:.3g}, latency {reading.latency_e:.3g}"
    lines = [
        _sample_line(f"revision {rollout.before}", reading.old),
        _sample_line(f"revision {rollout.to}", reading.new),
        f"  evidence that it is worse: {seen}; rolled back at {reading.threshold:g}",
    ]
    if reading.slower_ms is not None and reading.latency_e > 1:
        lines.append(f"  it stands out by calls that take longer than {duration(reading.slower_ms)}")
    return lines


def _sample_line(label: str, sample: Sample) -> str:
    p95 = "" if sample.p95_ms is None else f", p95 at most {duration(sample.p95_ms)}"
    return f"  {label}: {sample.calls} calls, {sample.errors} failed ({sample.error_rate:.1%}){p95}"


def _age(rollout: Rollout) -> str:
    return age(rollout.created_at_ms)
