"""Logs for the simulation: every layout that is taken, and what is refused."""

import datetime
import json
from pathlib import Path

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isotherm.base.errors import Invalid
from isotherm.replay.drivers.logs import read_log
from tests.replay.traces import write_rows, write_trace


def test_the_whole_layout_of_azure_has_durations_and_memory(tmp_path: Path) -> None:
    log = read_log(write_trace(tmp_path / "hours", {"a": [1, 0, 2], "b": [0, 3, 0]}))
    assert (log.minutes, log.functions, log.invocations) == (3, ("a", "b"), 6)
    assert log.units == ("app",)  # both are of one app
    assert log.duration_s is not None
    assert log.duration_s[0].tolist() == [0.06, 0.06, 0.12, 0.18, 0.24, 0.6, 1.2]
    assert log.gb is not None
    assert 16 / 1024 < log.gb[0] < 64 / 1024
    assert log.mean_duration_s[0] == pytest.approx(0.222)


def test_functions_may_be_what_is_warm_or_cold(tmp_path: Path) -> None:
    log = read_log(write_trace(tmp_path / "hours", {"a": [1, 0, 2], "b": [0, 3, 0]}), "function")
    assert log.units == ("a", "b")
    assert log.by_unit().tolist() == [[1, 0, 2], [0, 3, 0]]


@pytest.mark.parametrize("name", ["day", "day/invocations.csv"])
def test_the_layout_of_counts_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "day").mkdir()
    header = ["HashFunction", "HashApp", "HashOwner", "minute_1", "minute_2", "minute_3"]
    write_rows(tmp_path / "day" / "invocations.csv", header, [["f", "a", "o", 1, 0, 7], ["g", "b", "o", 0, 0, 1]])
    log = read_log(tmp_path / name)
    assert log.counts.tolist() == [[1, 0, 7], [0, 0, 1]]
    assert log.units == ("a", "b")
    assert (log.duration_s, log.gb, log.events) == (None, None, None)


@pytest.mark.parametrize(
    "lines",
    [
        ["timestamp,name,duration_ms", "120.5,x,250", "61,y,", "185.25,x,0"],
        ["61,y", "120.5,x,250", "185.25,x"],
        ["1970-01-01T00:02:00.5Z,x,250", "1970-01-01T00:01:01,y", "1970-01-01T00:03:05.25+00:00,x"],
    ],
)
def test_single_calls_in_any_order(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "calls.csv").write_text("\n".join(lines) + "\n")
    log = read_log(tmp_path / "calls.csv")
    by_name = dict(zip(log.functions, log.counts.tolist(), strict=True))
    assert by_name == {"x": [0, 1, 1], "y": [1, 0, 0]}
    assert log.events is not None
    assert log.events.at_s.tolist() == [1.0, 60.5, 125.25]
    assert log.events.duration_s.tolist() == [0.0, 0.25, 0.0]


RECORDS = [
    {"id": "1", "namespace": "team", "name": "hello", "started_at_ms": 60_500, "run_ms": 12.5, "status": 200},
    {"id": "2", "namespace": "team", "name": "hello", "started_at_ms": 200_000, "run_ms": 3.0, "status": 200},
]


@pytest.mark.parametrize(
    "text", [json.dumps({"items": RECORDS}), json.dumps(RECORDS), "\n".join(map(json.dumps, RECORDS))]
)
def test_isotherms_own_records(tmp_path: Path, text: str) -> None:
    (tmp_path / "calls.json").write_text(text + "\n")
    log = read_log(tmp_path / "calls.json")
    assert log.functions == ("team/hello",)
    assert log.counts.tolist() == [[1, 0, 1]]
    assert log.events is not None
    assert log.events.duration_s.tolist() == [0.0125, 0.003]


MOMENTS = {
    "seconds": lambda at: f"{at.timestamp():.3f}",
    "milliseconds": lambda at: str(round(at.timestamp() * 1e3)),
    "microseconds": lambda at: str(round(at.timestamp() * 1e6)),
    "nanoseconds": lambda at: f"{round(at.timestamp() * 1e3)}000000",
    "ISO 8601, Z": lambda at: at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    "ISO 8601, a zone": lambda at: at.astimezone(datetime.timezone(datetime.timedelta(hours=5.5))).isoformat(),
    "ISO 8601, no zone, a blank": lambda at: at.replace(tzinfo=None).isoformat(" ", "milliseconds"),
    "ISO 8601, basic": lambda at: at.strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z",
}


@pytest.mark.parametrize("form", MOMENTS)
@given(
    st.integers(10_000_000, 68_000_000),
    st.lists(st.integers(0, 3_000_000), min_size=1, max_size=20),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_moment_may_be_told_in_every_usual_form(form: str, tmp_path: Path, minute: int, after_ms: list[int]) -> None:
    begin = datetime.datetime.fromtimestamp(minute * 60, datetime.UTC)
    moments = [begin + datetime.timedelta(milliseconds=after) for after in after_ms]
    (tmp_path / "calls.csv").write_text("".join(f"{MOMENTS[form](moment)},f\n" for moment in moments))
    log = read_log(tmp_path / "calls.csv")
    assert log.events is not None
    first_s = min(after_ms) // 60_000 * 60
    assert log.events.at_s.tolist() == pytest.approx([after / 1000 - first_s for after in sorted(after_ms)], abs=1e-3)
    assert log.invocations == len(after_ms)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds_it_is_a_log_or_refused(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "calls.csv").write_bytes(body)
    try:
        log = read_log(tmp_path / "calls.csv")
    except Invalid as exc:
        told = exc.message
    else:
        told = "calls.csv" if log.invocations else ""
    assert "calls.csv" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no calls"),
        ("12\n", "1: timestamp,name"),
        ("12,a\nsoon,a\n", "2: timestamp,name"),
        ("12,a,-1\n", "1: timestamp,name"),
        ("nan,a\n", "1: timestamp,name"),
        ("12,a,1,2\n", "1: timestamp,name"),
        ("0,a\n1e12,a\n", "minutes between"),
        ('{"items": [{"name": 3}]}', "recorded calls were expected"),
    ],
)
def test_what_is_no_log_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "calls.csv").write_text(text)
    with pytest.raises(Invalid, match=told):
        read_log(tmp_path / "calls.csv")


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        read_log(tmp_path / "none.csv")


def test_a_part_of_a_log_keeps_what_belongs_to_it(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text("0,a,1\n5,b,2\n61,a,3\n")
    part = read_log(tmp_path / "calls.csv").only(numpy.array([False, True]))
    assert (part.functions, part.units, part.counts.tolist()) == (("b",), ("b",), [[1, 0]])
    assert part.events is not None
    assert (part.events.function.tolist(), part.events.duration_s.tolist()) == ([0], [0.002])
