"""The World Cup's series, its last quarter, 10 and 60 minutes ahead: the mixture beside those it is made of."""

import os
from pathlib import Path
from typing import Any

import numpy

from benchmarks.result import Bar, Check, Figure
from benchmarks.session import Outcome, Session
from isotherm.forecast.drivers.hybrid import Hybrid
from isotherm.forecast.mixture import JUDGED
from isotherm.forecast.model import LEVELS, Floats, Histories
from isotherm.forecast.promotion import Interval, relative_difference
from isotherm.forecast.registry import open_forecaster
from isotherm.forecast.traces import read_trace

__all__ = ["measure", "traces"]

LEADS = (10, 60)
RIVALS = ("arima", "lstm", "seasonal_naive")
EVERY = 6  # minutes from one origin to the next
BLOCK_MINUTES = 720  # of the bootstrap: half a day, longer than any match day's peak
MIDDLE = JUDGED.index(LEVELS.index(0.5))


def measure(session: Session) -> Outcome:
    histories = read_trace(traces() / "worldcup98" / "requests_per_minute.csv")
    m = histories.counts.shape[1]
    start = m - m // 4
    end = session.choose(m, start + 600)
    said, actual = _roll(session, histories, start, end)
    checks, figures, measured = [], [], {}
    block = BLOCK_MINUTES // EVERY
    for lead in LEADS:
        errors = {name: numpy.abs(actual[lead] - values[:, MIDDLE]) for name, values in said[lead].items()}
        losses = {name: _pinball(values, actual[lead]) for name, values in said[lead].items()}
        for what, found in (("absolute error", errors), ("pinball loss", losses)):
            best = min(RIVALS, key=lambda name: float(found[name].mean()))
            against = {name: _compare(found["hybrid"], found[name], block) for name in found if name != "hybrid"}
            worst = against[best]
            checks.append(
                Check(
                    f"World Cup, {lead} minutes ahead: {what} of hybrid to that of {best}, upper bound at 95 %",
                    "≤",
                    1.0,
                    "x",
                    round(1 + worst.high, 4),
                    f"{1 + worst.value:.3f} [{1 + worst.low:.3f}, {1 + worst.high:.3f}]",
                )
            )
            figures.append(Figure(f"{what}, {lead} minutes ahead", "requests", [_bar(n, v) for n, v in found.items()]))
            measured[f"{what} at {lead}"] = {
                "mean": {name: round(float(values.mean()), 2) for name, values in found.items()},
                "hybrid_to": {name: [round(x, 4) for x in (i.value, i.low, i.high)] for name, i in against.items()},
            }
        measured[f"quality at {lead}"] = {name: _quality(values, actual[lead]) for name, values in said[lead].items()}
    return Outcome(
        settings={
            "origins_every": EVERY,
            "block_minutes": BLOCK_MINUTES,
            "first_origin": start,
            "last": end,
            "leads": LEADS,
        },
        checks=checks,
        figures=figures,
        measurements=measured,
        notes=[
            "all see the same minutes; arima is fitted anew every 12 hours, the network was trained on the first 3/4"
        ],
    )


def traces() -> Path:
    return Path(os.environ.get("ISOTHERM_TRACES", "../shared/data"))


def _roll(
    session: Session, histories: Histories, start: int, end: int
) -> tuple[dict[int, dict[str, Floats]], dict[int, Floats]]:
    """What each said at each origin [o, 3], and what came [o], by lead."""
    forecaster = open_forecaster("hybrid", arima={"workers": 0})
    assert isinstance(forecaster, Hybrid)
    forecaster.fit(histories.until(start))
    said: dict[int, dict[str, list[Any]]] = {lead: {} for lead in LEADS}
    origins = range(start, end - max(LEADS) + 1, EVERY)
    for number, origin in enumerate(origins):
        forecaster.predict(max(LEADS))
        for lead in LEADS:
            for name, one in forecaster.said(lead).items():
                said[lead].setdefault(name, []).append(one.quantiles[0])
        forecaster.update(histories.counts[:, origin : origin + EVERY].copy())
        if number % 500 == 0:
            session.say(f"{number} of {len(origins)} origins")
    places = numpy.array(origins)
    actual = {lead: histories.counts[0, places + lead - 1] for lead in LEADS}
    return {lead: {name: numpy.array(rows) for name, rows in found.items()} for lead, found in said.items()}, actual


def _pinball(quantiles: Floats, actual: Floats) -> Floats:
    levels = numpy.array([LEVELS[place] for place in JUDGED], dtype=numpy.float32)
    away = actual[:, None] - quantiles
    found: Floats = numpy.maximum(levels * away, (levels - 1) * away).mean(axis=1)
    return found


def _compare(ours: Floats, theirs: Floats, block: int) -> Interval:
    return relative_difference(ours[:, None], theirs[:, None], block=block)


def _quality(quantiles: Floats, actual: Floats) -> dict[str, float]:
    inside = (actual >= quantiles[:, 0]) & (actual <= quantiles[:, -1])
    median = quantiles[:, MIDDLE]
    return {
        "coverage_80": round(float(inside.mean()), 4),
        "rmse": round(float(((actual - median) ** 2).mean() ** 0.5), 1),
        "mape": round(float((numpy.abs(actual - median) / actual).mean()), 4),
        "r2": round(float(1 - ((actual - median) ** 2).sum() / ((actual - actual.mean()) ** 2).sum()), 4),
    }


def _bar(label: str, values: Floats) -> Bar:
    """The mean with the quartiles of its days."""
    days = [float(part.mean()) for part in numpy.array_split(values, max(1, len(values) * EVERY // 1440))]
    low, high = numpy.quantile(days, [0.25, 0.75])
    mean = float(values.mean())
    return Bar(label, round(mean, 1), round(min(float(low), mean), 1), round(max(float(high), mean), 1))
