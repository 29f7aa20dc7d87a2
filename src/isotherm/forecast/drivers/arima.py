"""ARIMA and SARIMA of the busiest few hundred series, refitted outside the tick.

Models are fitted to logarithms, with yesterday's logarithm as a regressor where a day is known (a season of 1,440 is
out of reach for a seasonal ARIMA; a regression with ARIMA errors takes the day's shape along). Fitted models are
multiplied out, so that all go on together, minute by minute, as a few array operations.
"""

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.drivers.arima_fit import Fitted, fit_one
from isotherm.forecast.drivers.partial import Partial, busiest
from isotherm.forecast.drivers.workers import Workers
from isotherm.forecast.features import log_around
from isotherm.forecast.model import Prediction
from isotherm.forecast.policy import normal_quantiles
from isotherm.forecast.window import DAY, HOUR, Window

__all__ = ["Arima"]

Doubles = NDArray[numpy.float64]
LENGTH: Final = 960  # minutes that a model is fitted on
LEAST: Final = 120
ACTIVE: Final = 0.5  # share of minutes with arrivals that a series needs
ORDER: Final = 128  # room for coefficients: two of an hourly season and what differences add
SETTLE: Final = 360  # minutes that a new model goes through before it forecasts
AROUND: Final = 7
WIDEST: Final = 1.0  # variance of a logarithm beyond which the mean is not corrected for it


