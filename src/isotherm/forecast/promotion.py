"""Whether a new model takes the place of the current one: by losses of the same forecasts, and how sure that is."""

from dataclasses import dataclass
from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.base.errors import Invalid
from isotherm.forecast.model import Floats
from isotherm.forecast.record import Gate

__all__ = ["Interval", "gate", "relative_difference"]

SAMPLES: Final = 2000
CELL_MINUTES: Final = 360  # losses of nearer minutes hang together, and are drawn together


@dataclass(frozen=True, slots=True)
class Interval:
    """A relative difference, with the bounds of a two-sided interval of `confidence`."""

    value: float
    low: float
    high: float
    confidence: float


def relative_difference(
    candidate: Floats, current: Floats, *, block: int, confidence: float = 0.95, samples: int = SAMPLES, seed: int = 1
) -> Interval:
    """(candidate - current) / current of the mean losses, [o, n] of the same forecasts each, by a paired bootstrap.

    Circular blocks of `block` origins are drawn and, independently, series (Owen, The pigeonhole bootstrap, 2007), so
    that neither minutes that hang together nor series that are unlike count for more than they are. Each series' losses
    are taken relative to the current model's mean, so that the busiest do not decide alone.
    """
    if candidate.shape != current.shape or candidate.size == 0:
        raise Invalid(f"losses of the shapes {candidate.shape} and {current.shape} cannot be compared")
    o, n = current.shape
    scale: NDArray[numpy.float64] = current.mean(axis=0, dtype=numpy.float64) + 1e-9
    ours, theirs = _blocks(candidate / scale, block), _blocks(current / scale, block)
    rng = numpy.random.default_rng(seed)
    wanted = -(-o // block)
    found = numpy.zeros(samples)
    for index in range(samples):
        minutes = numpy.bincount(rng.integers(0, o, wanted), minlength=o)
        series = numpy.bincount(rng.integers(0, n, n), minlength=n) if n > 1 else numpy.ones(1)
        base = float(minutes @ theirs @ series)
        found[index] = float(minutes @ ours @ series) / max(base, 1e-12) - 1
    tail = (1 - confidence) / 2
    low, high = numpy.quantile(found, [tail, 1 - tail])
    value = float((candidate / scale).mean()) / max(float((current / scale).mean()), 1e-12) - 1
    return Interval(value, float(low), float(high), confidence)


def gate(
    candidate: Floats, current: Floats | None, *, block: int, current_version: int | None, confidence: float = 0.95
) -> Gate:
    """Promoted where there is no current model, or where the candidate is better at this confidence."""
    if current is None:
        return Gate(promoted=True, reason="there was none", candidate=float(candidate.mean()), confidence=confidence)
    found = relative_difference(candidate, current, block=block, confidence=confidence)
    better = found.high < 0
    words = "better" if better else ("worse" if found.low > 0 else "not surely better")
    return Gate(
        promoted=better,
        reason=f"{words} at {confidence:.0%}: {found.value:+.2%} [{found.low:+.2%}, {found.high:+.2%}]",
        current_version=current_version,
        current=float(current.mean()),
        candidate=float(candidate.mean()),
        low=found.low,
        high=found.high,
        confidence=confidence,
        samples=SAMPLES,
    )


def _blocks(losses: NDArray[numpy.floating], block: int) -> NDArray[numpy.float64]:
    """The sum of `block` origins from each on, around the end: [o, n]."""
    o = len(losses)
    block = min(block, o)
    total = numpy.cumsum(numpy.concatenate([numpy.zeros((1, losses.shape[1])), losses, losses[: block - 1]]), axis=0)
    found: NDArray[numpy.float64] = total[block:] - total[:-block]
    return found[:o]
