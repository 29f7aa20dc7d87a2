"""How much each member of a mixture counts, per series and lead: by its losses of late."""

from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.leads import EVERY, LEADS
from isotherm.forecast.model import LEVELS, Floats

__all__ = ["JUDGED", "Drift", "Weights", "pinball_at"]

JUDGED: Final = tuple(LEVELS.index(level) for level in (0.1, 0.5, 0.9))
DECAY: Final = 0.5 ** (1 / 720)  # of losses, a minute
FORGET: Final = 0.5 ** (1 / 720)  # of surprises, a minute: arrivals of sparse series are rare
SHARPNESS: Final = 16.0  # the power by which a smaller loss counts for more
CERTAIN: Final = 0.002  # chances of an arrival are judged as if never nearer to 0 and 1


def pinball_at(quantiles: Floats, actual: Floats) -> Floats:
    """The mean pinball loss over the judged levels: quantiles [n, 3] against counts [n]."""
    away = actual[:, None] - quantiles
    levels = numpy.array([LEVELS[place] for place in JUDGED], dtype=numpy.float32)
    found: Floats = numpy.maximum(levels * away, (levels - 1) * away).mean(axis=1)
    return found


class Weights:
    """Of `members` forecasters of `n` series. The first covers all series, and is what the others have to beat."""

    def __init__(self, members: int, n: int) -> None:
        shape = (len(LEADS), members, n)
        self._loss = numpy.zeros(shape, dtype=numpy.float32)  # decayed mean
        self._times = numpy.zeros(shape, dtype=numpy.float32)  # decayed number of judgements
        self._surprise = numpy.zeros(shape, dtype=numpy.float32)  # decayed sum
        self._covered = numpy.zeros((members, n), dtype=numpy.bool_)

    def cover(self, member: int, rows: NDArray[numpy.int64] | slice) -> None:
        """This member forecasts these series and no others. Where it begins to, it counts as the first member does."""
        now = numpy.zeros(self._covered.shape[1], dtype=numpy.bool_)
        now[rows] = True
        begins = now & ~self._covered[member]
        if member and begins.any():
            for each in (self._loss, self._times, self._surprise):
                each[:, member, begins] = each[:, 0, begins]
        self._covered[member] = now

    def judge(
        self, lead: int, member: int, rows: NDArray[numpy.int64] | slice, loss: Floats, chance: Floats, came: Floats
    ) -> None:
        """Pinball losses [rows], and chances of an arrival [rows] against whether one came [rows]."""
        decay = DECAY ** EVERY[lead]
        times = self._times[lead, member, rows] * decay + 1
        self._loss[lead, member, rows] += (loss - self._loss[lead, member, rows]) / times
        self._times[lead, member, rows] = times
        sure = numpy.clip(numpy.where(came > 0, chance, 1 - chance), CERTAIN, 1 - CERTAIN)
        self._surprise[lead, member, rows] = self._surprise[lead, member, rows] * FORGET ** EVERY[lead] - EVERY[
            lead
        ] * numpy.log(sure)

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        """Begin anew with these series."""
        for each in (self._loss, self._times, self._surprise):
            each[:, :, rows] = 0

    def of_counts(self, naive_only: NDArray[numpy.bool_]) -> Floats:
        """[LEADS, members, n], of sum 1 over the members."""
        least = numpy.where(self._covered, self._loss, numpy.inf).min(axis=1, keepdims=True)
        floor = 0.02 * least + 1e-6
        weights = ((least + floor) / (self._loss + floor)) ** SHARPNESS
        return self._normal(weights, naive_only)

    def of_arrivals(self, naive_only: NDArray[numpy.bool_]) -> Floats:
        """The same for the chance of an arrival: a Bayesian mixture that forgets."""
        least = numpy.where(self._covered, self._surprise, numpy.inf).min(axis=1, keepdims=True)
        return self._normal(numpy.exp(numpy.clip(least - self._surprise, -30, 0)), naive_only)

    def _normal(self, weights: Floats, naive_only: NDArray[numpy.bool_]) -> Floats:
        weights = numpy.where(self._covered, weights, 0)
        weights[:, 0, naive_only] = 1
        weights[:, 1:, naive_only] = 0
        found: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(numpy.float32)
        return found


class Drift:
    """Whether the mixture has begun to lose to the naive forecast: a one-sided CUSUM of the logarithm of their losses'
    ratio (Page, Continuous inspection schemes, Biometrika 1954), per series."""

    SLACK: Final = 0.15
    ALARM: Final = 12.0
    REST_MINUTES: Final = 30  # for which the naive forecast stands in

    def __init__(self, n: int) -> None:
        self._sum = numpy.zeros(n, dtype=numpy.float32)
        self._until = numpy.zeros(n, dtype=numpy.int64)
        self.alarms = numpy.zeros(n, dtype=numpy.int64)  # how often, per series

    def see(self, now: int, rows: NDArray[numpy.int64] | slice, own: Floats, naive: Floats) -> NDArray[numpy.int64]:
        """Losses [rows] of the same minute; the series that have just drifted."""
        floor = 1e-3 + 0.05 * (own + naive)
        ratio = numpy.clip(numpy.log((own + floor) / (naive + floor)), -1, 1)
        self._sum[rows] = numpy.maximum(self._sum[rows] + ratio - self.SLACK, 0)
        drifted = numpy.flatnonzero(self._sum > self.ALARM)
        self._sum[drifted] = 0
        self._until[drifted] = now + self.REST_MINUTES
        self.alarms[drifted] += 1
        return drifted

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        """Begin anew with these series."""
        self._sum[rows], self._until[rows], self.alarms[rows] = 0, 0, 0

    def naive_only(self, now: int) -> NDArray[numpy.bool_]:
        """[n]."""
        found: NDArray[numpy.bool_] = self._until > now
        return found
