"""Decides where each revision waits: memory goes where it avoids most cold starts for each GB that lies idle.

A call that comes with probability p in the coming minute, to a revision that holds g GB, costs (1 - p)·g of idle memory
to be waited for, and spares p cold starts; a rung from which a start takes part of the time spares part of one. With
one price for idle memory each revision decides for itself, and all together do what is best for the sum (Lagrange; H.
Everett, "Generalized Lagrange multiplier method", Operations Research 11, 1963). A step up the ladder is worth it
where odds(p) x (what it spares / the GB it takes) is at least the price."""

from typing import Final

import numpy

from isotherm.warming.budgets import Budget
from isotherm.warming.model import Action, Doubles, Integers, Observed, Outlook, Prices, Rung

__all__ = ["choose", "ladder", "odds_of", "plan", "rungs", "within"]

LEAST, MOST = 1e-9, 1 - 1e-9
RUNGS: Final = len(Rung)


def odds_of(probability: Doubles) -> Doubles:
    clipped = numpy.clip(probability, LEAST, MOST)
    odds: Doubles = clipped / (1 - clipped)
    return odds


def ladder(gb: Doubles, start_s: Doubles) -> Doubles:
    """What each step up spares for each GB: [n, rungs - 1], never rising. From the memory and the start time of each
    rung [n, rungs]; a rung that others beat, or that cannot be had (infinite GB), takes the step of the one above it
    or, where there is none, 0: nobody stops on it."""
    spared = 1 - start_s / numpy.maximum(start_s[:, :1], 1e-12)
    n, rungs = gb.shape
    steps = numpy.zeros((n, rungs - 1))
    at = numpy.zeros(n, int)
    rows = numpy.arange(n)
    for _ in range(rungs - 1):
        slopes = numpy.full((n, rungs), -numpy.inf)
        for rung in range(1, rungs):
            more_gb, more = gb[:, rung] - gb[rows, at], spared[:, rung] - spared[rows, at]
            with numpy.errstate(divide="ignore", invalid="ignore"):
                slope = numpy.where(more > 0, more / numpy.maximum(more_gb, 1e-12), -numpy.inf)
            slopes[:, rung] = numpy.where((rung > at) & numpy.isfinite(gb[:, rung]), slope, -numpy.inf)
        best = rungs - 1 - slopes[:, ::-1].argmax(axis=1)  # of equal ones the highest
        taken = numpy.isfinite(slopes[rows, best])
        for rung in range(1, rungs):
            covered = taken & (rung > at) & (rung <= best)
            steps[covered, rung - 1] = slopes[rows, best][covered]
        at = numpy.where(taken, best, at)
    falling: Doubles = numpy.minimum.accumulate(steps, axis=1)  # rounding may let a step rise by a last digit
    return falling


def choose(odds: Doubles, steps: Doubles, price: Doubles) -> Integers:
    """The rung of each [n], by its odds [n], its steps [n, rungs - 1] and the price of its group [n]."""
    worth = odds[:, None] * steps
    chosen: Integers = ((worth > 0) & (worth >= price[:, None])).sum(axis=1).astype(numpy.int32)
    return chosen


def within(rung: Integers, odds: Doubles, steps: Doubles, gb: Doubles, limit_gb: float) -> Integers:
    """The same, with the steps that spare least for their memory taken back until all together hold at most that."""
    finite = gb.copy()
    for level in range(1, gb.shape[1]):  # what cannot be had holds what the rung below it does
        finite[:, level] = numpy.where(numpy.isfinite(gb[:, level]), gb[:, level], finite[:, level - 1])
    held = finite[numpy.arange(len(rung)), rung].sum()
    if held <= limit_gb:
        return rung
    rows, rungs = numpy.nonzero(numpy.arange(1, gb.shape[1])[None, :] <= rung[:, None])
    takes = finite[rows, rungs + 1] - finite[rows, rungs]
    worth = odds[rows] * steps[rows, rungs]
    out = rung.copy()
    for k in numpy.lexsort((-rungs, worth)):
        if held <= limit_gb:
            break
        row = rows[k]
        if out[row] == rungs[k] + 1:
            held -= takes[k]
            out[row] -= 1
    return _off_skipped(out, gb, steps)


