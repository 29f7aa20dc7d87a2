"""The live replay from the trace to the report, against a scripted platform over real HTTP."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from isotherm.base.errors import ImportFailed, Invalid, Unavailable
from isotherm.replay.command import register
from isotherm.replay.service import Options, replay_live
from isotherm.replay.summary import summarise
from tests.replay.scripted import Scripted, problem
from tests.replay.traces import write_trace

COUNTS = {"aa": [30, 0, 20], "bb": [0, 5, 0], "cc": [0, 0, 0]}


@contextmanager
def running(platform: Scripted) -> Iterator[Scripted]:
    """The platform in a loop of its own on a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(platform.serve(), loop).result(5)
    try:
        yield platform
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def options(platform: Scripted, path: Path, **changes: object) -> Options:
    given = {
        "speed": 240.0,
        "minutes": 3,
        "sample_s": 0.1,
        "settle_s": 5.0,
        "records_s": 0.0,
        "timeout_s": 5.0,
        "max_connections": 8,
        **changes,
    }
    return Options(path=path, url=platform.url, key="iso_key", **given)  # type: ignore[arg-type]  # by name


def test_replays_every_call_and_reports(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "small", COUNTS)
    said: list[str] = []
    with running(Scripted()) as platform:
        report = replay_live(options(platform, trace), said.append)

    assert (report.invocations, report.errors, report.cold_starts) == (55, 0, 2)
    assert (report.functions, report.cold.functions_called, report.cold.by_cause) == (3, 2, {"spare": 2})
    assert (report.cold.recorded, report.cold.start_ms.p50) == (2, 3.5)
    assert report.cold.total_cost_s < 1  # nothing sleeps in a scripted platform
    assert report.run_ms.max == 50.0
    assert report.memory.peak_mb == 90.0
    assert report.memory.idle_gb_s > report.memory.busy_gb_s > 0
    assert report.timeline[-1].instances == {"hot": 0, "warm": 3, "spare": 3, "template": 3}
    assert {one.invocations for one in report.per_function} == {50, 5}
    assert len(platform.calls) == 55
    assert sorted(platform.removed) == sorted(platform.deployed)
    config = next(iter(platform.deployed.values()))
    assert config["warm"]["keep_alive_s"] == 600 / 240
    assert config["package"] == "d1"
    assert "55 calls in 3 minutes" in said[0]
    assert "cold starts     2 (3.636 % of calls): 2 spare" in summarise(report)


def test_the_same_seed_asks_the_same_of_the_functions(tmp_path: Path) -> None:
    trace = write_trace(tmp_path, COUNTS)
    asked = []
    for seed in (1, 1, 2):
        with running(Scripted()) as platform:
            replay_live(options(platform, trace, seed=seed), lambda line: None)
        asked.append(sorted((name, event["u"], event["v"]) for name, event in platform.calls))
    assert asked[0] == asked[1]
    assert asked[0] != asked[2]


def test_errors_are_counted_and_shown(tmp_path: Path) -> None:
    trace = write_trace(tmp_path, COUNTS)
    answers = {3: problem(429, "too_many_requests", "the queue is full"), 5: (200, {}, b'{"errorType": "KeyError"}')}
    with running(Scripted(fail_invoke=answers.get)) as platform:
        report = replay_live(options(platform, trace), lambda line: None)

    assert report.errors == 2
    assert report.errors_by_status == {"429": 1, "200": 1}
    assert any("the queue is full" in example for example in report.error_examples)


def test_a_busy_platform_is_asked_again(tmp_path: Path) -> None:
    with running(Scripted(busy=3)) as platform:
        report = replay_live(options(platform, write_trace(tmp_path, COUNTS)), lambda line: None)
    assert report.errors == 0


def test_a_failed_deploy_ends_the_replay_and_clears_the_stage(tmp_path: Path) -> None:
    trace = write_trace(tmp_path, {"aa": [1], "bb": [1]})
    platform = Scripted()
    with running(platform):
        replay_live(options(platform, trace, keep=True), lambda line: None)
        platform.fail_deploy = sorted(platform.deployed)[1]
        with pytest.raises(ImportFailed, match="no module named nothing"):
            replay_live(options(platform, trace), lambda line: None)
    assert sorted(platform.removed) == sorted(platform.deployed)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"speed": 0.0}, "--speed"),
        ({"arrivals": 1.5}, "--arrivals"),
        ({"duration_scale": -1.0}, "--duration-scale"),
        ({"memory_scale": 5.0}, "--memory-scale"),
        ({"start": 3}, "--start"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        replay_live(options(Scripted(url="http://127.0.0.1:1"), write_trace(tmp_path, COUNTS), **changes), print)


def test_no_platform_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="is the platform up"):
        replay_live(options(Scripted(url="http://127.0.0.1:1"), write_trace(tmp_path, COUNTS)), lambda line: None)


def test_the_command_prints_json_and_draws(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "small", COUNTS)
    app = typer.Typer()
    with running(Scripted()) as platform:
        register(app, lambda: (platform.url, "iso_key"))
        app.callback()(lambda: None)
        arguments = ["replay", str(trace), "--live", "--speed", "240", "--minutes", "3", "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)

    body = json.loads(result.stdout)
    assert (body["invocations"], body["errors"], body["cold_starts"]) == (55, 0, 2)
    assert json.loads((tmp_path / "out" / "replay.json").read_text()) == body
    assert (tmp_path / "out" / "replay.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_needs_to_be_told_live(tmp_path: Path) -> None:
    app = typer.Typer()
    register(app, lambda: ("", ""))
    app.callback()(lambda: None)
    result = CliRunner().invoke(app, ["replay", str(tmp_path)])
    assert isinstance(result.exception, Invalid)
    assert "--live" in result.exception.message
