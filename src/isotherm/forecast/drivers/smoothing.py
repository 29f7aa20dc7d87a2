"""Exponential smoothing with the shape of yesterday: for series that are busy in most minutes.

A bank of levels, of several memories, each carried forward alone, partly or wholly by how yesterday went on from this
minute. They are averaged by how small the errors of each have been at that lead of late.
"""

from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.forecast.drivers.windowed import Windowed
from isotherm.forecast.leads import EVERY, LEADS, Pending, SpreadOfErrors, between_leads
from isotherm.forecast.model import Floats, Prediction
from isotherm.forecast.window import DAY, Window

__all__ = ["Smoothing"]

MEMORIES: Final = (0.1, 0.35, 0.7)  # share of the newest count in the level
SHAPES: Final = (0.0, 0.5, 1.0)  # power of yesterday's ratio
AROUND: Final = 7  # minutes to each side that yesterday is averaged over
ACTIVITY: Final = 0.05  # share of the newest minute in the chance of an arrival
DECAY: Final = 0.5 ** (1 / 240)  # of the errors that weigh the bank, a minute
SHARPNESS: Final = 6.0  # the power by which a smaller error counts for more
WARM_UP: Final = 240  # minutes that are gone through to begin with; the levels forget sooner


class Smoothing(Windowed):
    name = "smoothing"

    def join(self, window: Window) -> None:
        self.window = window
        n = window.n
        self._levels = numpy.zeros((len(MEMORIES), n), dtype=numpy.float32)
        self._activity = numpy.zeros(n, dtype=numpy.float32)
        self._losses = numpy.ones((len(LEADS), len(MEMORIES) * len(SHAPES), n), dtype=numpy.float32)
        self._pending: Pending[tuple[Floats, Floats]] = Pending()
        self._spread = SpreadOfErrors(n)
        known = min(window.minutes, WARM_UP)
        if known:
            early = window.last(known)[:, : max(1, known // 8)].mean(axis=1)
            self._levels[:] = early
            self._activity[:] = (window.last(known) > 0).mean(axis=1)
        for ago in range(known, 0, -1):
            self._see(ago)

    def follow(self, fresh: int) -> None:
        for ago in range(min(fresh, self.window.minutes), 0, -1):
            self._see(ago)

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        self._levels[:, rows], self._activity[rows], self._losses[:, :, rows] = 0, 0, 1
        self._spread.forget(rows)

    def predict(self, horizon: int) -> Prediction:
        ratio = self._ratios(horizon)
        weights = self._weights()
        share = between_leads(horizon)
        mean = numpy.zeros((self.window.n, horizon), dtype=numpy.float32)
        for shape_index, shape in enumerate(SHAPES):
            level = numpy.zeros((len(LEADS), self.window.n), dtype=numpy.float32)
            for index, each in enumerate(self._levels):
                level += weights[:, index * len(SHAPES) + shape_index] * each
            mean += (level.T @ share.T) * (ratio**shape if shape else 1)
        quantiles = self._spread.over(horizon)
        quantiles += numpy.log1p(mean)[:, :, None]
        numpy.expm1(quantiles, out=quantiles)
        return Prediction(
            first_minute=self.window.now,
            mean=mean,
            quantiles=numpy.maximum(quantiles, 0, out=quantiles),
            any=numpy.repeat(self._activity[:, None], horizon, axis=1),
        )

    def _see(self, ago: int) -> None:
        """Take in the minute `ago` (1: the last): judge what was forecast for it, and forecast from it."""
        count, minute = self.window.at(ago), self.window.now - ago
        for index in range(len(LEADS)):
            due = self._pending.due(index, minute)
            if due is not None:
                existed = self.window.existed(minute - LEADS[index])  # before the last minute that it knew
                self._judge(index, *due, count, existed)
        for index, memory in enumerate(MEMORIES):
            self._levels[index] += memory * (count - self._levels[index])
        self._activity += ACTIVITY * ((count > 0) - self._activity)
        weights = None
        for index in self._pending.wanted(minute + 1):
            ratio = self._ratio(ago, LEADS[index])
            candidates = numpy.concatenate([level * ratio**shape for level in self._levels for shape in SHAPES])
            candidates = candidates.reshape(len(MEMORIES) * len(SHAPES), -1)
            weights = self._weights() if weights is None else weights
            self._pending.put(index, minute + 1, (candidates, (candidates * weights[index]).sum(axis=0)))

    def _judge(
        self, index: int, candidates: Floats, mixed: Floats, count: Floats, existed: NDArray[numpy.bool_] | None
    ) -> None:
        error = numpy.abs(numpy.log1p(candidates) - numpy.log1p(count))
        away = numpy.log1p(count) - numpy.log1p(mixed)
        if existed is None:
            self._losses[index] += (1 - DECAY ** EVERY[index]) * (error - self._losses[index])
            self._spread.see(index, away, slice(None))
        else:  # what was said of a row before it was this series is nobody's error
            rows = numpy.flatnonzero(existed)
            self._losses[index][:, rows] += (1 - DECAY ** EVERY[index]) * (error - self._losses[index])[:, rows]
            self._spread.see(index, away[rows], rows)

    def _weights(self) -> Floats:
        """[LEADS, candidates, n], of sum 1 over the candidates."""
        least = self._losses.min(axis=1, keepdims=True)
        weights = ((least + 1e-4) / (self._losses + 1e-4)) ** SHARPNESS
        found: Floats = weights / weights.sum(axis=1, keepdims=True)
        return found

    def _around(self, ago: int) -> Floats:
        """The mean count about the minute `ago` [n]; of what is known alone."""
        end = self.window.minutes - ago
        counts = self.window.counts[:, max(0, end - AROUND) : max(0, end + AROUND + 1)]
        found: Floats = counts.mean(axis=1) if counts.shape[1] else numpy.zeros(self.window.n, dtype=numpy.float32)
        return found

    def _ratio(self, ago: int, lead: int) -> Floats:
        """How yesterday went on from this minute to `lead` minutes later [n]; 1 where yesterday is not known."""
        if self.window.minutes < DAY + ago + AROUND:
            return numpy.ones(self.window.n, dtype=numpy.float32)
        return _bounded(self._around(DAY + ago - lead), self._around(DAY + ago), self.window.age > DAY + ago)

    def _ratios(self, horizon: int) -> Floats:
        """As `_ratio` from now on, of all minutes up to `horizon`: [n, horizon]."""
        if self.window.minutes < DAY + AROUND + 1:
            return numpy.ones((self.window.n, horizon), dtype=numpy.float32)
        within = min(horizon, DAY - AROUND)
        begin = self.window.minutes - DAY - AROUND
        slab = self.window.counts[:, begin : begin + within + 2 * AROUND]
        total = numpy.zeros((slab.shape[0], slab.shape[1] + 1), dtype=numpy.float64)
        numpy.cumsum(slab, axis=1, out=total[:, 1:])
        width = 2 * AROUND + 1
        smooth = ((total[:, width:] - total[:, :-width]) / width)[:, :within].astype(numpy.float32)
        found = _bounded(smooth, self._around(DAY + 1)[:, None], (self.window.age > DAY + 1)[:, None])
        if horizon > within:
            found = numpy.tile(found, (1, -(-horizon // within)))[:, :horizon]
        return found


def _bounded(then: Floats, before: Floats, known: NDArray[numpy.bool_]) -> Floats:
    """The ratio of two means of counts, damped where they are small, between 1/16 and 16."""
    ratio = (then + 0.5) / (before + 0.5)
    return numpy.where(known, numpy.clip(ratio, 1 / 16, 16), 1).astype(numpy.float32)
