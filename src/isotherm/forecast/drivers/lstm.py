"""The trained network over the busiest series, run by onnxruntime; no torch is needed."""

from pathlib import Path
from typing import Any, Final

import numpy
from numpy.typing import NDArray

from isotherm.base.errors import Invalid
from isotherm.forecast.drivers.partial import Partial, busiest
from isotherm.forecast.features import KNOTS, PAST, inputs
from isotherm.forecast.model import LEVELS, Floats, Prediction
from isotherm.forecast.policy import mean_of_quantiles, sorted_quantiles
from isotherm.forecast.versions import SHIPPED, read_model
from isotherm.forecast.window import HOUR, Window

__all__ = ["Lstm"]

ROWS: Final = 2048  # at a time
HIGHEST: Final = 2.5  # logarithms above the greatest of the past, beyond which nothing is forecast
MIDDLE: Final = LEVELS.index(0.5)


class Lstm(Partial):
    """`model`: the folder of a version, with `model.onnx` and `record.json`. `most`: how many series."""

    name = "lstm"

    def __init__(self, model: Path = SHIPPED, most: int = 1000, active: float = 0.2, threads: int = 2) -> None:
        self._most, self._active, self._threads = most, active, threads
        self.load(model)

    def load(self, model: Path) -> None:
        """Go on with another version. Raises `NotFound` or `Invalid`, and goes on with the former then."""
        content, record = read_model(model)
        self._session, self.record = _session(content, self._threads), record

    def join(self, window: Window) -> None:
        self.window = window
        self._choose()

    def follow(self, fresh: int) -> None:
        if self.window.now // HOUR != (self.window.now - fresh) // HOUR or not len(self.rows):
            self._choose()

    def forget(self, rows: NDArray[numpy.int64]) -> None:
        self.rows = numpy.setdiff1d(self.rows, rows, assume_unique=True)

    def part(self, horizon: int) -> Prediction:
        window, rows = self.window, self.rows
        if not len(rows):
            nothing = numpy.zeros((0, horizon, len(LEVELS)), dtype=numpy.float32)
            return Prediction(window.now, nothing[:, :, 0], nothing, nothing[:, :, 1])
        block = max(KNOTS)
        quantiles = numpy.zeros((len(rows), horizon, len(LEVELS)), dtype=numpy.float32)
        counts, since = window.counts, window.since - window.first_minute
        own = rows
        for begin in range(0, horizon, block):
            if begin == block:  # beyond what was trained for: its own medians stand in for what it has not seen
                counts, since, own = counts[rows], since[rows], numpy.arange(len(rows))
            if begin:
                counts = numpy.concatenate([counts, quantiles[:, begin - block : begin, MIDDLE]], axis=1)
            part = self._block(counts, own, window.first_minute, since)
            if begin:
                part = _as_wide(part, quantiles[:, begin - 1])
            quantiles[:, begin : begin + block] = part[:, : min(block, horizon - begin)]
        mean = mean_of_quantiles(quantiles)
        some = mean_of_quantiles(numpy.clip(quantiles, 0, 1))
        return Prediction(first_minute=window.now, mean=mean, quantiles=quantiles, any=some)

    def _choose(self) -> None:
        rows = busiest(self.window, self._most, self._active) if self.window.minutes >= PAST else numpy.zeros(0)
        self.rows: NDArray[numpy.int64] = rows.astype(numpy.int64)

    def _block(self, counts: Floats, rows: NDArray[numpy.int64], first: int, since: NDArray[numpy.int64]) -> Floats:
        """Quantiles of the counts of the next hour: [rows, 60, LEVELS]."""
        found = []
        for start in range(0, len(rows), ROWS):
            some = rows[start : start + ROWS]
            ends = numpy.full(len(some), counts.shape[1], dtype=numpy.int64)
            given = inputs(counts, some, ends, first, since)
            (raw,) = self._session.run(None, {"past": given.past, "recent": given.recent, "ahead": given.ahead})
            logs = given.level[:, None, None] + given.scale[:, None, None] * _between_knots(raw)
            most = numpy.log1p(counts[some, -PAST:].max(axis=1)) + HIGHEST
            found.append(numpy.expm1(numpy.minimum(logs, most[:, None, None])))
        return sorted_quantiles(numpy.concatenate(found).astype(numpy.float32))


def _between_knots(raw: Floats) -> Floats:
    """From KNOTS to every minute up to the last of them: [k, 60, LEVELS]."""
    minutes = numpy.arange(1, max(KNOTS) + 1)
    share = numpy.stack([numpy.interp(minutes, KNOTS, unit) for unit in numpy.eye(len(KNOTS))], axis=1)
    found: Floats = numpy.einsum("hk,nkq->nhq", share.astype(numpy.float32), raw, optimize=True)
    return found


def _as_wide(part: Floats, before: Floats) -> Floats:
    """Quantiles at least as far from their median, as a ratio, as those of the minute before the block."""
    logs, last = numpy.log1p(part), numpy.log1p(before)
    middle = logs[:, :, MIDDLE : MIDDLE + 1]
    away = (last - last[:, MIDDLE : MIDDLE + 1])[:, None]
    own = logs - middle
    wider = numpy.where(numpy.abs(own) > numpy.abs(away), own, away)
    return sorted_quantiles(numpy.expm1(middle + wider))


def _session(content: bytes, threads: int) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except (
        failures.Fail,
        failures.InvalidArgument,
        failures.InvalidGraph,
        failures.InvalidProtobuf,
        failures.NotImplemented,
        failures.RuntimeException,
    ) as exc:
        raise Invalid(f"the network cannot be loaded: {exc}") from exc
