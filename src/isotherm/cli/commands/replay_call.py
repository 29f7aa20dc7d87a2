"""`isotherm replay-call`: a recorded call made again, on its own revision and on another, and the answers compared."""

import contextlib
import difflib
import sys
from typing import Any

import msgspec
import typer

from isotherm.base.errors import Conflict, FunctionFailed, Invalid, NotFound, TimedOut
from isotherm.cli.compare import differences, side_by_side, without
from isotherm.cli.output import output
from isotherm.cli.testing.command import outcome_of
from isotherm.cli.testing.judge import Outcome
from isotherm.cli.times import duration
from isotherm.client import Client

__all__ = ["run"]

DIFFERENT = 1
REVISIONS = 1000  # looked through for the one of the call


class _Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """The call as it was."""

    name: str
    event: bytes
    number: int | None  # of its revision; None where that is gone, or not known
    outcome: str
    error_type: str | None
    run_ms: float | None


class _Ran(msgspec.Struct, frozen=True, kw_only=True):
    """One of the calls that were made now."""

    qualifier: str
    version: str
    outcome: Outcome


def run(client: Client, call: str, revision: str | None, ignore: list[str], *, logs: bool, yes: bool) -> int:
    """The exit code: 0 where the answers are alike, 1 where not.

    Raises `NotFound` where the call or its event was not kept, `Conflict` where there are no two revisions to compare.
    """
    for place in ignore:
        if not place.startswith("/"):
            raise Invalid(f"--ignore {place}: expected a place in the answer, such as /request_id")
    recorded = _recorded(client, call)
    _confirm(recorded.name, yes)
    own = _own(client, recorded, revision)
    other = _call(client, recorded, revision or "live")
    if own is None:
        output.note(
            "there is no other revision to run it on: compared with what was recorded, which has no answer in it"
        )
    first = own.outcome if own is not None else _as_recorded(recorded)
    found = _compare(first, other.outcome, ignore, answers=own is not None)
    log = _log_differences(first, other.outcome) if own is not None else []
    unlike = bool(found) or (logs and bool(log))
    if output.json:
        output.result(
            {
                "call": call,
                "name": recorded.name,
                "recorded": {"outcome": recorded.outcome, "error_type": recorded.error_type, "run_ms": recorded.run_ms},
                "first": None if own is None else _shown(own),
                "second": _shown(other),
                "differences": found,
                "log": log,
                "alike": not unlike,
            }
        )
    else:
        _print(recorded, own, other, found, log, unlike=unlike)
    return DIFFERENT if unlike else 0


def _recorded(client: Client, call: str) -> _Recorded:
    """By a call's request id, or the id of an asynchronous one."""
    try:
        record = client.invocations.get(call)
    except NotFound as unknown:
        return _queued(client, call, unknown)
    event = _event(client, call, record.source)
    revisions = client.revisions.list(record.name, REVISIONS)
    return _Recorded(
        name=record.name,
        event=event,
        number=next((each.number for each in revisions if each.id == record.revision_id), None),
        outcome=record.outcome,
        error_type=record.error_type,
        run_ms=record.run_ms,
    )


def _event(client: Client, call: str, source: str) -> bytes:
    """Raises `NotFound` where neither the records nor the queue have it."""
    try:
        return client.invocations.event(call)
    except NotFound:
        if source not in ("url", "invoke"):
            with contextlib.suppress(NotFound):
                return msgspec.json.encode(client.calls.get(call).event)
        raise


def _queued(client: Client, call: str, unknown: NotFound) -> _Recorded:
    """An asynchronous call that waits, or of which no record is there any more. Raises `unknown` where it is none."""
    try:
        detail = client.calls.get(call)
    except NotFound:
        raise unknown from None
    return _Recorded(
        name=detail.call.name,
        event=msgspec.json.encode(detail.event),
        number=None,
        outcome=detail.call.state,
        error_type=detail.call.error_type,
        run_ms=None,
    )


