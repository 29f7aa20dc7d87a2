"""`isotherm queue`: what waits, what became of a call, and steering."""

import json
import time
from typing import Any, Literal

import msgspec
import typer

from isotherm.base.errors import FunctionFailed, Invalid
from isotherm.cli.output import output
from isotherm.cli.times import age, size
from isotherm.client import Client
from isotherm.client.model import CallDetail, QueuedCall

__all__ = ["list_calls", "list_queues", "purge", "redrive", "show", "steer"]

WAIT_S = 14 * 86400.0  # no call is tried for longer
Steering = Literal["pause", "resume"]


def list_queues(client: Client) -> None:
    """Every function that has asynchronous calls."""
    found = client.queues.show()
    if output.json:
        output.result(msgspec.to_builtins(found))
        return
    output.table(
        ("FUNCTION", ">QUEUED", ">RUNNING", ">SUCCEEDED", ">DEAD", "OLDEST", "STATE"),
        (
            (
                queue.name, queue.queued, queue.running, queue.succeeded, queue.dead, age(queue.oldest_ms),
                "paused" if queue.paused else "",
            )
            for queue in found.queues
        ),
        f"no asynchronous calls in {client.namespace}",
    )  # fmt: skip
    output.line(f"{size(found.used_bytes)} of {size(found.limit_bytes)} used")


def list_calls(client: Client, name: str | None, state: str | None, limit: int) -> None:
    """The newest first."""
    found = list(client.calls.list(name, state=state, limit=limit))
    if output.json:
        output.result({"items": msgspec.to_builtins(found)})
        return
    output.table(
        ("ID", "FUNCTION", "STATE", "AGE", ">ATTEMPTS", "SOURCE", "WHY"),
        (
            (call.id, call.name, call.state, age(call.accepted_at_ms), call.attempts, call.source, _why(call))
            for call in found
        ),
        "no asynchronous calls",
    )


def show(client: Client, call_id: str, *, wait: bool) -> None:
    """One call; exits 1 where it is a dead letter."""
    found = client.calls.wait(call_id, WAIT_S, check=False) if wait else client.calls.get(call_id)
    if output.json:
        output.result(msgspec.to_builtins(found))
    else:
        _print(found)
    if found.call.state == "dead":
        raise SystemExit(FunctionFailed.exit_code)


def steer(client: Client, name: str, action: Steering, done: str) -> None:
    """Pause or resume."""
    changed = client.queues.pause(name) if action == "pause" else client.queues.resume(name)
    if output.json:
        output.result(msgspec.to_builtins(changed))
        return
    output.line(f"asynchronous calls of {name} are {done}")


def purge(client: Client, name: str, *, dead: bool, yes: bool) -> None:
    """Asks first, where somebody is there to ask."""
    what = "dead letters" if dead else "calls that wait"
    if not yes and not output.json:
        if not output.live:
            raise Invalid(f"queue purge {name}: nobody is there to ask; pass --yes")
        typer.confirm(f"Delete all {what} of {client.namespace}/{name}?", abort=True, err=True)
    changed = client.queues.purge(name, "dead" if dead else "queued")
    if output.json:
        output.result(msgspec.to_builtins(changed))
        return
    output.line(f"deleted {changed.count} {what}")


def redrive(client: Client, name: str, ids: list[str] | None) -> None:
    """Prints the ids of the new calls."""
    changed = client.queues.redrive(name, ids)
    if output.json:
        output.result(msgspec.to_builtins(changed))
        return
    output.line(f"{changed.count} dead letters are called again")
    for one in changed.ids:
        output.line(f"  {one}")


def _why(call: QueuedCall) -> str:
    if call.condition in (None, "", "Success"):
        return call.error_message or ""
    return f"{call.condition}: {call.error_type}: {call.error_message}" if call.error_type else str(call.condition)


def _print(found: CallDetail) -> None:
    call = found.call
    qualifier = f":{call.qualifier}" if call.qualifier else ""
    output.line(f"{call.id}  {call.namespace}/{call.name}{qualifier}  {call.state}")
    output.line(f"  accepted        {age(call.accepted_at_ms)} ago, by {call.source}")
    if call.finished_at_ms is not None:
        output.line(f"  over            {age(call.finished_at_ms)} ago")
    elif call.attempts:
        wait_s = max(0.0, (call.due_at_ms - time.time() * 1000) / 1000)
        output.line(f"  next attempt    in {wait_s:.0f} s")
    output.line(f"  failed attempts {call.attempts}")
    if _why(call):
        output.line(f"  why             {_why(call)}")
    if call.origin:
        output.line(f"  comes of        {call.origin}")
    if call.redriven_to:
        output.line(f"  redriven to     {call.redriven_to}")
    output.line(f"  event           {_json(found.event)}")
    if call.state == "succeeded":
        output.line(f"  result          {_json(found.result)}")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
