"""Failures as ERROR heads: bounded, and without the platform's frames."""

import json

from hypothesis import given
from hypothesis import strategies as st

from isotherm_runtime.errors import describe, error_head, full_text
from isotherm_runtime.frames import MAX_HEAD_BYTES, ErrorKind


@given(st.text(), st.text(), st.lists(st.text()))
def test_a_head_holds_lambdas_fields(error_type: str, message: str, trace: list[str]) -> None:
    found = json.loads(error_head(ErrorKind.HANDLER, error_type, message, trace))
    assert found["kind"] == "handler"
    if len(message) < 1000:
        assert found["error_message"] == message


def test_a_head_is_always_below_its_limit() -> None:
    huge = "\U0001f4a5" * 100_000
    head = error_head(ErrorKind.HANDLER, huge, huge, [huge] * 1000)
    assert len(head) <= MAX_HEAD_BYTES
    assert json.loads(head)["error_message"].endswith("more characters)")


def caught(function: object) -> BaseException:
    try:
        function()  # type: ignore[operator]  # a test's function
    except BaseException as exc:  # noqa: BLE001 - what the test is about
        return exc
    raise AssertionError("nothing was raised")


def test_causes_stand_in_the_log_and_not_in_the_answer() -> None:
    def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError as exc:
            raise ValueError("second") from exc

    exc = caught(fail)
    error_type, message, trace = describe(exc)
    assert (error_type, message) == ("ValueError", "second")
    assert "KeyError" not in "".join(trace)
    assert "KeyError: 'first'" in full_text(exc)


def test_endless_recursion_is_described_in_a_few_lines() -> None:
    def deeper() -> None:
        deeper()

    exc = caught(deeper)
    assert len(error_head(ErrorKind.HANDLER, *describe(exc))) < 64 * 1024
    assert len(full_text(exc)) < 64 * 1024


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


def test_exceptions_that_cannot_be_shown_are_named_all_the_same() -> None:
    def fail() -> None:
        raise Hostile

    error_type, message, _ = describe(caught(fail))
    assert error_type == "Hostile"
    assert "cannot be made" in message
    assert "Hostile" in full_text(caught(fail))


def test_groups_of_exceptions_are_logged_whole() -> None:
    def fail() -> None:
        raise ExceptionGroup("several", [KeyError("a"), OSError("b")])

    text = full_text(caught(fail))
    assert "KeyError: 'a'" in text
    assert "OSError: b" in text
