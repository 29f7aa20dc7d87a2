"""What a kill excuses and what it does not; how a rollout's calls are counted."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isotherm.replay.harm import NOTICED_S, excuse, kill_report, rollout_report
from isotherm.replay.kills import Kill
from isotherm.replay.rollouts import RolloutRun
from tests.replay.made import outcomes

NAMES = ["f", "g"]
F = np.zeros(4, dtype=np.int32)


def kill(*functions: str | None, at_s: float = 10.0, what: str = "instances") -> Kill:
    return Kill(what, at_s, at_s, at_s + 0.01, found=9, functions=list(functions))


def test_what_was_in_flight_in_a_killed_instance_is_excused() -> None:
    made = outcomes([9.9, 9.0, 12.0, 9.9], [10.1, 9.8, 12.1, 10.1], crashed=[0, 1, 2], failed=[3])
    # The second was over before, the third began when all was noticed, the fourth did not fail by its instance's end.
    assert excuse([kill("f", "f", "f")], made, F, NAMES).tolist() == [1, 0, 0, 0]


def test_an_instance_excuses_one_call_of_its_own_function() -> None:
    made = outcomes([9.9] * 4, [10.1] * 4, crashed=[0, 1, 2, 3])
    rows = np.array([0, 0, 1, 1], dtype=np.int32)
    assert excuse([kill("f")], made, rows, NAMES).tolist() == [1, 0, 0, 0]
    assert excuse([kill("f", "g")], made, rows, NAMES).tolist() == [1, 0, 1, 0]
    # One that had not been called when it was looked at may have got a call since.
    assert excuse([kill(None)], made, rows, NAMES).tolist() == [1, 0, 0, 0]


def test_a_call_sent_before_the_death_was_noticed_is_excused() -> None:
    sent = 10.01 + NOTICED_S / 2
    made = outcomes([sent], [sent + 0.1], crashed=[0])
    assert excuse([kill("f")], made, F[:1], NAMES).tolist() == [1]


def test_a_call_that_two_kills_could_excuse_leaves_the_first_to_one_that_only_it_can() -> None:
    made = outcomes([9.4, 9.9], [15.1, 10.1], crashed=[0, 1])
    kills = [kill("f"), kill("f", at_s=15.0)]
    assert excuse(kills, made, F[:2], NAMES).tolist() == [2, 1]


def test_killing_control_excuses_nothing() -> None:
    made = outcomes([9.9], [10.1], crashed=[0])
    assert excuse([kill(what="control")], made, F[:1], NAMES).tolist() == [0]


@given(
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5), st.integers(0, 1), st.booleans()), min_size=1, max_size=60),
    st.lists(st.lists(st.sampled_from(["f", "g", None]), max_size=6), max_size=4),
)
def test_never_more_is_excused_than_was_killed(
    calls: list[tuple[float, float, int, bool]], killed: list[list[str | None]]
) -> None:
    kills = [kill(*names, at_s=5.0 + 5 * number) for number, names in enumerate(killed)]
    crashed = [index for index, call in enumerate(calls) if call[3]]
    made = outcomes([call[0] for call in calls], [call[0] + call[1] for call in calls], crashed=crashed)
    rows = np.array([call[2] for call in calls], dtype=np.int32)

    given_to = excuse(kills, made, rows, NAMES)

    assert set(np.flatnonzero(given_to).tolist()) <= set(crashed)
    for number, each in enumerate(kills, 1):
        excused = rows[given_to == number]
        assert len(excused) <= len(each.functions)
        for row, name in enumerate(NAMES):
            assert (excused == row).sum() <= each.functions.count(name) + each.functions.count(None)


def test_service_is_counted_from_the_first_call_after_the_kill() -> None:
    # In flight at the kill; failed after it; good; good again.
    made = outcomes([9.9, 11.0, 11.5, 20.0], [10.1, 11.2, 11.8, 20.1], crashed=[0], failed=[1])
    each = kill("f", "g")
    told = kill_report(1, each, made, F, NAMES, excuse([each], made, F, NAMES))
    assert (told.killed, told.unnamed, told.functions) == (2, 0, {"f": 1, "g": 1})
    assert (told.excused, told.not_excused, told.failed) == (1, 1, {"invoke 502": 2})
    assert told.served_again_ms.max == 800.0  # from 11.0 to 11.8
    assert (told.not_called_again, told.not_served_again) == (1, 0)


def test_a_function_that_never_answers_well_again_is_told() -> None:
    made = outcomes([11.0], [11.2], failed=[0])
    each = kill("f")
    told = kill_report(1, each, made, F[:1], NAMES, excuse([each], made, F[:1], NAMES))
    assert (told.not_called_again, told.not_served_again, told.served_again_ms.max) == (0, 1, 0)


def test_control_is_told_by_when_it_was_back() -> None:
    made = outcomes([10.5, 16.0], [10.6, 16.1], failed=[0, 1])
    each = replace(kill(what="control"), found=1, back_s=0.75)
    told = kill_report(1, each, made, F[:2], NAMES, np.zeros(2, dtype=np.int32))
    # The second failed six seconds later: that is told among the errors, not with the kill.
    assert (told.killed, told.back_s, told.excused, told.not_excused) == (1, 0.75, 0, 1)


def test_a_rollouts_calls_are_those_that_were_under_way_in_it() -> None:
    made = outcomes([1.0, 4.9, 6.0, 7.0, 9.5], [1.1, 5.2, 6.1, 7.1, 9.6], failed=[0, 2, 3, 4])
    made = replace(made, version=np.array([1, 1, 2, 0, 2], dtype=np.int32))
    run = RolloutRun("f", "canary", began_s=5.0, ready_s=5.5, ended_s=9.0, revision=2, state="finished")
    excused = np.array([False, False, False, True, False])
    told = rollout_report(run, made, np.ones(5, dtype=np.bool_), excused)
    assert (told.requests, told.errors, told.excused) == (3, 1, 1)
    assert told.by_revision == {"1": 1, "2": 1}
    assert (told.deploy_s, told.open_s) == (0.5, 3.5)


def test_a_rollout_that_was_not_over_counts_to_the_end() -> None:
    made = outcomes([1.0, 99.0], [1.1, 99.1], failed=[1])
    told = rollout_report(RolloutRun("f", "canary", 5.0), made, np.ones(2, dtype=np.bool_), np.zeros(2, dtype=np.bool_))
    assert (told.state, told.requests, told.errors, told.deploy_s, told.open_s) == ("building", 1, 1, None, None)
