"""What a replay says of warmth: warnings, the beginning of a minute, avoidable cold starts, idle time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isotherm.replay.drivers.azure2019 import read_azure2019
from isotherm.replay.model import Scale
from isotherm.replay.platform import Sample, WarmthSeen
from isotherm.replay.policy import Plan, plan_arrivals, stand_in
from isotherm.replay.simulated.beside import Beside, log_of, simulate_beside
from isotherm.replay.warmth import WarmthAsked, begin_in_s, held_gb, warmth_report, warnings
from tests.replay.made import outcomes
from tests.replay.traces import write_trace

SEEN = WarmthSeen("foresight", "it decides", planned=True, minute_s=3.0, budget="platform: idle <= 2 GBh/day")
ASKED = WarmthAsked("foresight", 0, 600.0, 0.25, SEEN, speed=20.0)
SCALE = Scale(speed=20.0, duration=0.05, memory=1 / 16)


def test_a_minute_that_fits_is_not_warned_about() -> None:
    assert warnings(ASKED) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (replace(ASKED, speed=30.0), "ISOTHERM_WARMING_MINUTE_S=2"),
        (replace(ASKED, speed=120.0), "a --speed of 60 at most"),
        (replace(ASKED, seen=replace(SEEN, planned=False)), "has not planned yet"),
        (replace(ASKED, seen=replace(SEEN, decides="keep_alive", why="it is off")), "it is off"),
        (replace(ASKED, seen=WarmthSeen()), "not visible to this key"),
    ],
)
def test_what_keeps_a_run_from_showing_the_policy_is_said(asked: WarmthAsked, said: str) -> None:
    (warning,) = warnings(asked)
    assert said in warning
    assert warnings(replace(asked, policy="keep_alive")) == []


def test_the_trace_begins_with_a_minute_of_the_policy_where_it_fits() -> None:
    assert begin_in_s(ASKED, 100.0, 0.5) == pytest.approx(2.0)
    assert begin_in_s(ASKED, 101.6, 0.5) == pytest.approx(3.4)  # the next one would be too soon
    assert begin_in_s(replace(ASKED, speed=60.0), 100.0, 0.5) == 0.5


def test_the_budget_of_the_platform_is_told_from_that_of_keep_alives() -> None:
    assert SEEN.own_budget == "idle <= 2 GBh/day"
    assert replace(SEEN, budget="platform: idle <= what keep-alives would spend").own_budget == ""
    assert WarmthSeen().own_budget == ""


def test_only_cold_starts_after_a_functions_first_call_are_avoidable(tmp_path: Path) -> None:
    trace = read_azure2019(write_trace(tmp_path, {"a": [3], "b": [2]}))
    names = [stand_in(row, index, SCALE) for index, row in enumerate(trace.rows)]
    rows = np.array([0, 1, 0, 0, 1], dtype=np.int32)
    plan = Plan(np.arange(5.0), rows, np.zeros(5), np.zeros(5), length_s=5.0)
    made = outcomes([0, 1, 2, 3, 4], [0.5, 1.5, 2.5, 3.5, 4.5])
    recorded = np.array([True, False, True, False, True])
    counted = {names[0].name: 2, names[1].name: 1}  # the first call of the second found an instance
    samples = [Sample(at, {names[0].name: {"warm": 2, "spare": 1, "template": 1, "hot": 5}}) for at in (0.0, 2.0, 4.0)]
    after = [Sample(6.0, {names[0].name: {"warm": 5}}), Sample(7.0, {names[0].name: {"warm": 99}})]
    overhead = np.array([90.0, 1.0, 90.0, 3.0, 90.0])
    found = warmth_report(ASKED, plan, names, made, counted, recorded, overhead, [*samples, *after], None)
    assert found.avoidable == 2
    # 3 instances for 4 s, 3 to 4 in the fifth, with which the trace ends; 20 times as long in the trace.
    assert found.idle_minutes == pytest.approx(15.5 * 20 / 60, abs=0.01)
    assert found.template_minutes == pytest.approx(4.75 * 20 / 60, abs=0.01)
    assert found.warm_overhead_ms.max == 3.0
    assert (found.fits, found.minute_s, found.spare) == (True, 3.0, 0)


def test_memory_is_told_from_samples_with_a_template_alone_and_with_one_instance(tmp_path: Path) -> None:
    trace = read_azure2019(write_trace(tmp_path, {"a": [3], "b": [2]}))
    names = [stand_in(row, index, SCALE) for index, row in enumerate(trace.rows)]
    name = names[0].name
    samples = [
        Sample(0.0, {name: {"template": 1}}, {name: 5_000_000}),
        Sample(1.0, {name: {"template": 1, "warm": 1}}, {name: 8_000_000}),
        Sample(2.0, {name: {"template": 1, "warm": 2}}, {name: 99_000_000}),
        Sample(3.0, {name: {"warm": 1}}, {name: 77_000_000}),
    ]
    instance, template = held_gb(samples, names)
    assert (instance[0], template[0]) == (pytest.approx(0.003), pytest.approx(0.005))
    assert np.isnan([instance[1], template[1]]).all()


def test_the_simulator_takes_the_calls_of_the_plan_and_keeps_to_the_rules_of_a_keep_alive(tmp_path: Path) -> None:
    counts = {"timer": [int(minute % 15 == 0) for minute in range(60)], "often": [1] * 60}
    trace = read_azure2019(write_trace(tmp_path, counts))
    plan = plan_arrivals(trace, SCALE, 1)
    log = log_of(trace, SCALE, plan)
    assert log.counts.tolist() == [counts[row.function] for row in trace.rows]
    not_seen = np.full(2, np.nan)
    asked = Beside("keep_alive", 600.0, 600.0, None, 0.1, 40, not_seen, not_seen)
    found = simulate_beside(trace, SCALE, plan, asked)
    assert (found.cold_starts, found.avoidable) == (5, 3)  # gaps of the timer are 14 to 16 minutes
    assert found.idle_minutes > 60
    learned = simulate_beside(trace, SCALE, plan, replace(asked, policy="foresight"))
    assert learned.avoidable <= 3
