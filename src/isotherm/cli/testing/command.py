"""`isotherm test`: a folder's own events, against its code in a real sandbox, by a function that goes afterwards."""

import contextlib
import json
import re
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from isotherm.base.errors import FunctionFailed, NotFound, TimedOut
from isotherm.cli.dev.build import Builder
from isotherm.cli.dev.local import some_platform
from isotherm.cli.output import output
from isotherm.cli.steps import steps_for
from isotherm.cli.testing.cases import Case, find_cases
from isotherm.cli.testing.judge import Outcome, judge
from isotherm.cli.testing.report import Verdict, show, summary, write_junit
from isotherm.client import Client
from isotherm.client.model import Answer
from isotherm.functions.manifest import MANIFEST, read_manifest

__all__ = ["outcome_of", "run"]

FAILED = 1
_frame = re.compile(r"(START|END|REPORT) RequestId: ")
_run = re.compile(r"run;dur=([0-9.]+)")


def run(
    folder: Path,
    only: str | None,
    junit: Path | None,
    namespace: str | None,
    *,
    private: bool,
    allow_unisolated: bool,
) -> int:
    """The exit code: 0 where all came out as expected, 1 where not. Raises why nothing could be tried."""
    folder = folder.resolve()
    manifest = read_manifest(folder / MANIFEST)
    cases = find_cases(folder, only)
    with (
        some_platform(namespace, private=private, allow_unisolated=allow_unisolated) as (client, _),
        _ended_by_signals(),
    ):
        began = time.monotonic()
        name = f"{manifest.name[:47].rstrip('-')}-test-{secrets.token_hex(3)}"
        builder = Builder(client, folder, name)
        try:
            with steps_for(output) as steps:
                builder.build(steps)
            verdicts = _run_all(client, name, cases, folder)
        finally:
            with contextlib.suppress(NotFound):
                builder.remove()
    took_s = time.monotonic() - began
    if junit is not None:
        write_junit(junit, manifest.name, verdicts, took_s)
    if output.json:
        passed = sum(each.passed for each in verdicts)
        counts = {"passed": passed, "failed": len(verdicts) - passed, "took_s": took_s}
        cases_json = [msgspec.to_builtins(each) | {"passed": each.passed} for each in verdicts]
        output.result({"name": manifest.name, **counts, "cases": cases_json})
    else:
        summary(verdicts, took_s)
    return 0 if all(each.passed for each in verdicts) else FAILED


def _run_all(client: Client, name: str, cases: list[Case], folder: Path) -> list[Verdict]:
    verdicts = []
    for number, case in enumerate(cases, 1):
        verdict = _run_one(client, name, case, folder)
        show(verdict, number, len(cases))
        verdicts.append(verdict)
    return verdicts


def _run_one(client: Client, name: str, case: Case, folder: Path) -> Verdict:
    began = time.monotonic()
    request_id = ""
    try:
        answer = client.functions.invoke(name, case.event, tail=True, check=False)
        request_id, outcome = answer.request_id, outcome_of(answer)
    except (FunctionFailed, TimedOut) as error:  # the instance could not answer
        request_id = error.request_id or ""
        outcome = Outcome(answer=None, error_type=type(error).__name__, error_message=error.message)
    total_ms = (time.monotonic() - began) * 1000
    return Verdict(
        name=case.name,
        file=str(Path(case.file).relative_to(folder)),
        problems=judge(case.expectation, outcome),
        run_ms=outcome.run_ms,
        total_ms=total_ms,
        request_id=request_id,
        log=outcome.log,
    )


def outcome_of(answer: Answer) -> Outcome:
    """What an Invoke came to, without what Lambda's log adds of its own."""
    try:
        value = json.loads(answer.payload)
    except ValueError:
        value = answer.payload.decode("utf-8", "replace")
    took = _run.search(answer.timing)
    lines = (answer.log or "").splitlines(keepends=True)
    log = "".join(line for line in lines if not _frame.match(line))
    run_ms = 0.0 if took is None else float(took[1])
    if answer.error is None:
        return Outcome(answer=value, run_ms=run_ms, log=log)
    fields = value if isinstance(value, dict) else {"errorMessage": str(value)}
    return Outcome(
        answer=None,
        error_type=str(fields.get("errorType", "Error")),
        error_message=str(fields.get("errorMessage", "")),
        run_ms=run_ms,
        log=log,
    )


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM, too, lets the function be deleted."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
