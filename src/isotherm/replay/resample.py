"""Intervals for the difference of percentiles between two runs, by resampling stretches of the runs.

Calls of one run are not independent: what is slow is slow for a while. So whole stretches are drawn, not calls: the
circular block bootstrap (D. N. Politis, J. P. Romano, "A circular block-resampling procedure for stationary data", in
"Exploring the Limits of Bootstrap", 1992, after H. R. Künsch, "The jackknife and the bootstrap for general stationary
observations", Annals of Statistics 17, 1989) over the parts of a run, in blocks of about the cube root of their number
(P. Hall, J. L. Horowitz, B.-Y. Jing, "On blocking rules for the bootstrap with dependent data", Biometrika 82, 1995).
Where both runs replayed the same calls, each draw takes the same stretches of both: what the trace makes of a stretch
is in both and cancels out. The interval is that of percentiles (B. Efron, R. J. Tibshirani, "An Introduction to the
Bootstrap", 1993, chapter 13).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isotherm.replay.sketch import PARTS, Cells, value_of

__all__ = ["DRAWS", "Interval", "difference_interval"]

DRAWS = 5000
SEED = 20_190_715
FEWEST_BEYOND = 10  # calls above a percentile, for an interval to mean something
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Of B's percentile less A's, milliseconds."""

    low: float
    high: float


def difference_interval(a: Cells, b: Cells, percent: float, *, miss: float, paired: bool) -> Interval | None:
    """The interval that misses the difference with a chance of about `miss`. None where a run has fewer than
    `FEWEST_BEYOND` calls beyond the percentile."""
    beyond = min(_count(a), _count(b)) * (1 - percent / 100)
    if beyond < FEWEST_BEYOND or len(a) != PARTS or len(b) != PARTS:
        return None
    chance = np.random.default_rng(SEED)
    drawn = _draws(chance)
    differences = _percentiles(b, drawn if paired else _draws(chance), percent) - _percentiles(a, drawn, percent)
    differences = differences[np.isfinite(differences)]
    if len(differences) < DRAWS / 2:  # nearly all calls lie in a few parts: there is nothing to resample
        return None
    low, high = np.quantile(differences, [miss / 2, 1 - miss / 2])
    return Interval(float(low), float(high))


def _draws(chance: np.random.Generator) -> Floats:
    """How often each part is in each draw: DRAWS x PARTS."""
    length = round(PARTS ** (1 / 3))
    starts = chance.integers(0, PARTS, size=(DRAWS, PARTS // length))
    chosen = (starts[:, :, None] + np.arange(length)) % PARTS
    places = chosen.reshape(DRAWS, -1) + np.arange(DRAWS)[:, None] * PARTS
    return np.bincount(places.ravel(), minlength=DRAWS * PARTS).reshape(DRAWS, PARTS).astype(np.float64)


def _percentiles(run: Cells, drawn: Floats, percent: float) -> Floats:
    """The percentile of each draw; NaN where a draw has no calls."""
    buckets = np.array(sorted({bucket for part in run for bucket in part}), dtype=np.int64)
    place = {int(bucket): index for index, bucket in enumerate(buckets)}
    counts = np.zeros((PARTS, len(buckets)))
    for number, part in enumerate(run):
        for bucket, count in part.items():
            counts[number, place[bucket]] = count
    below = np.cumsum(drawn @ counts, axis=1)
    total = below[:, -1]
    rank = np.maximum(1.0, np.ceil(total * percent / 100))  # the nearest one, as in the report
    index = np.minimum((below < rank[:, None]).sum(axis=1), len(buckets) - 1)
    return np.where(total > 0, value_of(buckets)[index], np.nan)


def _count(run: Cells) -> int:
    return sum(count for part in run for count in part.values())
