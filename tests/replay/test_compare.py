"""Two runs side by side: what is told, what is noise, and what cannot be compared."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from isotherm.base.errors import Invalid
from isotherm.replay.command import register
from isotherm.replay.compare import Comparison, Figure, compare_reports, lines_of
from isotherm.replay.report import AsyncReport, ColdStarts, MemoryUse, Moment, Report, read_report, to_json
from isotherm.replay.resample import difference_interval
from isotherm.replay.sketch import Cells, Spread, cells, parts_of, spread
from tests.replay.made import no_records

NONE = Spread(0, 0, 0, 0, 0, 0, 0)
CALLS = 3000
HOURS = np.linspace(0, 1, CALLS, endpoint=False)


def latencies(seed: int, factor: float = 1.0, steadiness: float = 0.5) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of calls that are the same for every seed, on a machine that is slow now and then."""
    calls, noise = np.random.default_rng(0), np.random.default_rng(seed)
    levels = [0.0]
    for shock in noise.normal(0, 0.3 * np.sqrt(1 - steadiness**2), 239):
        levels.append(steadiness * levels[-1] + shock)
    level = np.exp(np.array(levels))[(HOURS * 240).astype(int)]
    slept = calls.lognormal(0, 1.5, CALLS)
    made: np.ndarray[Any, np.dtype[np.float64]] = factor * (slept + 3 * level * noise.lognormal(0, 0.5, CALLS))
    return made


def cells_of(values: np.ndarray[Any, np.dtype[np.float64]]) -> Cells:
    return cells(parts_of(HOURS, 1.0), values)


def report(values: np.ndarray[Any, np.dtype[np.float64]] | None = None, **changes: Any) -> Report:
    values = latencies(1) if values is None else values
    given = {
        "version": 2,
        "trace": "small",
        "trace_digest": "0123",
        "first_minute": 480,
        "minutes": 30,
        "functions": 5,
        "seed": 1,
        "scale": {"speed": 60.0, "duration": 1 / 60, "memory": 1 / 16, "arrivals": 1.0},
        "keep_alive_s": 600.0,
        "max_instances": 40,
        "platform_version": "1.0",
        "cores": 2,
        "started_at_ms": 1,
        "deploy_s": 2.0,
        "wall_s": 30.0,
        "invocations": CALLS,
        "errors": 0,
        "errors_by_status": {},
        "error_examples": [],
        "calls_per_s": 100.0,
        "peak_calls_per_s": 120.0,
        "cold_starts": 10,
        "cold": ColdStarts(
            share=0.01,
            by_cause={"spare": 8, "scale_out": 2},
            recorded=10,
            start_ms=NONE,
            cost_ms=NONE,
            total_cost_s=1.5,
            functions_called=5,
            per_function_percent=NONE,
        ),
        "latency_ms": spread(values),
        "from_due_ms": NONE,
        "overhead_ms": NONE,
        "queue_ms": NONE,
        "run_ms": NONE,
        "late_ms": NONE,
        "client_cpu_us": 50.0,
        "memory": MemoryUse(mean_mb=200.0, peak_mb=300.0, busy_gb_s=1.0, idle_gb_s=2.0),
        "timeline": [
            Moment(
                at_s=at,
                calls_per_s=100.0,
                cold_starts=1,
                errors=0,
                instances={"hot": 1, "warm": 1, "spare": 1, "template": 1},
                memory_mb=200.0,
            )
            for at in (1.0, 2.0)
        ],
        "per_function": [],
        "cells": {"latency": cells_of(values)},
        **changes,
    }
    return Report(**given)


def figure(comparison: Comparison, group: str, name: str) -> Figure:
    return next(each for each in comparison.figures if (each.group, each.name) == (group, name))


def test_a_run_is_no_different_from_itself() -> None:
    same = compare_reports(report(), report())
    assert (same.comparable, same.same_calls, same.settings) == (True, True, [])
    assert {each.difference for each in same.figures} == {0.0}
    assert {each.verdict for each in same.figures if each.low is not None} == {"no difference"}


def test_noise_is_told_from_a_difference() -> None:
    a = report(latencies(1))
    assert figure(compare_reports(a, report(latencies(2))), "latency", "p50").verdict == "no difference"
    slower = figure(compare_reports(a, report(latencies(2, factor=1.3))), "latency", "p50")
    faster = figure(compare_reports(a, report(latencies(2, factor=0.7))), "latency", "p50")
    assert (slower.verdict, faster.verdict) == ("higher", "lower")
    assert slower.low is not None
    assert slower.high is not None
    assert slower.difference is not None
    assert 0 < slower.low < slower.difference < slower.high


def test_equal_runs_are_seldom_told_apart() -> None:
    """Forty pairs at 5 %: two are expected; more than seven have a chance below 1 %."""
    intervals = [
        difference_interval(
            cells_of(latencies(seed)), cells_of(latencies(seed + 1000, steadiness=0.3)), 50.0, miss=0.05, paired=True
        )
        for seed in range(40)
    ]
    wrong = sum(each is not None and (each.low > 0 or each.high < 0) for each in intervals)
    assert None not in intervals
    assert wrong <= 7


def test_the_same_calls_in_both_runs_make_the_interval_narrower() -> None:
    """The trace's own ups and downs, which are in both, cancel out."""
    shape = np.exp(3 * np.sin(HOURS * 20))
    a, b = (cells_of(latencies(seed) * shape) for seed in (1, 2))
    pairs = difference_interval(a, b, 50.0, miss=0.05, paired=True)
    alone = difference_interval(a, b, 50.0, miss=0.05, paired=False)
    assert pairs is not None
    assert alone is not None
    assert pairs.high - pairs.low < 0.7 * (alone.high - alone.low)


