"""Evidence that one stream of calls does worse than another, valid however often one looks. Pure.

An e-value is a bet against "the new one is not worse": where that is true, its expectation never exceeds 1, and the
chance that it ever reaches 1/alpha, looked at after each single call, is at most alpha (Ville 1939). So a gate may look
every second and stop when it likes, which a test of fixed size forbids.

The bet here is that of universal inference (Wasserman, Ramdas and Balakrishnan, "Universal inference", PNAS 117 (2020),
section 8, with the mixture of Robbins 1970 as numerator): the likelihood of what was seen, averaged over all pairs of
rates, by its greatest likelihood under the hypothesis. It depends on the counts alone, not on their order, so nothing
but counts has to survive a restart, and calls of the old revision from before the switch count as well.
"""

import math
from collections.abc import Sequence

__all__ = ["log_e_slower", "log_e_worse"]

_prior = 0.5  # Jeffreys' prior on either rate
_halvings = 50


def log_e_worse(old_hits: int, old_calls: int, new_hits: int, new_calls: int, tolerance: float) -> float:
    """The logarithm of the e-value against "the new rate is at most the old rate plus `tolerance`".

    `hits` of `calls` are what is counted (failures, slow calls), 0 ≤ hits ≤ calls; 0 ≤ tolerance < 1. Costs the same
    whatever the counts. Negative where the counts speak for the hypothesis; 0 where there are none.
    """
    averaged = _log_averaged(old_hits, old_calls) + _log_averaged(new_hits, new_calls)
    return averaged - _log_greatest(old_hits, old_calls, new_hits, new_calls, tolerance)


def log_e_slower(
    old: Sequence[int], new: Sequence[int], pairs: Sequence[tuple[int, int]], tolerance: float
) -> tuple[float, int | None]:
    """The same for histograms of latency, over several bounds at once; and the pair that stands out most, by index.

    A pair (i, j) tests "the share of new calls beyond bucket j is at most that of old calls beyond bucket i, plus
    `tolerance`". The mean of e-values is one, whatever their dependence (Vovk and Wang, "E-values", Annals of
    Statistics 49 (2021)), so no bound has to be chosen before the calls come.
    """
    if not pairs:
        return 0.0, None
    old_calls, new_calls = sum(old), sum(new)
    logs = [
        log_e_worse(sum(old[i + 1 :]), old_calls, sum(new[j + 1 :]), new_calls, tolerance)  # beyond bounds i and j
        for i, j in pairs
    ]
    highest = max(logs)
    mean = highest + math.log(sum(math.exp(each - highest) for each in logs) / len(logs))
    return mean, logs.index(highest) if highest > 0 else None


def _log_averaged(hits: int, calls: int) -> float:
    """Log likelihood of a sequence with so many hits, averaged over the prior of its rate."""
    return _log_beta(hits + _prior, calls - hits + _prior) - _log_beta(_prior, _prior)


def _log_greatest(old_hits: int, old_calls: int, new_hits: int, new_calls: int, tolerance: float) -> float:
    """The greatest log likelihood over rates with new ≤ old + tolerance. It is concave: at the observed rates where
    they are such, else on the border, where its slope is 0."""
    if old_calls == 0 or new_calls == 0 or new_hits / new_calls <= old_hits / old_calls + tolerance:
        return _log_best(old_hits, old_calls) + _log_best(new_hits, new_calls)

    def rising(old_rate: float) -> bool:
        new_rate = old_rate + tolerance
        slope = old_hits / old_rate - (old_calls - old_hits) / (1 - old_rate)
        return slope + new_hits / new_rate - (new_calls - new_hits) / (1 - new_rate) > 0

    low, high = 0.0, 1.0 - tolerance
    for _ in range(_halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) else (low, middle)
    rate = (low + high) / 2
    return _log_likelihood(old_hits, old_calls, rate) + _log_likelihood(new_hits, new_calls, rate + tolerance)


def _log_best(hits: int, calls: int) -> float:
    return _log_likelihood(hits, calls, hits / calls) if calls else 0.0


def _log_likelihood(hits: int, calls: int, rate: float) -> float:
    missed = calls - hits
    return (hits * math.log(rate) if hits else 0.0) + (missed * math.log1p(-rate) if missed else 0.0)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
