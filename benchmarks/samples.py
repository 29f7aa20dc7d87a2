"""Median, spread and percentiles of samples, and ratios of contestants that ran interleaved."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Sample", "percentile", "ratio"]


@dataclass(frozen=True)
class Sample:
    """What repeats of one measurement gave."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    @property
    def spread(self) -> float:
        """(highest - lowest) / median: differences smaller than this mean nothing."""
        return (self.high - self.low) / self.median if self.median else 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: a value that was measured, never one in between."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def ratio(ours: Sample, theirs: Sample) -> Sample:
    """Ours to theirs, repeat by repeat: what disturbed the machine in one repeat disturbed both."""
    return Sample(tuple(a / b for a, b in zip(ours.values, theirs.values, strict=True)))
