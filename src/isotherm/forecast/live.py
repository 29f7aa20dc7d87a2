"""Forecasts beside a platform at work: minute by minute, of workloads that come and go.

What is known of a workload begins when it is first seen, or with `restore`. The busiest have a row of the mixture each,
and rows are used again; of those beyond the limit only a running sum is kept, by which they take the place of quieter
ones. Nothing here reads a clock or a database: it can be used from any one thread at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy

from isotherm.base.errors import Invalid, IsothermError
from isotherm.forecast.drivers.hybrid import Hybrid
from isotherm.forecast.drivers.lstm import Lstm
from isotherm.forecast.leads import LEADS
from isotherm.forecast.members import Cost, open_members
from isotherm.forecast.model import Floats, Histories, Prediction
from isotherm.forecast.quality import Scores
from isotherm.forecast.seats import Seats
from isotherm.forecast.versions import Versions
from isotherm.forecast.window import DAY

__all__ = ["Foreseen", "LiveForecasts"]

LIMIT: Final = 1000
KEEP_MINUTES: Final = 2 * DAY
LONGEST_GAP: Final = 30  # minutes without a call of `observe` that are gone through one by one
LOOK_EVERY: Final = 5  # minutes from one look for a promoted version to the next
SHOWN: Final = (10, 60)  # leads whose quality is told


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A prediction whose rows are `names`, in this order."""

    names: tuple[str, ...]
    prediction: Prediction


