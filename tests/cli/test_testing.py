"""`isotherm test`: what is expected of an event, and whether it came so."""

import xml.etree.ElementTree as Xml
from pathlib import Path
from typing import Any

import msgspec
import pytest

from isotherm.base.errors import Invalid
from isotherm.cli.testing.cases import Expectation, find_cases
from isotherm.cli.testing.command import outcome_of
from isotherm.cli.testing.judge import Outcome, judge
from isotherm.cli.testing.report import Verdict, write_junit
from isotherm.client.model import Answer


def test_cases_are_events_with_their_expectations(tmp_path: Path) -> None:
    events = tmp_path / "events"
    events.mkdir()
    (events / "one.json").write_text('{"n": 1}')
    (events / "two.json").write_text("2")
    (events / "two.expect.json").write_text('{"equals": null, "max_ms": 5}')
    one, two = find_cases(tmp_path)
    assert (one.name, one.event, one.expectation) == ("one", b'{"n": 1}', Expectation())
    assert (two.expectation.equals, two.expectation.max_ms) == (None, 5)
    assert [case.name for case in find_cases(tmp_path, "tw")] == ["two"]
    assert [case.name for case in find_cases(tmp_path, "o*")] == ["one"]
    with pytest.raises(Invalid, match="-k three"):
        find_cases(tmp_path, "three")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no events"),
        ({"a.json": "{"}, "a.json: not JSON"),
        ({"a.json": "1", "a.expect.json": '{"equal": 1}'}, "a.expect.json.*equal"),
        ({"a.json": "1", "a.expect.json": '{"matches": {"": "("}}'}, "no regular expression"),
        ({"a.json": "1", "a.expect.json": '{"error": "E", "equals": 1}'}, "no answer to expect"),
        ({"a.json": "1", "b.expect.json": "{}"}, "no event b.json"),
    ],
)
def test_what_cannot_be_a_case_is_named(tmp_path: Path, files: dict[str, str], words: str) -> None:
    (tmp_path / "events").mkdir()
    for name, text in files.items():
        (tmp_path / "events" / name).write_text(text)
    with pytest.raises(Invalid, match=words):
        find_cases(tmp_path)


GOOD = Outcome(answer={"total": 42, "who": "Ada"}, run_ms=3.0, log="adding\ndone\n")
BAD = Outcome(answer=None, error_type="ValueError", error_message="no such thing", run_ms=1.0)


@pytest.mark.parametrize(
    ("expected", "outcome", "problems"),
    [
        ({}, GOOD, []),
        ({}, BAD, ["the call failed: ValueError: no such thing"]),
        ({"equals": {"total": 42, "who": "Ada"}}, GOOD, []),
        ({"contains": {"total": 42}, "matches": {"/who": "^A", "/total": "4"}}, GOOD, []),
        ({"log": ["^done$"], "max_ms": 3}, GOOD, []),
        ({"contains": {"total": 41}}, GOOD, ["contains: /total: expected 41, got 42"]),
        ({"matches": {"/who": "^B"}}, GOOD, ["matches /who: expected /^B/, got Ada"]),
        ({"matches": {"/nobody": ""}}, GOOD, ["matches /nobody: expected //, got nothing"]),
        ({"log": ["gone"]}, GOOD, ["log: nothing matches 'gone'"]),
        ({"max_ms": 2}, GOOD, ["max_ms: expected at most 2 ms, took 3.0 ms"]),
        ({"error": "ValueError"}, BAD, []),
        ({"error": {"message": "such"}}, BAD, []),
        ({"error": "KeyError"}, BAD, ["error: expected KeyError, got ValueError: no such thing"]),
        ({"error": {"message": "^such"}}, BAD, ["error: expected a message with /^such/, got 'no such thing'"]),
        ({"error": "ValueError"}, GOOD, ['error: expected ValueError, got the answer {"total": 42, "who": "Ada"}']),
    ],
)  # fmt: skip
def test_an_outcome_is_judged(expected: dict[str, Any], outcome: Outcome, problems: list[str]) -> None:
    assert judge(msgspec.convert(expected, Expectation), outcome) == problems


def test_an_answer_that_is_another_one_is_shown_beside_the_expected() -> None:
    problems = judge(Expectation(equals={"total": 41, "who": "Ada"}), GOOD)
    assert problems[0] == "equals: the answer is another one"
    assert '-  "total": 41,' in problems
    assert '+  "total": 42,' in problems


def test_an_invoke_becomes_an_outcome_without_lambdas_own_lines() -> None:
    log = "START RequestId: a Version: 1\nhello\nEND RequestId: a\nREPORT RequestId: a\tDuration: 1 ms\n"
    fields = {
        "status": 200,
        "version": "1",
        "request_id": "a",
        "timing": "queue;dur=1.00, start;dur=9.00, run;dur=2.50",
    }
    good = Answer(payload=b'{"n": 1}', error=None, log=log, **fields)  # type: ignore[arg-type]  # of several types
    assert outcome_of(good) == Outcome(answer={"n": 1}, run_ms=2.5, log="hello\n")
    bad = Answer(payload=b'{"errorType": "E", "errorMessage": "m"}', error="Unhandled", log=None, **fields)  # type: ignore[arg-type]  # as above
    assert outcome_of(bad) == Outcome(answer=None, error_type="E", error_message="m", run_ms=2.5)


def test_junit_is_well_formed_whatever_a_handler_prints(tmp_path: Path) -> None:
    verdicts = [
        Verdict(name="a", file="events/a.json", problems=[], run_ms=1, total_ms=2, log="\x00\x1b[31m<red>\ud800"),
        Verdict(name="b", file="events/b.json", problems=["bad & \x01"], run_ms=1, total_ms=2),
    ]
    write_junit(tmp_path / "deep" / "junit.xml", "suite", verdicts, 1.5)
    root = Xml.parse(tmp_path / "deep" / "junit.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    assert [case.get("name") for case in root.iter("testcase")] == ["a", "b"]
