"""The decision itself: steps of the ladder, one price, memory within a limit, actions."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import Invalid
from isotherm.warming.budgets import Budget, parse_budget
from isotherm.warming.model import Observed, Outlook, Prices, Rung
from isotherm.warming.policy import choose, ladder, odds_of, plan, within

RUNGS = len(Rung)
LADDER_GB = [0.0, numpy.inf, 0.01, 0.1]
START_S = [0.1, 0.1, 0.01, 0.0]


@st.composite
def fleets(draw: st.DrawFn) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """(odds [n], memory [n, rungs], start times [n, rungs])."""
    n = draw(st.integers(1, 12))
    numbers = st.floats(0.001, 4.0)
    gb = numpy.zeros((n, RUNGS))
    start_s = numpy.zeros((n, RUNGS))
    for i in range(n):
        gb[i, 1:] = sorted(draw(st.lists(numbers, min_size=3, max_size=3)))
        if draw(st.booleans()):
            gb[i, draw(st.integers(1, 2))] = numpy.inf
        start_s[i, :3] = sorted(draw(st.lists(numbers, min_size=3, max_size=3)), reverse=True)
    odds = numpy.array(draw(st.lists(st.floats(1e-6, 100), min_size=n, max_size=n)))
    return odds, gb, start_s


def observed(gb: numpy.ndarray, start_s: numpy.ndarray) -> Observed:
    n = len(gb)
    names = tuple(f"r{i}" for i in range(n))
    zeros = numpy.zeros(n, numpy.int32)
    return Observed(names, zeros, gb, start_s, zeros, zeros)


@given(fleets())
def test_steps_never_rise_so_that_one_price_stops_each_at_one_rung(fleet: tuple[numpy.ndarray, ...]) -> None:
    _, gb, start_s = fleet
    steps = ladder(gb, start_s)
    assert (numpy.diff(steps, axis=1) <= 0).all()
    assert (steps >= 0).all()


def test_steps_worked_out_by_hand() -> None:
    """A template spares 0.9 of a start for 0.01 GB; the instance the other 0.1 for 0.09 more. Nothing stops on frozen,
    which cannot be had: its step is the template's."""
    steps = ladder(numpy.array([LADDER_GB]), numpy.array([START_S]))
    assert steps[0] == pytest.approx([90.0, 90.0, 0.1 / 0.09])


def test_a_template_that_weighs_as_much_as_an_instance_is_passed_over() -> None:
    steps = ladder(numpy.array([[0.0, numpy.inf, 0.1, 0.1]]), numpy.array([START_S]))
    assert steps[0] == pytest.approx([10.0, 10.0, 10.0])


@given(fleets(), st.floats(1e-6, 1e3), st.floats(1.0, 100.0))
def test_a_higher_price_never_holds_more(fleet: tuple[numpy.ndarray, ...], price: float, factor: float) -> None:
    odds, gb, start_s = fleet
    steps = ladder(gb, start_s)
    low = choose(odds, steps, numpy.full(len(odds), price))
    high = choose(odds, steps, numpy.full(len(odds), price * factor))
    assert (high <= low).all()


@given(fleets(), st.floats(1e-6, 1e3), st.floats(0.0, 20.0))
def test_what_is_held_stays_within_the_limit_on_rungs_that_can_be_had(
    fleet: tuple[numpy.ndarray, ...], price: float, limit_gb: float
) -> None:
    odds, gb, start_s = fleet
    steps = ladder(gb, start_s)
    rung = choose(odds, steps, numpy.full(len(odds), price))
    kept = within(rung, odds, steps, gb, limit_gb)
    held = gb[numpy.arange(len(kept)), kept]
    assert numpy.isfinite(held).all()
    assert held.sum() <= limit_gb + 1e-9
    assert (kept <= rung).all()


