"""Durations, sizes, moments and steps as people read them."""

import pytest

from isotherm.base.errors import Invalid
from isotherm.cli.output import Output
from isotherm.cli.steps import Plain
from isotherm.cli.times import age, duration, parse_duration_s, size


@pytest.mark.parametrize(
    ("elapsed_ms", "text"), [(None, ""), (0.04, "0.0 ms"), (3.44, "3.4 ms"), (120.4, "120 ms"), (2100, "2.1 s")]
)
def test_durations(elapsed_ms: float | None, text: str) -> None:
    assert duration(elapsed_ms) == text


@pytest.mark.parametrize(
    ("at_ms", "text"), [(None, ""), (100_000_000, "0s"), (99_990_000, "10s"), (96_400_000, "1h"), (13_600_000, "1d")]
)
def test_ages(at_ms: int | None, text: str) -> None:
    assert age(at_ms, 100_000_000) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (3200, "3.2 kB"), (41_000_000, "41 MB")])
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1.5h", 5400), ("2w", 1_209_600)])
def test_durations_that_are_given(text: str, seconds: float) -> None:
    assert parse_duration_s(text, "--since") == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "-1m", "1y", "1 m m"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(Invalid, match="--since"):
        parse_duration_s(text, "--since")


def test_steps_are_said_once_and_beginnings_only_where_they_say_something(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Plain(Output())
    for _ in range(2):  # a stream that was taken up anew
        steps.now("  unpack")
        steps.done("  unpack            12 ms")
        steps.now("  host           waiting for a host to connect")
    assert capsys.readouterr().err.splitlines() == [
        "  unpack            12 ms",
        "  host           waiting for a host to connect",
    ]
