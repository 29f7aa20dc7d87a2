"""The chance that a function is called in a minute: functions that nothing was tuned on, five hours of a day."""

import numpy

from benchmarks.result import Bar, Check, Figure
from benchmarks.rows.forecast import traces
from benchmarks.session import Outcome, Session
from benchmarks.shipped_model import distinct_part
from isotherm.forecast.drivers.hybrid import Hybrid
from isotherm.forecast.leads import LEADS
from isotherm.forecast.model import Floats, Histories
from isotherm.forecast.registry import open_forecaster
from isotherm.forecast.traces import read_trace

__all__ = ["measure"]

HOURS = 5
EVERY = 3  # minutes from one origin to the next
CERTAIN = 0.002  # no chance counts as nearer to 0 or 1
SAMPLES = 2000


def measure(session: Session) -> Outcome:
    day = distinct_part(read_trace(traces() / "azure_functions_2019" / "day"), held_out=True)
    hours = session.choose(HOURS, 1)
    start = day.counts.shape[1] - 60 * hours - max(LEADS)
    losses = _roll(day, start, start + 60 * hours)
    n = len(day.counts)
    draws = numpy.random.default_rng(1).integers(0, n, (SAMPLES, n))
    checks, figures, measured = [], [], {}
    for lead, found in losses.items():
        best = min((name for name in found if name != "hybrid"), key=lambda name: float(found[name].mean()))
        ratios = found["hybrid"][draws].mean(axis=1) / found[best][draws].mean(axis=1)
        low, high = numpy.quantile(ratios, [0.025, 0.975])
        ratio = float(found["hybrid"].mean() / found[best].mean())
        what = f"chance of an arrival, {lead} minutes ahead: log loss of hybrid to that of {best}, upper bound at 95 %"
        spread = f"{ratio:.3f} [{low:.3f}, {high:.3f}]"
        checks.append(Check(what, "≤", 1.0, "x", round(float(high), 4), spread))
        bars = [_bar(name, values, draws) for name, values in found.items()]
        figures.append(Figure(f"log loss, {lead} minutes ahead", "nats", bars))
        measured[str(lead)] = {bar.label: [bar.value, bar.low, bar.high] for bar in bars}
    return Outcome(
        settings={"functions": n, "hours": hours, "origins_every": EVERY, "leads": LEADS},
        checks=checks,
        figures=figures,
        measurements=measured,
        notes=["intervals are of 2,000 bootstrap samples of functions"],
    )


def _roll(histories: Histories, start: int, end: int) -> dict[int, dict[str, Floats]]:
    """The mean log loss of each function [n], of each forecaster, by lead."""
    forecaster = open_forecaster("hybrid", arima={"workers": 0, "most": 40})
    assert isinstance(forecaster, Hybrid)
    forecaster.fit(histories.until(start))
    sums: dict[int, dict[str, Floats]] = {lead: {} for lead in LEADS}
    origins = range(start, end, EVERY)
    for origin in origins:
        forecaster.predict(max(LEADS))
        for lead, found in sums.items():
            came = histories.counts[:, origin + lead - 1] > 0
            for name, said in forecaster.said(lead).items():
                if not isinstance(said.rows, slice):
                    continue  # of the busiest alone: not comparable
                chance = numpy.clip(said.chance, CERTAIN, 1 - CERTAIN)
                loss = -numpy.log(numpy.where(came, chance, 1 - chance)) / len(origins)
                found[name] = found.get(name, numpy.zeros(len(loss), dtype=numpy.float32)) + loss
        forecaster.update(histories.counts[:, origin : origin + EVERY].copy())
    return sums


def _bar(label: str, values: Floats, draws: numpy.typing.NDArray[numpy.int64]) -> Bar:
    low, high = numpy.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return Bar(label, round(float(values.mean()), 4), round(float(low), 4), round(float(high), 4))