class LiveForecasts:
    """`models`: folder of versions of the network, as `isotherm train --out` fills it; it need not be there. `limit`:
    series that are forecast. `keep_minutes`: of the past.

    `left_out` says of each member that does not take part why; `problem` what is wrong with the folder's current
    version, which is not used then.
    """

    def __init__(
        self, models: Path, now: int, limit: int = LIMIT, keep_minutes: int = KEEP_MINUTES, cost: Cost | None = None
    ) -> None:
        """`now`: the first minute that `observe` will tell, since 1970."""
        self._versions = Versions(models)
        self._keep_minutes = keep_minutes
        self._cost = cost or Cost.of(limit)
        self.limit = limit
        self.left_out: dict[str, str] = {}
        self.problem = ""
        self.version: Path | None = None  # of the network that is used: None for the one that ships
        self._hybrid = Hybrid(())
        self._predicted: Prediction | None = None
        self._begin(Seats(limit), _nothing(limit, now))

    @property
    def now(self) -> int:
        """The first minute that is not known."""
        return self._hybrid.window.now

    @property
    def names(self) -> tuple[str, ...]:
        """Of the series that are forecast."""
        return tuple(self._seats.row_of)

    @property
    def members(self) -> list[str]:
        return [member.name for member in self._hybrid.members]

    def restore(self, names: Sequence[str], histories: Histories) -> None:
        """Forget everything, and begin with these series' past; the busiest of its last day where there are more than
        fit. The next minute to observe is `histories.now`. Raises `Invalid`."""
        if len(names) != histories.counts.shape[0] or len(set(names)) != len(names):
            raise Invalid(f"{len(names)} names, not all unlike, for {histories.counts.shape[0]} histories")
        seats = Seats(self.limit)
        last_day = histories.counts[:, -DAY:].sum(axis=1)
        order = numpy.argsort(-last_day, kind="stable")[: self.limit]
        seats.take([names[row] for row in order], last_day[order])
        minutes = min(self._keep_minutes, histories.counts.shape[1])
        past = _nothing(self.limit, histories.now, minutes)
        first = histories.counts.shape[1] - minutes
        past.counts[: len(order)] = histories.counts[order, first:]
        past.since[: len(order)] = numpy.maximum(histories.since[order] - first, 0)
        self._begin(seats, past)

    def observe(self, minute: int, names: Sequence[str], counts: Floats) -> None:
        """What came in a minute: of series that are new, too. Those not named had no arrivals.

        Minutes that were left out count as such without arrivals. `counts` [len(names)]. Raises `Invalid` where it does
        not fit, or the minute is known already, and changes nothing then.
        """
        counts = numpy.asarray(counts, dtype=numpy.float32)
        if counts.shape != (len(names),) or not (numpy.isfinite(counts).all() and (counts >= 0).all()):
            raise Invalid(f"counts of the shape {counts.shape} for {len(names)} names, or negative or not finite ones")
        if minute < self.now:
            raise Invalid(f"the minute {minute} is over: what comes next is {self.now}")
        self._pass(minute - self.now)
        self._seat(names, counts)
        column = numpy.zeros((self.limit, 1), dtype=numpy.float32)
        rows = self._seats.rows(names)
        numpy.add.at(column[:, 0], rows[rows >= 0], counts[rows >= 0])
        self._hybrid.update(column)
        self._seats.see(column[:, 0])
        self._predicted = None
        if minute % LOOK_EVERY == 0:
            self.look_for_version()

    def leave(self, names: Sequence[str]) -> None:
        """These are no more. Names that are not known are no matter."""
        rows = self._seats.leave(names)
        if len(rows):
            self._hybrid.replace(rows, vacant=True)
            self._predicted = None

    def predict(self, horizon: int) -> Foreseen:
        """Of the next minutes, of all series that are forecast. It is reckoned once a minute."""
        if self._predicted is None or self._predicted.mean.shape[1] < horizon:
            self._predicted = self._hybrid.predict(max(horizon, *LEADS))
        whole, rows = self._predicted, numpy.array(list(self._seats.row_of.values()), dtype=numpy.int64)
        part = Prediction(
            whole.first_minute, whole.mean[rows, :horizon], whole.quantiles[rows, :horizon], whole.any[rows, :horizon]
        )
        return Foreseen(self.names, part)

    def quality(self, name: str, member: str = "hybrid") -> dict[str, float]:
        """How good forecasts of this series were, half of it in the last day: `mase_10` to `spikes_caught_60`, for
        forecasts 10 and 60 minutes ahead. What is not defined is left out. Raises `Invalid`."""
        row = self._seats.row_of.get(name)
        if row is None:
            raise Invalid(f"{name!r} is not among the {len(self._seats.row_of)} series that are forecast")
        return self._shown(member, row)

    def quality_in_all(self, member: str = "hybrid") -> dict[str, float]:
        """The same over all series. `member`: one of `members`, or the mixture. Raises `Invalid`."""
        return self._shown(member, None)

    def look_for_version(self) -> None:
        """Go on with the folder's promoted version, where it is another than the one used."""
        lstm = self._lstm()
        if lstm is None:
            return
        try:
            current = self._versions.current()
            if current is not None and current != self.version:
                lstm.load(current)
                self.version, self._predicted = current, None
            self.problem = ""
        except (IsothermError, OSError) as exc:
            self.problem = str(exc)

    def close(self) -> None:
        """End the worker processes."""
        self._hybrid.close()

    def _begin(self, seats: Seats, past: Histories) -> None:
        self._hybrid.close()
        opened, self.left_out = open_members(self._cost)
        self._hybrid, self._seats = Hybrid(opened), seats
        self._predicted, self.version = None, None
        self.look_for_version()
        self._hybrid.fit(past, self._keep_minutes)
        vacant = seats.vacant()
        if len(vacant):
            self._hybrid.replace(vacant, vacant=True)

    def _pass(self, minutes: int) -> None:
        if minutes > LONGEST_GAP:
            window = self._hybrid.window
            known = max(0, min(window.minutes, self._keep_minutes - minutes))
            past = _nothing(self.limit, self.now + minutes, min(self._keep_minutes, window.minutes + minutes))
            past.counts[:, past.counts.shape[1] - minutes - known : past.counts.shape[1] - minutes] = window.last(known)
            past.since[:] = numpy.clip(window.since - past.first_minute, 0, past.counts.shape[1])
            self._begin(self._seats, past)
            return
        for _ in range(minutes):
            self._hybrid.update(numpy.zeros((self.limit, 1), dtype=numpy.float32))

    def _seat(self, names: Sequence[str], counts: Floats) -> None:
        entered = self._seats.admit(names, counts)
        if len(entered):
            self._hybrid.replace(entered)

    def _shown(self, member: str, row: int | None) -> dict[str, float]:
        found = self._hybrid.quality.get(member)
        if found is None:
            raise Invalid(f"no member {member!r} takes part; there are {', '.join(self._hybrid.quality)}")
        shown: dict[str, float] = {}
        for lead in SHOWN:
            quality = found[LEADS.index(lead)]
            scores = quality.of_all() if row is None else quality.of(row)
            shown |= {f"{name}_{lead}": value for name, value in _named(scores).items() if value is not None}
        return shown

    def _lstm(self) -> Lstm | None:
        return next((member for member in self._hybrid.members if isinstance(member, Lstm)), None)


def _named(scores: Scores) -> dict[str, float | None]:
    return {
        "judged": scores.judged,
        "mase": scores.mase,
        "mape": scores.mape,
        "rmse": scores.rmse,
        "r2": scores.r2,
        "pinball": scores.pinball,
        "coverage": scores.coverage,
        "spikes": scores.spikes,
        "spikes_caught": scores.spikes_caught,
    }


def _nothing(n: int, now: int, minutes: int = 0) -> Histories:
    """Of `n` series that begin at `now`."""
    counts = numpy.zeros((n, minutes), dtype=numpy.float32)
    return Histories(counts, now - minutes, numpy.full(n, minutes, dtype=numpy.int32))
