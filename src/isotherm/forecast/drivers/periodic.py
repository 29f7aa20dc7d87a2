"""Timers: series that come again after an exact number of minutes, also by several phases (at :00 and :10 each hour).

For each series and each lag it is counted how often an arrival followed another after that lag, decayed; the lag that
says most is the period. What is expected of a minute is what came one period before.
"""

from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.drivers.windowed import Windowed
from isotherm.forecast.idle_times import Sizes
from isotherm.forecast.model import Floats, Prediction
from isotherm.forecast.policy import hurdle_quantiles
from isotherm.forecast.window import DAY, Window

__all__ = ["Periodic"]

SHORT: Final = numpy.arange(1, 241)
LONG: Final = numpy.array([300, 360, 480, 720, DAY])
LAGS: Final = numpy.concatenate([SHORT, LONG])
LIMIT: Final = 48.0  # arrivals that a lag's count remembers
MEMORY: Final = 1 - 1 / LIMIT
RATE: Final = 1 - 0.5 ** (1 / (DAY / 2))  # share of a minute in the rate of minutes with arrivals
LONGER: Final = 2e-4  # what a lag loses for each one that is shorter: of a period's multiples the period itself wins
MISSED: Final = 0.5  # how much an arrival two periods before counts where the last one was missed
ROWS: Final = 8192