class Arima(Partial):
    """`most`: how many series. `refit_minutes`: from one fit of a series to its next. `length`: minutes that are
    fitted. `workers`: processes that fit; with 0 of them a series is fitted on the spot, when its minute comes.
    `in_flight`: fits that are under way at once, None for some of each worker; begun every `fit_every` minutes."""

    name = "arima"

    def __init__(
        self,
        most: int = 300,
        refit_minutes: int = 720,
        workers: int = 1,
        length: int = LENGTH,
        in_flight: int | None = None,
        fit_every: int = 1,
    ) -> None:
        self._fit_every = fit_every
        self._most, self._refit_minutes, self._length = most, refit_minutes, length
        self._workers = Workers(workers, in_flight) if workers else None

    def close(self) -> None:
        if self._workers is not None:
            self._workers.close()

    def join(self, window: Window) -> None:
        self.window = window
        self.rows = numpy.zeros(0, dtype=numpy.int64)
        self._models: dict[int, tuple[Fitted, int]] = {}  # and when its fit was begun
        self._state = _State(0)
        self._wanted = numpy.zeros(0, dtype=numpy.int64)
        self._begun: dict[int, int] = {}  # when each series' newest fit was begun
        self._running: dict[int, Future[Fitted]] = {}
        self._renew()

    def follow(self, fresh: int) -> None:
        for ago in range(min(fresh, self.window.minutes), 0, -1):
            self._state.see(self._logs(self.rows, ago, 1)[:, 0])
        self._renew()

    def part(self, horizon: int) -> Prediction:
        shape = self._yesterday(self.rows, 0, horizon)
        middle, variance = self._state.forecast(shape, horizon)
        quantiles = numpy.maximum(numpy.expm1(normal_quantiles(middle, numpy.sqrt(variance))), 0)
        mean = numpy.maximum(numpy.exp(middle + numpy.minimum(variance, WIDEST) / 2) - 1, 0)
        return Prediction(
            first_minute=self.window.now,
            mean=mean.astype(numpy.float32),
            quantiles=quantiles.astype(numpy.float32),
            any=(1 - numpy.exp(-mean)).astype(numpy.float32),
        )

    def refit(self, rows: NDArray[numpy.int64]) -> None:
        """These series have drifted: fit them again now."""
        for row in rows:
            self._begun.pop(int(row), None)

    @property
    def models(self) -> dict[int, Fitted]:
        """By series."""
        return {row: model for row, (model, _) in self._models.items()}

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        gone = {int(each) for each in rows}
        for row in gone:
            self._begun.pop(row, None)
            self._running.pop(row, None)  # the worker ends it, and nobody takes it over
        if gone & set(self._models):
            self._models = {row: model for row, model in self._models.items() if row not in gone}
            self._take_over({})
        self._wanted = numpy.setdiff1d(self._wanted, rows)

    def _renew(self) -> None:
        """Begin fits that are due, take over those that are ready. The loop is over fits, not over series."""
        now = self.window.now
        if not self._begun or now % HOUR == 0:
            self._wanted = busiest(self.window, self._most, ACTIVE)
        ready = {row: fit for row, fit in self._running.items() if fit.done()}
        fresh: dict[int, tuple[Fitted, int]] = {}
        for row, fit in ready.items():
            del self._running[row]
            failed = None if fit.cancelled() else fit.exception()
            if fit.cancelled() or isinstance(failed, BrokenProcessPool):
                self._begun.pop(row, None)  # it was not the series' fault
                if failed is not None and self._workers is not None:
                    self._workers.broke()
            elif failed is None:
                fresh[row] = fit.result(), self._begun.get(row, now)
        for row in self._due(now):
            self._begun[row] = now
            job = self._job(row)
            if self._workers is None:
                fresh[row] = job(), now
            else:
                self._running[row] = self._workers.submit(fit_one, *job.args)
        gone = set(self._models) - {int(each) for each in self._wanted}
        if fresh or gone:
            for row in gone:
                del self._models[row]
            self._take_over(fresh)

    def _due(self, now: int) -> list[int]:
        """Those that wait the longest, as many as the workers take."""
        if self.window.minutes < LEAST or now % self._fit_every:
            return []
        due = [row for row in self._wanted.tolist() if row not in self._running]
        due = [row for row in due if now - self._begun.get(row, -(10**9)) >= self._refit_minutes]
        due.sort(key=lambda row: self._begun.get(row, -(10**9)))
        return due if self._workers is None else due[: max(0, self._workers.room - len(self._running))]

    def _job(self, row: int) -> "_Job":
        rows = numpy.array([row])
        length = int(min(self._length, self.window.age[row]))
        logs = self._logs(rows, length, length, shaped=False)[0]
        old = self.window.age[row] >= DAY + length // 2
        length = min(length, self.window.minutes - DAY - AROUND - 1) if old else length
        yesterday = self._yesterday(rows, length, length)[0] if old and length >= LEAST else None
        return _Job(fit_one, (logs[-length:] if yesterday is not None else logs, yesterday))

    def _take_over(self, fresh: dict[int, tuple[Fitted, int]]) -> None:
        self._models |= fresh
        self.rows = numpy.array(sorted(self._models), dtype=numpy.int64)
        state = _State(len(self.rows))
        for index, row in enumerate(self.rows.tolist()):  # over the models, when one has changed
            model, begun = self._models[row]
            state.take(index, model, self.window.now - begun)
        self._state = state
        settle = min(SETTLE, self.window.minutes)
        state.settle(self._logs(self.rows, settle, settle))

    def _logs(self, rows: NDArray[numpy.int64], ago: int, minutes: int, *, shaped: bool = True) -> Doubles:
        """Logarithms of the counts from `ago` minutes back on, less the models' share of yesterday: [rows, minutes]."""
        end = self.window.minutes - ago
        logs = numpy.log1p(self.window.counts[rows, end : end + minutes].astype(numpy.float64))
        return logs - self._state.shape[:, None] * self._yesterday(rows, ago, minutes) if shaped and len(rows) else logs

    def _yesterday(self, rows: NDArray[numpy.int64], ago: int, minutes: int) -> Doubles:
        """Yesterday's logarithm beside each minute, averaged over some around it: [rows, minutes]."""
        return log_around(self.window, rows, DAY + ago, minutes, AROUND)


class _Job:
    def __init__(self, function: Callable[..., Fitted], args: tuple[Doubles, Doubles | None]) -> None:
        self.function, self.args = function, args

    def __call__(self) -> Fitted:
        return self.function(*self.args)


