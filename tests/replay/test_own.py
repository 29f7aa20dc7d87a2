"""A platform's own counts as a log, and where to get them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isotherm.base.errors import Invalid, NotFound
from isotherm.cli.main import app
from isotherm.replay.drivers.own import read_own
from isotherm.replay.model import OwnRecords, RecordedMinute
from isotherm.replay.simulated.service import Options, simulate_log

BEGIN = 29_000_000


def records(rows: list[RecordedMinute], until: int = BEGIN + 10) -> OwnRecords:
    return OwnRecords("team", 1.0, until, iter(rows), {"a": 512.0})


def quiet(line: str) -> None:
    pass


def test_counts_of_revisions_add_up_and_calls_take_the_mean() -> None:
    rows = [
        RecordedMinute("a", BEGIN + 1, 2, 30.0),
        RecordedMinute("a", BEGIN + 1, 1, 30.0),
        RecordedMinute("b", BEGIN + 2, 1, 500.0),
        RecordedMinute("a", BEGIN + 4, 3, 60.0),
    ]
    log = read_own(records(rows), quiet)
    assert (log.name, log.functions, log.units, log.minutes) == ("records of team", ("a", "b"), ("a", "b"), 9)
    assert log.counts.tolist() == [[3, 0, 0, 3, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0, 0]]
    assert log.mean_duration_s.tolist() == pytest.approx([0.02, 0.5])
    assert log.memory_gb.tolist() == [0.5, 0.128]
    found = simulate_log(log, Options(policies=("none", "fixed:5")), quiet)
    assert [each.cold_starts for each in found.policies] == [3, 2]
    assert (found.granularity, found.invocations) == ("minute", 7)


def test_no_calls_are_told_with_what_to_do() -> None:
    with pytest.raises(NotFound, match="'team' have no call in these 1 days; --days"):
        read_own(records([]), quiet)


def test_too_much_is_refused() -> None:
    rows = [RecordedMinute(f"f{number}", BEGIN, 1, 1.0) for number in range(300)]
    with pytest.raises(Invalid, match="fewer --days"):
        read_own(records(rows, BEGIN + 1_000_000), quiet)


def test_either_a_trace_or_the_platforms_records(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text("0,a\n")
    for argv in ([str(tmp_path / "calls.csv"), "--own"], ["--policy", "none"]):
        result = CliRunner().invoke(app, ["replay", *argv])
        assert isinstance(result.exception, Invalid), result.output
        assert "--own" in result.exception.message


@pytest.mark.parametrize("days", ["0", "63", "nan"])
def test_days_are_bounded(days: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOTHERM_URL", "http://127.0.0.1:9")
    result = CliRunner().invoke(app, ["replay", "--own", "--days", days])
    assert isinstance(result.exception, Invalid), result.output
    assert "--days" in json.dumps(result.exception.message)
