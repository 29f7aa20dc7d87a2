"""`isotherm replay TRACE`: the command, its JSON, its picture, and what it says of the real traces."""

import json
import os
from pathlib import Path
from typing import Any

import numpy
import pytest
from typer.testing import CliRunner

from isotherm.base.errors import Invalid
from isotherm.cli.main import app
from isotherm.replay.drivers.logs import read_log
from isotherm.replay.simulated.log import Log
from isotherm.replay.simulated.policies import Target, parse_target, play, spent
from isotherm.replay.simulated.rungs import templates_like_fixed
from isotherm.replay.simulated.service import Options, ratio_interval, simulate, simulate_log
from isotherm.replay.simulated.train import halves, train
from tests.replay.traces import write_trace

TRACES = Path(os.environ.get("ISOTHERM_TRACES", "../shared/data")) / "azure_functions_2019"
FIELDS = {
    "policy",
    "cold_starts",
    "avoidable_cold_starts",
    "idle_minutes",
    "idle_gb_s",
    "busy_gb_s",
    "p75_app_cold_rate",
}


def counts() -> dict[str, list[int]]:
    """Timers, and some that come as they like, over four hours."""
    chance = numpy.random.default_rng(5)
    timers = {f"timer{p}": [int(m % p == 0) for m in range(240)] for p in (7, 15, 20, 30)}
    return timers | {f"free{i}": (chance.random(240) < 0.03 * (i + 1)).astype(int).tolist() for i in range(4)}


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write_trace(tmp_path / "made", counts())


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(app, ["replay", *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_command_prints_json_and_draws_the_front(trace: Path, tmp_path: Path) -> None:
    body = run(str(trace), "--policy", "fixed:10,foresight", "--budget", "idle=fixed:10", "--unit", "function",
               "--out", str(tmp_path / "out"), "--json")  # fmt: skip
    fixed, ours = body["policies"]
    assert fixed.keys() >= FIELDS
    assert (fixed["policy"], ours["policy"]) == ("fixed:10", "foresight")
    assert ours["idle_minutes"] <= fixed["idle_minutes"]
    assert ours["avoidable_cold_starts"] < fixed["avoidable_cold_starts"]
    assert ours["within_budget"]
    assert json.loads((tmp_path / "out" / "simulation.json").read_text()) == body
    assert (tmp_path / "out" / "simulation.png").read_bytes().startswith(b"\x89PNG")
    assert {each["family"] for each in body["front"]} >= {"fixed", "histogram", "greedy_dual", "foresight", "oracle"}


def test_without_json_it_is_tables_of_eighty_columns(trace: Path) -> None:
    result = CliRunner().invoke(app, ["replay", str(trace)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for head in ("avoidable", "idle GB·s", "apps p50"):  # each a table with a policy a line, its columns aligned
        at = next(number for number, line in enumerate(lines) if head in line)
        assert {len(line) for line in lines[at : at + 8]} == {len(lines[at])}
        assert [line.split()[0].split(":")[0] for line in lines[at + 1 : at + 8]] == [
            "none", "fixed", "histogram", "greedy_dual", "foresight", "oracle", "oracle_prewarm"
        ]  # fmt: skip


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_it_says_on_standard_error_what_it_does(trace: Path, options: list[str]) -> None:
    result = CliRunner().invoke(app, ["replay", str(trace), "--policy", "none,fixed:10", *options])
    assert "2 of 2: playing fixed:10" in result.stderr
    assert "playing" not in result.stdout


def test_live_still_drives_a_platform(trace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ISOTHERM_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ISOTHERM_KEY", "none")
    result = CliRunner().invoke(app, ["replay", str(trace), "--live", "--minutes", "1"])
    assert result.exit_code != 0
    assert "playing" not in result.output


@pytest.mark.parametrize("text", ["fast", "fixed:-1", "fixed:x", "greedy_dual:1:2", "oracle:3", "foresight:2"])
def test_what_is_no_policy_is_refused(trace: Path, text: str) -> None:
    with pytest.raises(Invalid, match="policy"):
        simulate(trace, Options(policies=(text,)), lambda line: None)


@pytest.mark.parametrize(
    "text",
    [
        *("idle", "idle=", "money=3", "idle=foresight", "idle=nothing", "idle=-1", "idle=nan", "idle=inf"),
        *("memory=2GBh/day", "p_cold=101%", "p_cold=2", "p_cold=-1%", "p_cold=fixed:10", "idle=2GBh/week"),
    ],
)
def test_what_is_no_budget_is_refused(trace: Path, text: str) -> None:
    with pytest.raises(Invalid, match=r"budget|policy"):
        simulate(trace, Options(budget=text), lambda line: None)


def test_each_policy_keeps_to_the_budget_and_the_oracle_is_the_bound(trace: Path) -> None:
    log = read_log(trace, "function")
    target = parse_target("idle=fixed:10", log)
    demand = log.demand(by_memory=False)
    simulation = simulate_log(log, Options(), lambda line: None)
    by_name = {each.asked: each for each in simulation.policies}
    for name in ("fixed", "histogram", "greedy_dual", "foresight", "oracle", "oracle_prewarm"):
        assert spent(log, demand, play(name, log, target).plane) <= target.limit * 1.005
    assert by_name["oracle"].avoidable_cold_starts <= by_name["fixed:10"].avoidable_cold_starts
    assert by_name["oracle_prewarm"].avoidable_cold_starts <= by_name["foresight"].avoidable_cold_starts


def test_memory_may_be_what_is_budgeted(trace: Path) -> None:
    log = read_log(trace, "function")
    target = parse_target("memory=fixed:10", log)
    assert log.gb is not None
    fixed = play("fixed:10", log, target)
    assert target.limit == pytest.approx(spent(log, log.demand(by_memory=True), fixed.plane))
    body = run(str(trace), "--policy", "fixed:10", "--budget", "memory=fixed:10", "--json")
    assert body["idle_unit"] == "GB·minutes"
    assert spent(log, log.demand(by_memory=True), play("foresight", log, target).plane) <= target.limit * 1.005


def test_a_days_budget_is_of_memory_and_of_each_day() -> None:
    """Two days at 0.6 GB·h a day: each half an app of 0.128 GB that is always idle would take 1.5."""
    chance = numpy.random.default_rng(2)
    names = tuple(f"f{number}" for number in range(30))
    made = (chance.random((30, 2880)) < 0.01).astype(numpy.int32)
    log = Log("made", 2880, names, names, numpy.arange(30, dtype=numpy.int32), made)
    target = parse_target("idle=0.6GBh/day", log)
    assert (target.limit, target.by_memory, target.period) == (pytest.approx(72.0), True, 1440)
    plane = play("foresight", log, target).plane
    idle = ((plane > 0) & (made == 0)).sum(axis=0) * 0.128 / 60
    for day in (idle[:1440].sum(), idle[1440:].sum()):
        assert 0.5 < day <= 0.6 * 1.02
    assert target.holds(log, plane)
    assert not target.holds(log, play("fixed:10", log, target).plane)


@pytest.mark.parametrize("policy", ["fixed", "greedy_dual", "oracle", "oracle_prewarm"])
def test_a_share_of_cold_starts_is_had_for_the_least_that_takes(trace: Path, policy: str) -> None:
    log = read_log(trace, "function")
    spends = []
    for share in ("40%", "0.1"):
        target = parse_target(f"p_cold={share}", log)
        plane = play(policy, log, target).plane
        assert target.holds(log, plane)
        spends.append(spent(log, log.demand(by_memory=True), plane))
    assert spends[0] < spends[1]


def test_a_histogram_has_few_enough_cold_starts_or_says_so(trace: Path) -> None:
    log = read_log(trace, "function")
    target = parse_target("p_cold=10%", log)
    assert target.holds(log, play("histogram", log, target).plane)
    assert not target.holds(log, play("none", log, target).plane)


def test_the_report_of_a_share_of_cold_starts(trace: Path) -> None:
    body = run(str(trace), "--policy", "fixed,foresight", "--budget", "p_cold=20%", "--unit", "function", "--json")
    fixed, ours = body["policies"]
    assert body["budget_limit"] == 0.2
    assert fixed["within_budget"]
    assert ours["idle_minutes"] < fixed["idle_minutes"]


def test_single_calls_are_counted_one_by_one(tmp_path: Path) -> None:
    """Kept for a minute; calls at 0, 59 and 130 s: the third comes 71 s after the second."""
    (tmp_path / "calls.csv").write_text("0,a\n59,a\n130,a\n")
    body = run(str(tmp_path / "calls.csv"), "--policy", "fixed:1", "--start-ms", "0", "--json")
    assert body["granularity"] == "call"
    assert (body["policies"][0]["cold_starts"], body["policies"][0]["avoidable_cold_starts"]) == (2, 1)
    assert body["policies"][0]["idle_minutes"] == pytest.approx((59 + 60 + 50) / 60, abs=0.001)
    by_minute = run(str(tmp_path / "calls.csv"), "--policy", "fixed:1", "--resolution", "minute", "--json")
    assert by_minute["policies"][0]["cold_starts"] == 1


def test_a_seed_gives_one_report(trace: Path) -> None:
    reports = [
        simulate(trace, Options(policies=("fixed:2",), seed=seed), lambda line: None).policies[0] for seed in (1, 1, 2)
    ]
    facts = [(each.idle_gb_s, each.busy_gb_s, each.resolved_cold_starts) for each in reports]
    assert facts[0] == facts[1] != facts[2]


def test_an_interval_holds_what_it_is_of() -> None:
    chance = numpy.random.default_rng(0)
    widths = []
    for units in (400, 6400):
        theirs, ours = chance.poisson(20, units).astype(float), chance.poisson(5, units).astype(float)
        interval = ratio_interval(ours, theirs)
        assert interval is not None
        assert interval.low < ours.sum() / theirs.sum() < interval.high
        widths.append(interval.high - interval.low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.2)


def test_halves_share_no_series_and_no_app() -> None:
    chance = numpy.random.default_rng(1)
    base = chance.integers(0, 3, (20, 30)).astype(numpy.int32)
    series = base[chance.integers(0, 20, 60)]
    unit = numpy.repeat(numpy.arange(30, dtype=numpy.int32), 2)
    names = tuple(str(i) for i in range(60))
    log = Log("made", 30, names, tuple(str(i) for i in range(30)), unit, series)
    tuned, held_out = halves(log)
    assert len(tuned.units) + len(held_out.units) == 30
    assert not {row.tobytes() for row in tuned.counts} & {row.tobytes() for row in held_out.counts}
    assert not set(tuned.units) & set(held_out.units)


def test_a_model_that_is_trained_on_a_log_can_be_played(trace: Path) -> None:
    log = read_log(trace, "function")
    target = parse_target("idle=fixed:10", log)
    played = play("foresight", log, target, train([log], trees=8, depth=3))
    assert spent(log, log.demand(by_memory=False), played.plane) <= target.limit * 1.005


def real(name: str) -> Log:
    if not (TRACES / name).exists():
        pytest.skip(f"no trace at {TRACES / name}; ISOTHERM_TRACES names the folder above")
    return read_log(TRACES / name)


def test_the_known_figures_of_the_real_trace_come_out() -> None:
    by_name = {
        each.policy: each
        for each in simulate_log(real("hours8"), Options(policies=("fixed:10", "oracle")), lambda line: None).policies
    }
    assert (by_name["fixed:10"].avoidable_cold_starts, by_name["fixed:10"].idle_minutes) == (1548, 57_758)
    assert by_name["oracle"].avoidable_cold_starts == 474


def test_apps_that_were_held_out_have_a_sixth_of_the_cold_starts_for_the_same_idle_time() -> None:
    _, held_out = halves(real("hours8"))
    fixed, ours = simulate_log(held_out, Options(policies=("fixed:10", "foresight")), lambda line: None).policies
    assert ours.idle_minutes <= fixed.idle_minutes
    assert ours.avoidable_cold_starts <= fixed.avoidable_cold_starts / 6
    target = parse_target("idle=fixed:10", held_out)
    half = play("foresight", held_out, Target(target.limit / 2, False, None))
    assert spent(held_out, held_out.demand(by_memory=False), half.plane) <= target.limit / 2


def test_most_that_a_keep_alive_starts_from_nothing_finds_a_template() -> None:
    found = templates_like_fixed(real("hours8"), 7 / 1024, 0.022, 0.088)
    assert found.from_nothing == 1548 + 378
    assert found.share >= 0.95
    assert found.idle_gb_minutes <= found.fixed_idle_gb_minutes