class _State:
    """Where `k` models stand: their last values and errors, the newest last."""

    def __init__(self, k: int) -> None:
        self.ar = numpy.zeros((k, ORDER))  # of the newest value last
        self.ma = numpy.zeros((k, ORDER))
        self.shape = numpy.zeros(k)
        self._level = numpy.zeros(k)
        self._drift = numpy.zeros(k)
        self._at = numpy.zeros(k)
        self._sigma2 = numpy.zeros(k)
        self._values = numpy.zeros((k, ORDER))
        self._errors = numpy.zeros((k, ORDER))
        self._ceiling = numpy.zeros(k)
        self._growth: Doubles = numpy.zeros((k, 0))

    def take(self, index: int, model: Fitted, ago: int) -> None:
        """`ago`: minutes since it was fitted."""
        self.ar[index, ORDER - len(model.ar) :] = model.ar[::-1]
        self.ma[index, ORDER - len(model.ma) :] = model.ma[::-1]
        self.shape[index], self._level[index], self._drift[index] = model.shape, model.level, model.drift
        self._sigma2[index] = model.sigma2
        self._at[index] = model.minutes + ago

    def settle(self, logs: Doubles) -> None:
        """Go through what went before, so that values and errors are there: [k, m] up to now."""
        self._at -= logs.shape[1]
        if logs.shape[1]:
            first = logs[:, 0] - self._level - self._drift * self._at
            self._values[:] = first[:, None]
        for column in logs.T:
            self.see(column)

    def see(self, log: Doubles) -> None:
        self._at += 1
        value = log - self._level - self._drift * self._at
        expected = (self.ar * self._values).sum(axis=1) + (self.ma * self._errors).sum(axis=1)
        error = numpy.clip(value - expected, -8, 8)  # the moving average of a model at its border must not run away
        self._values[:, :-1] = self._values[:, 1:]
        self._values[:, -1] = value
        self._errors[:, :-1] = self._errors[:, 1:]
        self._errors[:, -1] = error
        self._ceiling = numpy.maximum(self._ceiling * 0.9995, log)

    def forecast(self, yesterday: Doubles, horizon: int) -> tuple[Doubles, Doubles]:
        """Mean and variance of the logarithms: [k, horizon] each."""
        k = len(self._at)
        values = numpy.concatenate([self._values, numpy.zeros((k, horizon))], axis=1)
        errors = numpy.concatenate([self._errors, numpy.zeros((k, horizon))], axis=1)
        for j in range(horizon):
            values[:, ORDER + j] = (self.ar * values[:, j : j + ORDER]).sum(axis=1)
            values[:, ORDER + j] += (self.ma * errors[:, j : j + ORDER]).sum(axis=1)
        ahead = self._at[:, None] + numpy.arange(1, horizon + 1)
        logs = values[:, ORDER:] + self._level[:, None] + self._drift[:, None] * ahead
        logs += self.shape[:, None] * yesterday
        if self._growth.shape[1] < horizon:
            self._growth = self._grown(horizon)
        variance = self._sigma2[:, None] * self._growth[:, :horizon]
        most = (self._ceiling + self.shape * yesterday.max(axis=1, initial=0))[:, None] + 1
        return numpy.clip(logs, 0, most), numpy.minimum(variance, 9)

    def _grown(self, horizon: int) -> Doubles:
        """How the variance grows with the lead, by the weights of past errors: [k, horizon]."""
        k = len(self._at)
        weights = numpy.zeros((k, ORDER + horizon))
        weights[:, ORDER] = 1
        for j in range(1, horizon):
            weights[:, ORDER + j] = (self.ar * weights[:, j : j + ORDER]).sum(axis=1)
            if j <= ORDER:
                weights[:, ORDER + j] += self.ma[:, ORDER - j]
        found: Doubles = (weights[:, ORDER:] ** 2).cumsum(axis=1)
        return found