@given(fleets(), st.floats(1e-3, 10.0), st.integers(1, 6), st.integers(0, 10**6))
def test_a_plan_keeps_the_hosts_memory_and_its_actions_are_well_formed(
    fleet: tuple[numpy.ndarray, ...], limit_gb: float, horizon: int, now: int
) -> None:
    odds, gb, start_s = fleet
    n = len(odds)
    hazard = numpy.tile((odds / (1 + odds))[:, None], (1, horizon)) * numpy.linspace(1, 0.1, horizon)
    outlook = Outlook(hazard, numpy.full(n, 3, numpy.int32))
    budget, prices = Budget("host", limit_gb), Prices(1e-6, numpy.array([0.0]))
    before = observed(gb, start_s)
    actions = plan(before, outlook, budget, prices, now)
    held = sum(
        gb[int(action.revision[1:]), action.rung] * max(1, action.instances) if action.rung else 0 for action in actions
    )
    assert held <= limit_gb + 1e-9
    assert len({action.revision for action in actions}) == len(actions)
    for action in actions:
        assert (action.instances > 0) == (action.rung is Rung.WARM)
        assert action.until_minute is None or now < action.until_minute < now + horizon
        assert action.prewarm_minute is None or now < action.prewarm_minute < now + horizon
    assert plan(before, outlook, budget, prices, now) == actions


def test_a_timer_is_cold_between_its_calls_and_warm_before_the_next() -> None:
    gb, start_s = numpy.array([[0.0, numpy.inf, numpy.inf, 0.1]]), numpy.array([START_S])
    hazard = numpy.array([[0.001, 0.001, 0.9, 0.9, 0.001]])
    prices = Prices(1e-6, numpy.array([1.0]))  # a cold start for each GB·minute: odds of 0.1 are enough for 0.1 GB
    one = numpy.ones(1, numpy.int32)
    before = Observed(("timer",), 0 * one, gb, start_s, 3 * one, one)
    action = plan(before, Outlook(hazard, one), Budget("idle", 1.0), prices, 100)[0]
    assert (action.rung, action.instances, action.until_minute, action.prewarm_minute) == (Rung.COLD, 0, None, 102)
    later = plan(before, Outlook(hazard[:, 2:], one), Budget("idle", 1.0), prices, 102)[0]
    assert (later.rung, later.until_minute, later.prewarm_minute) == (Rung.WARM, 104, None)


def test_what_is_as_it_should_be_needs_no_action() -> None:
    gb, start_s = numpy.array([LADDER_GB]), numpy.array([START_S])
    one = numpy.ones(1, numpy.int32)
    outlook = Outlook(numpy.full((1, 4), 0.5), one)
    prices = Prices(1e-6, numpy.array([0.1]))
    assert plan(Observed(("r",), 0 * one, gb, start_s, 3 * one, one), outlook, Budget("idle", 1), prices, 0) == []
    assert plan(Observed(("r",), 0 * one, gb, start_s, 2 * one, one), outlook, Budget("idle", 1), prices, 0) != []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_odds_are_finite(probabilities: list[float]) -> None:
    assert numpy.isfinite(odds_of(numpy.array(probabilities))).all()


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("p_cold <= 1%", Budget("p_cold", 0.01)),
        ("p_cold<=0.05 per workload", Budget("p_cold", 0.05, "workload")),
        ("idle <= 2 GBh/day per namespace", Budget("idle", 2, "namespace")),
        ("idle <= 2.5 GB·h", Budget("idle", 2.5)),
        ("host <= 4 GB", Budget("host", 4)),
    ],
)
def test_budgets_are_read(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    "text",
    ["", "idle", "p_cold <= 200%", "host <= 4 GB per workload", "idle <= 2 GB", "p_cold <= 1 GB", "idle <= -1 GBh"],
)
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="budget"):
        parse_budget(text)


def test_an_idle_budget_of_a_day_is_told_by_the_minute() -> None:
    assert Budget("idle", 24).gb_minutes_a_minute == 1.0
