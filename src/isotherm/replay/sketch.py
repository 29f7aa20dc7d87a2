"""Summaries of many values: percentiles, and counts by logarithmic bucket for each part of a run.

The buckets are those of DDSketch (C. Masson, J. E. Rim, H. K. Lee, "DDSketch: a fast and fully-mergeable quantile
sketch with relative-error guarantees", PVLDB 12(12), 2019): bucket i holds values in (g^(i-1), g^i], and the value that
stands for it is at most `ACCURACY` off. Parts can be put together again in any combination, which a bootstrap does.
"""

from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

__all__ = ["ACCURACY", "PARTS", "Cells", "Spread", "cells", "parts_of", "spread", "value_of"]

ACCURACY = 0.005
PARTS = 60  # of a run: half a minute of the trace each, where it is half an hour
SMALLEST_MS = 1e-3  # what is less counts as this
Bucket = Annotated[int, Meta(ge=-10_000, le=10_000)]  # up to e^100 ms, either way
Count = Annotated[int, Meta(ge=1, le=2**40)]
Cells = Annotated[list[dict[Bucket, Count]], Meta(max_length=PARTS)]  # for each part in order: bucket → values
Floats = npt.NDArray[np.float64]
_growth = float(np.log((1 + ACCURACY) / (1 - ACCURACY)))


class Spread(msgspec.Struct, frozen=True):
    """A distribution in a few numbers; all zero where there is nothing."""

    mean: float
    p50: float
    p75: float
    p90: float
    p99: float
    p999: float
    max: float


def spread(values: Floats) -> Spread:
    """The mean and nearest-rank percentiles, to a thousandth."""
    if not len(values):
        return Spread(0, 0, 0, 0, 0, 0, 0)
    marks = np.percentile(values, [50, 75, 90, 99, 99.9, 100], method="inverted_cdf")
    return Spread(*(round(float(value), 3) for value in (values.mean(), *marks)))


def parts_of(at_s: Floats, length_s: float) -> npt.NDArray[np.int64]:
    """In which part of the run each moment lies."""
    share = at_s / length_s if length_s > 0 else np.zeros(len(at_s))
    return np.clip((share * PARTS).astype(np.int64), 0, PARTS - 1)


def cells(parts: npt.NDArray[np.int64], values_ms: Floats) -> Cells:
    """`values_ms[i]` belongs to part `parts[i]`. Empty where there are no values."""
    if not len(values_ms):
        return []
    bucket = np.ceil(np.log(np.maximum(values_ms, SMALLEST_MS)) / _growth).astype(np.int64)
    made: Cells = [{} for _ in range(PARTS)]
    pairs, counts = np.unique(np.stack([parts, bucket]), axis=1, return_counts=True)
    for part, index, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        made[part][index] = count
    return made


def value_of(bucket: npt.NDArray[np.int64]) -> Floats:
    """What stands for a bucket, milliseconds: as far from its lower end as from its upper one, relatively."""
    values: Floats = 2 * np.exp(bucket * _growth) / (np.exp(_growth) + 1)
    return values
