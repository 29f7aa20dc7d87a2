"""Schedules: cron in a time zone over both changes of the clock, macros, intervals, and what is none."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.cron import parse_schedule
from isotherm.base.errors import Invalid

BERLIN = ZoneInfo("Europe/Berlin")


def ms(*when: int, zone: ZoneInfo = BERLIN, fold: int = 0) -> int:
    return int(datetime(*when, tzinfo=zone, fold=fold).timestamp()) * 1000  # type: ignore[misc, arg-type]


def times(expression: str, timezone: str, after_ms: int, count: int) -> list[int]:
    schedule, found = parse_schedule(expression, timezone), []
    for _ in range(count):
        following = schedule.following(after_ms)
        assert following is not None
        after_ms = following
        found.append(after_ms)
    return found


def test_a_time_that_the_change_to_summer_time_skips_runs_right_after_it() -> None:
    found = times("30 2 * * *", "Europe/Berlin", ms(2026, 3, 28, 12), 2)
    assert found == [ms(2026, 3, 29, 3), ms(2026, 3, 30, 2, 30)]


def test_a_time_that_the_change_back_repeats_runs_once() -> None:
    found = times("30 2 * * *", "Europe/Berlin", ms(2026, 10, 24, 12), 2)
    assert found == [ms(2026, 10, 25, 2, 30), ms(2026, 10, 26, 2, 30)]


def test_steps_go_on_through_the_repeated_hour() -> None:
    found = times("*/30 * * * *", "Europe/Berlin", ms(2026, 10, 25, 1, 30), 5)
    assert found == [found[0] + step * 1_800_000 for step in range(5)]


@pytest.mark.parametrize(
    ("text", "like"), [("@daily", "0 0 * * *"), ("@hourly", "0 * * * *"), ("@weekly", "0 0 * * 0")]
)
def test_macros_are_what_they_stand_for(text: str, like: str) -> None:
    assert times(text, "UTC", 0, 5) == times(like, "UTC", 0, 5)


@given(st.integers(0, 2**42), st.integers(1, 10_000))
def test_an_interval_is_counted_from_the_epoch(after_ms: int, minutes: int) -> None:
    following = parse_schedule(f"rate({minutes} minutes)", "UTC").following(after_ms)
    assert following is not None
    assert following % (minutes * 60_000) == 0
    assert 0 < following - after_ms <= minutes * 60_000


@given(st.integers(0, 2**42), st.sampled_from(["*/7 * * * *", "0 12 * * 1", "5 4 3 * *", "@daily"]))
def test_the_following_time_is_later_and_has_none_before_it(after_ms: int, expression: str) -> None:
    schedule = parse_schedule(expression, "America/New_York")
    following = schedule.following(after_ms)
    assert following is not None
    assert following > after_ms - after_ms % 1000
    assert schedule.following(following - 1000) == following


@pytest.mark.parametrize(
    ("expression", "timezone", "says"),
    [
        ("* * * *", "UTC", "five fields"),
        ("0 0 12 * * ? 2026", "UTC", "five fields"),
        ("*/0 * * * *", "UTC", "minute"),
        ("61 * * * *", "UTC", "minute"),
        ("@often", "UTC", "five fields"),
        ("rate(0 minutes)", "UTC", "five fields"),
        ("@daily", "Mars/Olympus", "time zone"),
        ("@daily", "../../etc/passwd", "time zone"),
    ],
)
def test_what_is_no_schedule_is_refused_with_a_reason(expression: str, timezone: str, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        parse_schedule(expression, timezone)
