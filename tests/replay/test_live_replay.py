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
from isotherm.replay.orders import parse_kill
from isotherm.replay.service import Options, replay_live
from isotherm.replay.summary import summarise
from tests.replay.made import no_records
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
    assert report.cold.total_cost_s < 10  # nothing sleeps in a scripted platform
    assert report.run_ms.max == 50.0
    assert report.memory.peak_mb == 90.0
    assert report.memory.idle_gb_s > report.memory.busy_gb_s > 0
    assert report.timeline[-1].instances == {"hot": 0, "warm": 3, "spare": 3, "template": 3}
    assert {one.invocations for one in report.per_function} == {50, 5}
    assert len(platform.calls) == 55
    assert sorted(platform.removed) == sorted(platform.deployed)
    config = next(iter(platform.deployed.values()))
    assert config["warm"]["keep_alive_s"] == 600 / 240
    assert (config["warm"]["policy"], "spare" in config["warm"]) == ("foresight", False)
    assert config["package"] == "d1"
    assert "55 calls in 3 minutes" in said[0]
    assert "cold starts     2 (3.636 % of calls): 2 spare" in summarise(report)


def test_warmth_is_deployed_as_asked_and_reported(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "small", COUNTS)
    said: list[str] = []
    asked = {"warming": "keep_alive", "spare": 0, "template_keep_alive_s": 480.0, "prefix": "other", "simulate": True}
    with running(Scripted(minute_s=60.0)) as platform:
        report = replay_live(options(platform, trace, **asked), said.append)
        learned = replay_live(options(platform, trace), said.append)

    name, config = next(iter(platform.deployed.items()))
    assert name.startswith("other-0000-")
    kept = {"keep_alive_s": 2.5, "max_instances": 40, "policy": "keep_alive", "spare": 0, "template_keep_alive_s": 2.0}
    assert config["warm"] == kept
    warming = report.warming
    assert warming is not None
    assert (warming.policy, warming.decides, warming.minute_s, warming.fits) == ("keep_alive", "foresight", 60.0, False)
    assert warming.avoidable == 0  # its two cold starts are of first calls
    assert warming.idle_minutes > 0
    assert warming.simulated is not None
    assert warming.simulated.cold_starts - warming.simulated.avoidable == 2
    assert "avoidable" in summarise(report)
    assert "simulated" in summarise(report)
    (warning,) = [line for line in said if line.startswith("warning")]  # of the run by the policy
    assert "the policy's minute has 60 s, one of the trace 0.25 s" in warning
    assert learned.warming is not None
    assert learned.warming.simulated is None


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


def test_asynchronous_calls_are_accounted_for(tmp_path: Path) -> None:
    trace = write_trace(tmp_path, COUNTS)
    ends = {7: "dead", 9: "dead"}
    platform = Scripted(lose=lambda number: number == 4, end_as=lambda number: ends.get(number, "succeeded"))
    with running(platform):
        report = replay_live(options(platform, trace, asynchronous=1.0), lambda line: None)

    events = report.asynchronous
    assert events is not None
    assert (events.sent, events.accepted, events.succeeded, events.dead, events.lost) == (55, 55, 52, 2, 1)
    assert (events.dead_by_code, events.tried_again, events.drained) == ({"instance_crashed": 2}, 2, True)
    assert (events.to_end_ms.p50, report.errors) == (250.0, 0)
    # Nobody waited for an answer: those of Invoke are none.
    assert (report.latency_ms.max, report.late_ms.max > 0) == (0, True)
    assert set(report.cells) == {"late", "acknowledged", "to end"}
    assert "55 of 55 accepted: 52 succeeded, 2 dead, 2 instance_crashed, 0 open, 1 lost" in summarise(report)


def test_a_queue_that_does_not_empty_is_told_after_the_settling_time(tmp_path: Path) -> None:
    trace = write_trace(tmp_path, COUNTS)
    platform = Scripted(end_as=lambda number: "queued" if number == 2 else "succeeded")
    with running(platform):
        report = replay_live(options(platform, trace, asynchronous=1.0, settle_s=0.3), lambda line: None)
    assert report.asynchronous is not None
    assert (report.asynchronous.open, report.asynchronous.lost, report.asynchronous.drained) == (1, 0, False)
    assert report.asynchronous.drain_s >= 0.3


def test_streams_are_told_by_their_first_byte_and_their_end(tmp_path: Path) -> None:
    trace = write_trace(tmp_path, COUNTS)
    with running(Scripted(fail_stream=lambda number: number == 3)) as platform:
        report = replay_live(options(platform, trace, streamed=1.0), lambda line: None)

    assert report.streamed is not None
    assert (report.streamed.sent, report.streamed.whole, report.errors) == (55, 54, 1)
    assert 0 < report.streamed.first_byte_ms.p50 <= report.streamed.to_end_ms.p50
    assert "ErrorCode" in report.error_examples[0]
    assert all("pieces" in event for _, event in platform.calls)


