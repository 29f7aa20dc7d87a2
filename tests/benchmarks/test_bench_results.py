"""The benchmarks' own arithmetic: samples, wrk's report, results as JSON, the table and the picture."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.contestants.isotherm import package
from benchmarks.environments import MissingTool
from benchmarks.machine import cpu_seconds, descendants, facts, find_process, proportional_megabytes
from benchmarks.picture import draw
from benchmarks.result import Bar, Check, Curve, Figure, Result, read_results, write_result
from benchmarks.samples import Sample, percentile, ratio
from benchmarks.session import Outcome, Session
from benchmarks.summary import table
from benchmarks.wrk import Load, argv, parse, run_wrk, script
from tests.benchmarks.processes import sleeping


def result(**changes: object) -> Result:
    given = {
        "benchmark": "echo",
        "command": "python -m benchmarks echo",
        "at": "2026-01-01T00:00:00+00:00",
        "quick": False,
        "machine": facts(),
        "settings": {"repeats": 3},
        "checks": [Check("latency", "≤", 2.0, "ms", 1.5, "1.4 to 1.6"), Check("throughput", "≥", 10.0, "x", 8.0)],
        "figures": [
            Figure("rates", "1/s", bars=[Bar("Isotherm", 10.0, 9.0, 11.0), Bar("nginx", 12.0, 11.0, 13.0)], target=9.0),
            Figure("times", "ms", distributions=[Curve("warm", [1.0, 2.0, 3.0])]),
        ],
        "measurements": {"raw": [1.0]},
        **changes,
    }
    return Result(**given)  # type: ignore[arg-type]  # by name


def test_samples_have_median_spread_and_ratio() -> None:
    ours, theirs = Sample((10.0, 20.0, 30.0)), Sample((5.0, 5.0, 10.0))
    assert (ours.median, ours.low, ours.high, ours.spread) == (20.0, 10.0, 30.0, 1.0)
    assert ratio(ours, theirs).values == (2.0, 4.0, 3.0)


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 2), (75, 3), (99, 4), (100, 4)])
def test_a_percentile_is_a_measured_value(percent: float, value: float) -> None:
    assert percentile([4, 2, 3, 1], percent) == value


def test_wrk_is_told_what_to_send_and_its_report_is_read() -> None:
    lua = script({"Authorization": 'Bearer "x"'}, '{"a": "b\\n"}')
    assert 'wrk.headers["Authorization"] = "Bearer \\"x\\""' in lua
    assert 'wrk.body = "{\\"a\\": \\"b\\\\n\\"}"' in lua
    assert argv(Load("http://127.0.0.1:1/", 64, 5), Path("/s.lua"))[1:4] == [
        "--threads=1",
        "--connections=64",
        "--duration=5s",
    ]
    report = parse('noise\nwrk-report {"requests": 1000, "us": 2000000, "p50": 130, "p99": 900, "errors": 2}\n')
    assert (report.per_second, report.p50_ms, report.p99_ms, report.errors) == (500.0, 0.13, 0.9, 2)
    with pytest.raises(ValueError, match="no report"):
        parse("unable to connect")


def test_a_missing_wrk_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTool, match="apt-get install wrk"):
        run_wrk(Load("http://127.0.0.1:1/", 1, 1))


def test_a_result_survives_its_json(tmp_path: Path) -> None:
    path = write_result(result(), tmp_path)
    (tmp_path / "replay.json").write_text('{"trace": "another kind of file"}')

    assert read_results(tmp_path) == [result()]
    assert [check["held"] for check in json.loads(path.read_text())["checks"]] == [True, False]


def test_the_table_says_what_held_and_how_far_off_the_rest_is() -> None:
    text = table([result()])
    assert "| latency | ≤ 2 ms | 1.5 ms | 1.4 to 1.6 | yes | `python -m benchmarks echo` |" in text
    assert "| throughput | ≥ 10 x | 8 x |  | **no**, off by 1.25 x |" in text
    assert "(quick run)" in table([result(quick=True)])


def test_the_picture_is_drawn_from_the_result(tmp_path: Path) -> None:
    draw(result(), tmp_path / "echo.png")
    assert (tmp_path / "echo.png").read_bytes().startswith(b"\x89PNG")


def test_packages_are_the_same_bytes_each_time() -> None:
    assert package("sklearn") == package("sklearn")
    assert b"scikit-learn" in package("sklearn")


def test_the_machine_tells_of_processes(tmp_path: Path) -> None:
    with sleeping(f"benchmark-{tmp_path.name}") as process:
        assert find_process(process.pid, f"benchmark-{tmp_path.name}") == process.pid
        assert process.pid in descendants(1) or process.pid in descendants(process.pid)
        assert cpu_seconds(process.pid) >= 0
        assert proportional_megabytes([process.pid]) > 0
    with pytest.raises(ProcessLookupError):
        cpu_seconds(process.pid)


def test_one_benchmark_that_cannot_run_keeps_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.rows import cold, memory

    def broken(session: Session) -> Outcome:
        raise MissingTool("wrk is not installed")

    def fine(session: Session) -> Outcome:
        assert session.quick
        return Outcome({}, [Check("memory", "≤", 1, "x", 0.5)], result().figures, {})

    monkeypatch.setattr(memory, "measure", broken)
    monkeypatch.setattr(cold, "measure", fine)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "memory", "cold", "--quick", "--out", str(tmp_path)])

    assert command.main() == 2
    assert [one.benchmark for one in read_results(tmp_path)] == ["cold"]
    assert (tmp_path / "cold.png").exists()
    assert "wrk is not installed" in capsys.readouterr().err