def test_a_percentile_that_few_calls_lie_beyond_is_not_judged() -> None:
    rare = figure(compare_reports(report(), report(latencies(2, factor=2))), "latency", "p99.9")
    assert (rare.verdict, rare.low) == ("too few calls", None)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"trace_digest": "4567"}, "trace"),
        ({"first_minute": 481}, "minutes"),
        ({"scale": {"speed": 30.0, "duration": 1 / 60, "memory": 1 / 16, "arrivals": 1.0}}, "speed"),
        ({"scale": {"speed": 60.0, "duration": 1 / 60, "memory": 1 / 16, "arrivals": 0.5}}, "arrivals"),
        ({"seed": 2}, "seed"),
        ({"async_share": 0.5}, "asynchronous share"),
    ],
)
def test_runs_of_other_calls_are_warned_about(changes: dict[str, Any], name: str) -> None:
    found = compare_reports(report(), report(**changes))
    assert [(each.name, each.kind) for each in found.settings] == [(name, "workload")]
    assert (found.comparable, found.same_calls) == (False, False)
    assert f"warning: not comparable: the runs differ in {name}" in lines_of(found)


def test_another_machine_is_warned_about_though_the_calls_are_the_same() -> None:
    found = compare_reports(report(), report(cores=64))
    assert (found.comparable, found.same_calls) == (False, True)


def test_what_a_comparison_is_made_for_is_no_warning() -> None:
    found = compare_reports(report(), report(keep_alive_s=60.0, platform_version="1.1", kill_orders=["control"]))
    assert found.comparable
    assert [each.name for each in found.settings] == ["platform", "keep-alive", "kills"]
    assert not any("warning" in line for line in lines_of(found))


def test_every_figure_has_its_difference_and_its_share() -> None:
    cold = msgspec.structs.replace(report().cold, by_cause={"spare": 4, "expired": 5})
    found = compare_reports(report(errors=2), report(errors=0, cold=cold, errors_excused=0))
    errors = figure(found, "calls", "errors")
    assert (errors.a, errors.b, errors.difference, errors.relative) == (2, 0, -2, -1)
    causes = {each.name: (each.a, each.b, each.relative) for each in found.figures if each.group == "cold starts"}
    assert causes["spare"] == (8, 4, -0.5)
    assert causes["expired"] == (0, 5, None)
    assert causes["scale_out"] == (2, 0, -1)


def test_what_one_run_lacks_is_shown_as_missing() -> None:
    events = AsyncReport(
        sent=9,
        accepted=9,
        acknowledged_ms=NONE,
        succeeded=8,
        dead=1,
        open=0,
        lost=0,
        dead_by_code={},
        tried_again=1,
        to_end_ms=NONE,
        drained=True,
        drain_s=0.1,
    )
    found = compare_reports(report(), report(asynchronous=events))
    dead = figure(found, "asynchronous", "dead")
    assert (dead.a, dead.b, dead.difference) == (None, 1.0, None)
    assert figure(found, "accepted to end", "p50").verdict is None
    assert any(line.startswith("asynchronous") and " - " in line for line in lines_of(found))


@given(st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=10, deadline=None)
def test_a_comparison_the_other_way_round_is_its_mirror(a: int, b: int) -> None:
    one, other = cells_of(latencies(a)), cells_of(latencies(b, factor=1.1))
    there = difference_interval(one, other, 90.0, miss=0.05, paired=True)
    back = difference_interval(other, one, 90.0, miss=0.05, paired=True)
    assert there is not None
    assert back is not None
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def write(path: Path, made: Report) -> Path:
    path.write_text(json.dumps(to_json(made)))
    return path


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = report()
    assert read_report(write(tmp_path / "a.json", made)) == made


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "not the report of a replay"),
        ("[1]", "not the report of a replay"),
        ("\xff", "not the report of a replay"),
        (None, "give the replay.json"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(Invalid, match=said):
        read_report(path)


@pytest.mark.parametrize("part", [{"99999999999999999999": 1}, {"5": -1}, {"x": 1}, 7])
def test_cells_that_are_none_are_refused(tmp_path: Path, part: object) -> None:
    body = to_json(report())
    body["cells"]["latency"][0] = part
    path = tmp_path / "a.json"
    path.write_text(json.dumps(body))
    with pytest.raises(Invalid, match="not the report of a replay"):
        read_report(path)


def test_a_report_of_another_version_is_refused(tmp_path: Path) -> None:
    body = to_json(report())
    for version, said in ((3, "version 3"), (None, "version 1")):
        body["version"] = version
        path = tmp_path / "a.json"
        path.write_text(json.dumps({key: value for key, value in body.items() if value is not None}))
        with pytest.raises(Invalid, match=said):
            read_report(path)


def test_the_command_compares_and_draws(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.json", report()), write(tmp_path / "b.json", report(latencies(2, factor=1.5)))
    app = typer.Typer()
    register(app, lambda: ("", ""), no_records)
    app.callback()(lambda: None)
    words = ["replay", "compare", str(a), str(b)]
    shown = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "higher" in shown.stdout
    out = tmp_path / "out"
    told = CliRunner().invoke(app, [*words, "--json", "--out", str(out)], catch_exceptions=False)
    body = json.loads(told.stdout)
    assert (body["version"], body["comparable"]) == (1, True)
    assert json.loads((out / "comparison.json").read_text()) == body
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
