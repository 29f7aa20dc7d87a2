"""A mixture of forecasters, weighted per series and lead by their losses of late; the naive one where it drifts.

Quantiles are averaged level by level. The chance of an arrival is a mixture of its own, by its own losses: of the
sparse series that matter for warmth another member may be right about when than about how many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.drivers.arima import Arima
from isotherm.forecast.drivers.partial import Partial
from isotherm.forecast.drivers.windowed import Windowed
from isotherm.forecast.leads import EVERY, LEADS, Pending, between_leads
from isotherm.forecast.mixture import JUDGED, Drift, Weights, pinball_at
from isotherm.forecast.model import LEVELS, Floats, Histories, Prediction
from isotherm.forecast.quality import Quality
from isotherm.forecast.window import DAY, HOUR, MOST, NEVER, Window

__all__ = ["Hybrid", "Said"]

BURN_IN: Final = 120  # minutes at the end of the histories that weights are learned from, where series are few
BURN_IN_SERIES: Final = 120_000  # series times minutes at most
FORGET: Final = 0.5 ** (1 / DAY)  # of the quality that is shown, a minute
DRIFT_LEAD: Final = LEADS.index(10)
Rows = NDArray[numpy.int64] | slice


@dataclass(frozen=True, slots=True)
class Said:
    """What a member said of one minute: means and chances [rows], quantiles [rows, 3] at the judged levels."""

    rows: Rows
    mean: Floats
    quantiles: Floats
    chance: Floats

    def of(self, series: NDArray[numpy.bool_]) -> "Said":
        """Of some series [n] alone."""
        rows = numpy.arange(len(series))[self.rows]
        kept = series[rows]
        return Said(rows[kept], self.mean[kept], self.quantiles[kept], self.chance[kept])


class Hybrid:
    """`members`: the first covers every series, and is the naive forecast that the mixture falls back to.

    `quality`: of each member and of the mixture, by name, for each of `LEADS`; half of it is of the last day.
    """

    name = "hybrid"

    def __init__(self, members: Sequence[Windowed]) -> None:
        self.members = list(members)
        self._said: list[list[Said]] = []  # by lead: what each member says now, the mixture last

    def fit(self, histories: Histories, most_minutes: int = MOST) -> None:
        """`most_minutes`: that are kept."""
        n, m = histories.counts.shape
        burn_in = min(BURN_IN, BURN_IN_SERIES // max(n, 1), m // 4)
        self.join(Window(histories.until(m - burn_in), most=most_minutes))
        for column in range(m - burn_in, m):
            self.update(histories.counts[:, column : column + 1])

    def join(self, window: Window) -> None:
        self.window = window
        for member in self.members:
            member.join(window)
        self.weights = Weights(len(self.members), window.n)
        self.drift = Drift(window.n)
        self.quality = {
            name: [Quality(window.n, [LEVELS[each] for each in JUDGED], FORGET**every) for every in EVERY]
            for name in [*(member.name for member in self.members), self.name]
        }
        self._pending: Pending[tuple[list[Said], Floats]] = Pending()
        self._said = []
        self._cover()

    def update(self, counts: Floats) -> None:
        self.window.check(counts)
        for column in range(counts.shape[1]):
            self._keep()
            self.window.append(counts[:, column : column + 1])
            self._judge()
            for member in self.members:
                member.follow(1)
            self._cover()
            self._said = []

    def predict(self, horizon: int) -> Prediction:
        n, naive_only = self.window.n, self.drift.naive_only(self.window.now)
        share = between_leads(horizon)
        of_counts, of_arrivals = self.weights.of_counts(naive_only), self.weights.of_arrivals(naive_only)
        mean = numpy.zeros((n, horizon), dtype=numpy.float32)
        any_ = numpy.zeros((n, horizon), dtype=numpy.float32)
        quantiles = numpy.zeros((n, horizon, len(LEVELS)), dtype=numpy.float32)
        said: list[list[Said]] = [[] for _ in LEADS]
        for index, member in enumerate(self.members):
            rows = _rows(member)
            part = member.part(horizon) if isinstance(member, Partial) else member.predict(horizon)
            weight = of_counts[:, index][:, rows].T @ share.T
            mean[rows] += weight * part.mean
            any_[rows] += (of_arrivals[:, index][:, rows].T @ share.T) * part.any
            for level in range(len(LEVELS)):  # one at a time: what is worked with stays small
                quantiles[rows, :, level] += weight * part.quantiles[:, :, level]
            _say(said, rows, part)
        whole = Prediction(first_minute=self.window.now, mean=mean, quantiles=quantiles, any=any_)
        _say(said, slice(None), whole)
        self._said = said
        return whole

    def replace(self, rows: NDArray[numpy.int64], *, vacant: bool = False) -> None:
        """These rows are other series from now on, of which nothing is known yet; `vacant`: no series at all."""
        self.window.replace(rows, NEVER if vacant else self.window.now)
        for member in self.members:
            member.forget(rows)
        self.weights.forget(rows)
        self.drift.forget(rows)
        for qualities in self.quality.values():
            for quality in qualities:
                quality.forget(rows)
        self._cover()
        self._said = []

    def said(self, lead: int) -> dict[str, Said]:
        """What each member, and the mixture, said last of the minute `lead` ahead, one of `LEADS`, by name.

        Empty where `predict` did not reach so far.
        """
        index = LEADS.index(lead)
        if len(self._said) <= index:
            return {}
        names = [*(member.name for member in self.members), self.name]
        return dict(zip(names, self._said[index], strict=False))

    def close(self) -> None:
        """End what members have begun."""
        for member in self.members:
            if isinstance(member, Arima):
                member.close()

    def _cover(self) -> None:
        for index, member in enumerate(self.members):
            self.weights.cover(index, _rows(member))

    def _keep(self) -> None:
        """Put aside what is said now of the minutes that it will be judged by."""
        wanted = self._pending.wanted(self.window.now)
        if any(len(self._said) <= index or not self._said[index] for index in wanted):
            self.predict(max(LEADS[index] for index in wanted))
        hour = self.window.last(HOUR).mean(axis=1) if self.window.minutes else self.window.at(1)
        for index in wanted:
            self._pending.put(index, self.window.now, (self._said[index], hour))

    def _judge(self) -> None:
        minute, actual = self.window.now - 1, self.window.at(1)
        for lead in range(len(LEADS)):
            due = self._pending.due(lead, minute)
            if due is None:
                continue
            said, hour = due
            existed = self.window.existed(minute - LEADS[lead] + 1)
            if existed is not None:  # what was said of a row before it was this series is not judged
                said = [each.of(existed) for each in said]
            *members, own = said
            naive = numpy.zeros_like(actual)
            naive[said[0].rows] = said[0].mean
            for (_, qualities), kept in zip(self.quality.items(), said, strict=True):
                quality = qualities[lead]
                rows = kept.rows
                quality.see(rows, actual[rows], kept.mean, kept.quantiles, naive[rows], hour[rows])
            for index, kept in enumerate(members):
                count = actual[kept.rows]
                loss = pinball_at(kept.quantiles, count)
                self.weights.judge(lead, index, kept.rows, loss, kept.chance, count)
                if index == 0 and lead == DRIFT_LEAD:
                    ours = pinball_at(own.quantiles, actual[own.rows])
                    self._refit(self.drift.see(self.window.now, own.rows, ours, loss))

    def _refit(self, rows: NDArray[numpy.int64]) -> None:
        for member in self.members:
            if isinstance(member, Arima) and len(rows):
                member.refit(rows)


def _rows(member: Windowed) -> Rows:
    return member.rows if isinstance(member, Partial) else slice(None)


def _say(said: list[list[Said]], rows: Rows, part: Prediction) -> None:
    for index, lead in enumerate(LEADS):
        if lead <= part.mean.shape[1]:
            quantiles = part.quantiles[:, lead - 1][:, list(JUDGED)]
            mean, chance = part.mean[:, lead - 1].copy(), part.any[:, lead - 1].copy()
            said[index].append(Said(rows, mean, quantiles, chance))