def rungs(odds: Doubles, steps: Doubles, gb: Doubles, group: Integers, prices: Prices) -> Integers:
    """Where each unit is to wait in a minute [n], by the odds of a call in it [n]: what is worth the price of its
    group, as far as the memory of its group goes."""
    rung = choose(odds, steps, prices.shadow[group])
    if prices.limit_gb is None:
        return rung
    if len(prices.limit_gb) == 1:
        return within(rung, odds, steps, gb, float(prices.limit_gb[0]))
    finite = numpy.where(numpy.isfinite(gb), gb, 0.0)
    held = numpy.bincount(group, finite[numpy.arange(len(rung)), rung], len(prices.limit_gb))
    for over in numpy.flatnonzero(held > prices.limit_gb):
        mine = numpy.flatnonzero(group == over)
        rung[mine] = within(rung[mine], odds[mine], steps[mine], gb[mine], float(prices.limit_gb[over]))
    return rung


def _off_skipped(rung: Integers, gb: Doubles, steps: Doubles) -> Integers:
    """Down from a rung on which nobody stops: one that cannot be had, or that shares its step with the one above."""
    out = rung.copy()
    for level in range(gb.shape[1] - 2, 0, -1):
        shares = (steps[:, level] == steps[:, level - 1]) | ~numpy.isfinite(gb[:, level])
        out = numpy.where((out == level) & shares, level - 1, out).astype(numpy.int32)
    return out


def plan(observed: Observed, forecast: Outlook, budget: Budget | None, prices: Prices, now: int) -> list[Action]:
    """What is to change: one action for each revision whose rung or number of instances is not as it should be, or that
    is to be warm later. `now` is a minute; so are those of the actions.

    Idle budgets and shares of cold starts are kept by the shadow prices and limits, which follow what was spent
    (`warming.accounts`); a host's memory is kept here, exactly. `budget` None: by the prices alone.
    """
    steps = ladder(observed.gb, observed.start_s)
    horizon = forecast.hazard.shape[1]
    odds = odds_of(forecast.hazard)
    if forecast.weight is not None:
        odds *= forecast.weight[:, None]
    at_once = [rungs(odds[:, j], steps, observed.gb, observed.group, prices) for j in range(horizon)]
    wanted = numpy.where(forecast.hazard > 0, numpy.stack(at_once, axis=1), Rung.COLD)
    instances = numpy.where(wanted[:, 0] == Rung.WARM, numpy.maximum(forecast.instances, 1), 0)
    if budget is not None and budget.kind == "host":
        wanted[:, 0], instances = _within_host(observed, odds[:, 0], steps, wanted[:, 0], instances, budget.amount)
    as_it_is = (wanted == observed.rung[:, None]).all(axis=1) & (instances == observed.instances)
    return [
        action
        for i in numpy.flatnonzero(~as_it_is)
        if (action := _action(observed, int(i), wanted[i], int(instances[i]), now, float(forecast.hazard[i, 0])))
    ]


def _within_host(
    observed: Observed, odds: Doubles, steps: Doubles, rung: Integers, instances: Integers, limit_gb: float
) -> tuple[Integers, Integers]:
    """All rungs within the host's memory; instances beyond the first where there is room left, likeliest first."""
    kept = within(rung, odds, steps, observed.gb, limit_gb)
    finite = numpy.where(numpy.isfinite(observed.gb), observed.gb, 0.0)
    left = limit_gb - finite[numpy.arange(len(kept)), kept].sum()
    out = numpy.where(kept == Rung.WARM, 1, 0)
    more = numpy.flatnonzero((kept == Rung.WARM) & (instances > 1))
    for i in more[numpy.argsort(-odds[more], kind="stable")]:
        own = finite[i, Rung.WARM]
        extra = min(int(instances[i]) - 1, int(left / own) if own > 0 else int(instances[i]) - 1)
        out[i] += extra
        left -= extra * own
    return kept, out.astype(numpy.int32)


def _action(observed: Observed, i: int, wanted: Integers, instances: int, now: int, expected: float) -> Action | None:
    rung = int(wanted[0])
    colder = numpy.flatnonzero(wanted < rung)
    until = int(colder[0]) if len(colder) else None
    after = until or 0
    warm = numpy.flatnonzero(wanted[after:] == Rung.WARM)
    again = after + int(warm[0]) if len(warm) and wanted[after] < Rung.WARM else None
    as_it_is = rung == observed.rung[i] and instances == observed.instances[i]
    if as_it_is and again is None and until is None:
        return None
    return Action(
        observed.names[i],
        Rung(rung),
        instances,
        None if until is None else now + until,
        None if again is None else now + again,
        expected,
    )