def test_the_ways_are_mixed_as_asked(tmp_path: Path) -> None:
    trace = write_trace(tmp_path, {"aa": [200]})
    with running(Scripted()) as platform:
        report = replay_live(options(platform, trace, minutes=1, asynchronous=0.3, streamed=0.2), lambda line: None)
    assert report.asynchronous is not None
    assert report.streamed is not None
    assert 30 < report.asynchronous.sent < 90
    assert 15 < report.streamed.sent < 70
    assert report.errors == 0
    assert (report.async_share, report.stream_share, report.platform_version) == (0.3, 0.2, "1.2.3")


@pytest.mark.parametrize("end", ["finished", "rolled_back"])
def test_rollouts_go_to_the_busiest_and_are_followed_to_their_end(tmp_path: Path, end: str) -> None:
    trace = write_trace(tmp_path, COUNTS)
    platform = Scripted(roll_out_as=end)
    with running(platform):
        report = replay_live(options(platform, trace, rollouts=["canary", "all-at-once"]), lambda line: None)

    canary, whole = report.rollouts
    assert (canary.strategy, canary.state, canary.revision) == ("canary", end, 2)
    assert canary.rule == ("errors" if end == "rolled_back" else None)
    assert (whole.strategy, whole.state, whole.open_s) == ("all-at-once", "finished", 0.0)
    assert canary.function.startswith("replay-0000")  # the one with 50 calls
    deployed = platform.deployed[canary.function]
    assert deployed["rollout"]["strategy"] == "canary"
    assert deployed["env"]["STANDIN_EDITION"] == "2"
    assert canary.deploy_s is not None
    assert f"{canary.function} canary: {end}" in summarise(report)


def test_a_rollout_that_does_not_end_is_open_after_the_settling_time(tmp_path: Path) -> None:
    trace = write_trace(tmp_path, COUNTS)
    with running(Scripted(roll_out_as="open")) as platform:
        report = replay_live(options(platform, trace, rollouts=["canary"], settle_s=0.5), lambda line: None)
    assert [(each.state, each.open_s) for each in report.rollouts] == [("open", None)] * 2


def test_a_kill_is_refused_before_anything_is_deployed(tmp_path: Path) -> None:
    trace = write_trace(tmp_path, COUNTS)
    platform = Scripted()
    with running(platform), pytest.raises(Invalid, match="is no platform of this machine"):
        replay_live(options(platform, trace, kills=[parse_kill("control")]), lambda line: None)
    assert platform.deployed == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"asynchronous": 1.5}, "--async"),
        ({"streamed": -0.1}, "--stream"),
        ({"asynchronous": 0.6, "streamed": 0.6}, "more than 1"),
        ({"settle_s": -1.0}, "--settle"),
        ({"rollouts": ["canary"], "rollout_functions": 0}, "--rollout-functions"),
        ({"rollouts": ["canary", "shadow", "blue-green"]}, "3 strategies need"),
        ({"speed": 0.0}, "--speed"),
        ({"warming": "guess"}, "--warming"),
        ({"spare": -1}, "--spare"),
        ({"template_keep_alive_s": -1.0}, "--template-keep-alive"),
        ({"prefix": "Not-Valid"}, "--prefix"),
        ({"sample_s": 0.0}, "--sample"),
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
        register(app, lambda: (platform.url, "iso_key"), no_records)
        app.callback()(lambda: None)
        arguments = ["replay", str(trace), "--live", "--speed", "240", "--minutes", "3", "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)

    body = json.loads(result.stdout)
    assert (body["invocations"], body["errors"], body["cold_starts"]) == (55, 0, 2)
    assert json.loads((tmp_path / "out" / "replay.json").read_text()) == body
    assert (tmp_path / "out" / "replay.png").read_bytes().startswith(b"\x89PNG")


def test_the_word_run_may_be_left_out_or_said(tmp_path: Path) -> None:
    app = typer.Typer()
    register(app, lambda: ("http://127.0.0.1:9", "none"), no_records)
    app.callback()(lambda: None)
    words = ["--live", str(tmp_path)]
    for before in (["replay", "run"], ["replay"], ["replay", "--seed", "3"]):
        result = CliRunner().invoke(app, [*before, *words])
        assert isinstance(result.exception, Invalid), result.output
        assert "durations.csv and memory.csv" in result.exception.message
    for asked in (["replay", "--help"], ["replay"]):
        assert "compare" in CliRunner().invoke(app, asked).output


def test_run_needs_to_be_told_live_and_without_a_word_a_trace_is_simulated(tmp_path: Path) -> None:
    app = typer.Typer()
    register(app, lambda: ("", ""), no_records)
    app.callback()(lambda: None)
    result = CliRunner().invoke(app, ["replay", "run", str(tmp_path)])
    assert isinstance(result.exception, Invalid)
    assert "--live" in result.exception.message
    (tmp_path / "calls.csv").write_text("0,a\n30,a\n")
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "calls.csv"), "--policy", "fixed:1"])
    assert result.exit_code == 0, result.output
    assert "fixed:1" in result.stdout
