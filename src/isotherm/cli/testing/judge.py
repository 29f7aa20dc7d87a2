"""Whether a call came out as expected, and if not, why. Pure."""

import json
import re
from typing import Any

import msgspec
from msgspec import UNSET

from isotherm.cli.compare import MISSING, at, differences, lacking, side_by_side
from isotherm.cli.testing.cases import ErrorExpectation, Expectation

__all__ = ["Outcome", "judge"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a call came to. `answer` is None where the handler raised."""

    answer: Any
    error_type: str | None = None
    error_message: str = ""
    run_ms: float = 0.0
    log: str = ""


def judge(expected: Expectation, outcome: Outcome) -> list[str]:
    """Why it is not as expected, line by line; nothing where it is."""
    found: list[str] = []
    if expected.error is not UNSET:
        found += _judge_error(expected.error, outcome)
    elif outcome.error_type is not None:
        found.append(f"the call failed: {outcome.error_type}: {outcome.error_message}")
    else:
        found += _judge_answer(expected, outcome.answer)
    found += [f"log: nothing matches {pattern!r}" for pattern in expected.log if not _within(pattern, outcome.log)]
    if expected.max_ms is not None and outcome.run_ms > expected.max_ms:
        found.append(f"max_ms: expected at most {expected.max_ms:g} ms, took {outcome.run_ms:.1f} ms")
    return found


def _judge_answer(expected: Expectation, answer: Any) -> list[str]:
    found: list[str] = []
    if expected.equals is not UNSET and differences(expected.equals, answer):
        found += ["equals: the answer is another one", *side_by_side(expected.equals, answer)]
    if expected.contains is not UNSET:
        found += [f"contains: {each}" for each in lacking(expected.contains, answer)]
    for place, pattern in expected.matches.items():
        value = at(answer, place)
        text = value if isinstance(value, str) else "" if value is MISSING else json.dumps(value)
        if value is MISSING or not re.search(pattern, text):
            found.append(
                f"matches {place or '(the answer)'}: expected /{pattern}/, got {value if value is MISSING else text}"
            )
    return found


def _judge_error(expected: str | ErrorExpectation, outcome: Outcome) -> list[str]:
    wanted = ErrorExpectation(type=expected) if isinstance(expected, str) else expected
    name = wanted.type or "an error"
    if outcome.error_type is None:
        return [f"error: expected {name}, got the answer {json.dumps(outcome.answer)[:200]}"]
    found = []
    if wanted.type is not None and wanted.type != outcome.error_type:
        found.append(f"error: expected {wanted.type}, got {outcome.error_type}: {outcome.error_message}")
    if wanted.message is not None and not re.search(wanted.message, outcome.error_message):
        found.append(f"error: expected a message with /{wanted.message}/, got {outcome.error_message!r}")
    return found


def _within(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.MULTILINE) is not None