def _confirm(name: str, yes: bool) -> None:
    """The handler runs for real, as it did then: it may send, pay and delete. Raises `Invalid` where nobody agrees."""
    if yes:
        return
    question = f"{name} runs again with this event, twice, and whatever it does outside it does again; go on?"
    if output.json or not sys.stdin.isatty():
        raise Invalid("replay-call makes the handler run again, side effects too: pass --yes where that may be")
    if not typer.confirm(question, err=True):
        raise Invalid("not replayed")


def _own(client: Client, recorded: _Recorded, revision: str | None) -> _Ran | None:
    """On the revision that had the call; None where that is gone, or is the one to compare with anyhow."""
    if recorded.number is None:
        return None
    if revision is None or not revision.isdigit():
        same = [
            (weight.number, weight.weight) for weight in client.aliases.get(recorded.name, revision or "live").weights
        ]
        if same == [(recorded.number, 1.0)]:
            return None
    elif int(revision) == recorded.number:
        return None
    try:
        return _call(client, recorded, str(recorded.number))
    except Conflict:
        return None


def _call(client: Client, recorded: _Recorded, qualifier: str) -> _Ran:
    try:
        answer = client.functions.invoke(recorded.name, recorded.event, qualifier=qualifier, tail=True, check=False)
    except (FunctionFailed, TimedOut) as error:
        outcome = Outcome(answer=None, error_type=type(error).__name__, error_message=error.message)
        return _Ran(qualifier=qualifier, version=qualifier, outcome=outcome)
    except NotFound as exc:
        raise Conflict(
            f"revision {qualifier} of {recorded.name} takes no calls any more ({exc.message}); "
            f"`isotherm versions {recorded.name}` shows those that do"
        ) from exc
    return _Ran(qualifier=qualifier, version=answer.version or qualifier, outcome=outcome_of(answer))


def _as_recorded(recorded: _Recorded) -> Outcome:
    """What is known of an answer that was not kept."""
    error = None if recorded.outcome in ("ok", "succeeded", "queued", "claimed") else recorded.error_type or "an error"
    return Outcome(answer=None, error_type=error, run_ms=recorded.run_ms or 0.0)


def _compare(first: Outcome, second: Outcome, ignore: list[str], *, answers: bool) -> list[str]:
    """Why they are unlike. `answers` False: the answer of the first is not known."""
    if first.error_type != second.error_type:
        return [f"status: {_status(first)} before, {_status(second)} now"]
    if first.error_type is not None:
        same = first.error_message == second.error_message or not answers
        return [] if same else [f"error message: {first.error_message!r} before, {second.error_message!r} now"]
    if not answers:
        return []
    found = without(differences(first.answer, second.answer), ignore)
    return [str(each).replace(": expected ", ": ").replace(", got ", " before, ") + " now" for each in found]


def _log_differences(first: Outcome, second: Outcome) -> list[str]:
    lines = difflib.unified_diff(first.log.splitlines(), second.log.splitlines(), lineterm="", n=0)
    return [line for line in list(lines)[2:] if not line.startswith("@@")]


def _status(outcome: Outcome) -> str:
    return "answered" if outcome.error_type is None else f"failed with {outcome.error_type}"


def _shown(ran: _Ran) -> dict[str, Any]:
    made: dict[str, Any] = {"qualifier": ran.qualifier, "version": ran.version} | msgspec.to_builtins(ran.outcome)
    return made


def _print(
    recorded: _Recorded, own: _Ran | None, other: _Ran, found: list[str], log: list[str], *, unlike: bool
) -> None:
    rows = [("recorded", "" if recorded.number is None else str(recorded.number), recorded.outcome, recorded.run_ms)]
    for which, ran in (("again", own), ("against", other)):
        if ran is not None:
            rows.append((which, ran.version, _status(ran.outcome), ran.outcome.run_ms))
    output.table(["", ">REVISION", "OUTCOME", ">RAN"], [(*row[:3], duration(row[3])) for row in rows], "")
    for line in found:
        output.line(line)
    if found and own is not None and own.outcome.error_type is None and other.outcome.error_type is None:
        for line in side_by_side(own.outcome.answer, other.outcome.answer):
            output.line(line)
    if log:
        output.line("log:")
        for line in log:
            output.line(f"  {line}")
    output.line("the answers differ" if unlike else "no difference")