class Periodic(Windowed):
    name = "periodic"

    def join(self, window: Window) -> None:
        self.window = window
        n = window.n
        self._again = numpy.zeros((n, len(LAGS)), dtype=numpy.float32)
        self._times = numpy.zeros((n, 1 + len(LONG)), dtype=numpy.float32)  # arrivals that could have had each lag
        self._rate = numpy.zeros(n, dtype=numpy.float32)  # of minutes with arrivals
        self.period = numpy.zeros(n, dtype=numpy.int64)  # 0: none
        self.certainty = numpy.zeros(n, dtype=numpy.float32)  # chance that an arrival comes again after the period
        self.sizes = Sizes(window)
        self._off = self.sizes.variance.copy()  # variance of the logarithm of a count to the one before it
        for start in range(0, n, ROWS // 4):
            self._begin(slice(start, min(n, start + ROWS // 4)))
        self._choose(numpy.arange(n))

    def _begin(self, rows: slice) -> None:
        """Short lags of the last day's arrivals, all at once: their correlation with what came before, by Fourier
        transforms. Long lags of all arrivals that are known."""
        known = (self.window.counts[rows] > 0).astype(numpy.float32)
        minutes = known.shape[1]
        if minutes == 0:
            return
        age = self.window.age[rows]
        bits = known[:, max(0, minutes - DAY - len(SHORT)) :]
        late = bits.copy()
        late[:, : max(0, bits.shape[1] - DAY)] = 0
        total = late.sum(axis=1)
        self._rate[rows] = total / numpy.clip(age, 1, DAY)
        size = bits.shape[1] + len(SHORT)  # so that nothing comes around the end
        both = numpy.fft.rfft(late, size) * numpy.conj(numpy.fft.rfft(bits, size))
        share = LIMIT / numpy.maximum(total, LIMIT)
        self._again[rows, : len(SHORT)] = numpy.rint(numpy.fft.irfft(both, size)[:, SHORT]) * share[:, None]
        self._times[rows, 0] = total * share
        for index, lag in enumerate(LONG):
            later = known[:, lag:] * (numpy.arange(lag, minutes) >= (minutes - age + lag)[:, None])
            could = later.sum(axis=1)
            share = LIMIT / numpy.maximum(could, LIMIT)
            self._again[rows, len(SHORT) + index] = (later * known[:, : later.shape[1]]).sum(axis=1) * share
            self._times[rows, 1 + index] = could * share

    def follow(self, fresh: int) -> None:
        for ago in range(min(fresh, self.window.minutes), 0, -1):
            self._see(ago)

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        for each in (self._again, self._times, self._rate, self.period, self.certainty, self._off):
            each[rows] = 0
        self.sizes.forget(rows)

    def predict(self, horizon: int) -> Prediction:
        n = self.window.n
        any_ = numpy.repeat(self._rate[:, None], horizon, axis=1)
        log_mean = numpy.repeat(self.sizes.mean[:, None], horizon, axis=1)
        log_var = numpy.repeat(self.sizes.variance[:, None], horizon, axis=1)
        timers = numpy.flatnonzero(self.period)
        for start in range(0, len(timers), ROWS):
            self._expect(timers[start : start + ROWS], any_, log_mean, log_var)
        typical = numpy.exp(log_mean + numpy.minimum(log_var, 4) / 2)
        return Prediction(
            first_minute=self.window.now,
            mean=(any_ * typical).astype(numpy.float32).reshape(n, horizon),
            quantiles=hurdle_quantiles(any_, log_mean, numpy.sqrt(log_var)),
            any=any_,
        )

    def _expect(self, rows: NDArray[numpy.int64], any_: Floats, log_mean: Floats, log_var: Floats) -> None:
        """Fill in what a period before says, of series that have one."""
        horizon, end, counts = any_.shape[1], self.window.minutes, self.window.counts
        period = self.period[rows, None]
        ahead = numpy.arange(horizon)[None, :]
        cycles = ahead // period + 1
        place = end + ahead - cycles * period
        last = _taken(counts, rows, place)
        before = _taken(counts, rows, place - period)
        certainty = self.certainty[rows, None] ** cycles
        rate = self._rate[rows, None]
        rest = numpy.clip(rate * (1 - certainty) / numpy.maximum(1 - rate, 1e-3), 0, certainty)
        evidence = numpy.where(last > 0, 1, numpy.where(before > 0, MISSED, 0))
        any_[rows] = rest + (certainty - rest) * evidence
        count = numpy.where(last > 0, last, before)
        log_mean[rows] = numpy.where(count > 0, numpy.log(numpy.maximum(count, 1)), log_mean[rows])
        log_var[rows] = numpy.where(count > 0, self._off[rows, None], log_var[rows])

    def _see(self, ago: int) -> None:
        count, window = self.window.at(ago), self.window
        active = numpy.flatnonzero(count)
        self._rate += RATE * ((count > 0) - self._rate)
        self.sizes.see(count)
        if len(active) == 0:
            return
        end = window.minutes - ago
        came = numpy.zeros((len(active), len(LAGS)), dtype=numpy.float32)
        short = min(end, len(SHORT))
        came[:, :short] = window.counts[active, end - short : end][:, ::-1] > 0
        age = window.age[active] - ago
        could = numpy.ones((len(active), 1 + len(LONG)), dtype=numpy.float32)
        for index, lag in enumerate(LONG):
            could[:, 1 + index] = age >= lag
            if end >= lag:
                came[:, len(SHORT) + index] = window.counts[active, end - lag] > 0
        forget = numpy.concatenate([numpy.repeat(could[:, :1], len(SHORT), axis=1), could[:, 1:]], axis=1)
        self._again[active] *= 1 - forget * (1 - MEMORY)
        self._again[active] += came
        self._times[active] = self._times[active] * (1 - could * (1 - MEMORY)) + could
        self._drift(active, count[active], ago)
        self._choose(active)

    def _drift(self, active: NDArray[numpy.int64], count: Floats, ago: int) -> None:
        """How far counts are from those a period before."""
        period = self.period[active]
        before = _taken(self.window.counts, active, (self.window.minutes - ago - period)[:, None])[:, 0]
        told = (period > 0) & (before > 0)
        away = numpy.log(count[told]) - numpy.log(before[told])
        self._off[active[told]] += (away * away - self._off[active[told]]) / 32

    def _choose(self, rows: NDArray[numpy.int64]) -> None:
        """The lag that is followed most surely, of those seen often enough."""
        times = numpy.concatenate(
            [numpy.repeat(self._times[rows, :1], len(SHORT), axis=1), self._times[rows, 1:]], axis=1
        )
        sure = (self._again[rows] + 0.5) / (times + 1.5)
        best = numpy.argmax(sure - LONGER * numpy.arange(len(LAGS), dtype=numpy.float32), axis=1)
        certainty = numpy.take_along_axis(sure, best[:, None], 1)[:, 0]
        repeated = numpy.take_along_axis(self._again[rows], best[:, None], 1)[:, 0]
        told = (repeated >= 2) & (certainty > self._rate[rows])
        self.period[rows] = numpy.where(told, LAGS[best], 0)
        self.certainty[rows] = numpy.where(told, numpy.minimum(certainty, 0.999), 0)


def _taken(counts: Floats, rows: NDArray[numpy.int64], places: NDArray[numpy.int64]) -> Floats:
    """Counts of `rows` at `places` [rows, k]; zero where the window does not reach."""
    inside = (places >= 0) & (places < counts.shape[1])
    found = counts[rows[:, None], numpy.clip(places, 0, max(counts.shape[1] - 1, 0))]
    return numpy.where(inside, found, 0).astype(numpy.float32)
