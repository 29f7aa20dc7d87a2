"""What is known of a workload at the beginning of a minute, in numbers that a model can weigh."""

import numpy
from numpy.typing import NDArray

from isotherm.warming.drivers.compiled import compiled
from isotherm.warming.drivers.past import GAPS, MINUTES, Past

__all__ = ["FEATURES", "describe", "names"]

PERIODS = numpy.array([2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720])
LAGS = numpy.array([5, 10, 15, 20, 30, 60, 120, 240, 360, 720])
PAIRS = 8  # of gaps that follow each other, of which is counted how many are as long
LOOKS = 3  # so many periods back
REACH = MINUTES - 256  # minutes back that are certainly remembered, whatever minute is asked about
DECAY = 0.9  # of a gap's weight with each that followed
OWN = (
    "age",  # minutes since the last active one
    "known_for",  # minutes since the first
    "gaps",
    "gap_1",  # the last gap, the one before
    "gap_2",
    "hazard",  # of the gaps that lasted as long as this one, the share that ended now; recent ones weigh more
    "survivors",  # the weight that this share stands on
    "same",  # gaps as long as this one; within 1 and 3 minutes
    "within_1",
    "within_3",
    "longest",
    "rate",  # active minutes a minute
    "active_10",
    "active_60",
    "active_240",
    "calls",  # in the last active minute
    "hazard_after",  # the share, among gaps that followed one like the last
    "survivors_after",
    "repeats",  # the share of the last gaps that were as long as the one before; within a minute
    "repeats_1",
    "period",  # the shortest at which it was active at each look back
)
FEATURES = len(OWN) + 2 * len(LAGS)


def names() -> tuple[str, ...]:
    """Of all features, in their order."""
    lagged = [name for lag in LAGS for name in (f"active {lag} ago", f"beside {lag} ago")]
    return (*OWN, *lagged)


@compiled
def describe(past: Past, i: int, minute: int, now: int, out: NDArray[numpy.float32]) -> None:
    """Fill `out` [FEATURES] for workload `i` and `minute`, given that nothing came from `now`, the first minute that is
    not known, until then. The workload has been active before."""
    age = minute - past.last[i]
    count = past.gap_count[i]
    known = min(count, GAPS)
    gaps = past.gaps[i]
    last_gap = gaps[(count - 1) & (GAPS - 1)] if count > 0 else -1
    survivors, ended, weight = 0.0, 0.0, 1.0
    after, ended_after = 0, 0
    same, within_1, within_3, longest = 0, 0, 0, 0
    repeats, repeats_1, pairs = 0, 0, max(0, min(known - 1, PAIRS))
    back = age
    active_10, active_60, active_240 = int(back <= 10), int(back <= 60), int(back <= 240)
    gap = last_gap
    for k in range(known):  # no branches: what histories hold cannot be guessed
        lasted, ends = int(gap >= age), int(gap == age)
        back += gap
        active_10 += back <= 10
        active_60 += back <= 60
        active_240 += back <= 240
        survivors += weight * lasted
        ended += weight * ends
        same += ends
        apart = abs(gap - age)
        within_1 += apart <= 1
        within_3 += apart <= 3
        longest = max(longest, gap)
        weight *= DECAY
        before = gaps[(count - 2 - k) & (GAPS - 1)]
        follows = int(before == last_gap) & int(k + 1 < known)
        after += follows & lasted
        ended_after += follows & ends
        gap = before
    for k in range(pairs):
        apart = abs(gaps[(count - 1 - k) & (GAPS - 1)] - gaps[(count - 2 - k) & (GAPS - 1)])
        repeats += apart == 0
        repeats_1 += apart <= 1
    out[0] = age
    out[1] = minute - past.first[i]
    out[2] = count
    out[3] = last_gap
    out[4] = gaps[(count - 2) & (GAPS - 1)] if count > 1 else -1
    out[5] = (ended + 0.02) / (survivors + 1.0)
    out[6] = survivors
    out[7] = same
    out[8] = within_1
    out[9] = within_3
    out[10] = longest
    out[11] = (count + 1) / (minute - past.first[i])
    out[12] = active_10
    out[13] = active_60
    out[14] = active_240
    out[15] = past.calls[i]
    out[16] = (ended_after + 0.05) / (after + 1.0)
    out[17] = after
    out[18] = repeats / pairs if pairs > 0 else -1.0
    out[19] = repeats_1 / pairs if pairs > 0 else -1.0
    active, first = past.active[i], past.first[i]
    out[20] = 0
    for j in range(len(PERIODS)):
        period = PERIODS[j]
        if minute - 2 * period < first:
            break
        then, looks = minute - period, 0
        while looks <= LOOKS and then >= first and minute - then < REACH:
            if then >= now or active[then & (MINUTES - 1)] == 0:
                looks = 0
                break
            looks += 1
            then -= period
        if looks >= 2:
            out[20] = period
            break
    for j in range(len(LAGS)):
        then, looks, hits, beside = minute - LAGS[j], 0, 0, 0
        while looks < LOOKS and then >= first and minute - then < REACH:
            looks += 1
            here = (active[then & (MINUTES - 1)] > 0) & (then < now)
            before_it = (active[(then - 1) & (MINUTES - 1)] > 0) & (then - 1 < now)
            after_it = (active[(then + 1) & (MINUTES - 1)] > 0) & (then + 1 < now)
            hits += here
            beside += (not here) & (before_it | after_it)
            then -= LAGS[j]
        out[len(OWN) + 2 * j] = hits / looks if looks > 0 else -1.0
        out[len(OWN) + 2 * j + 1] = beside / looks if looks > 0 else -1.0
