"""Trains the model of arrivals on logs, and parts logs into what may be tuned on and what is held out."""

import numpy
from numpy.typing import NDArray

from isotherm.replay.simulated.log import Integers, Log
from isotherm.warming.drivers.compiled import compiled
from isotherm.warming.drivers.features import FEATURES, describe
from isotherm.warming.drivers.past import Past, observe
from isotherm.warming.drivers.trees import Trees, fit_trees

__all__ = ["halves", "train"]

SEED = 0  # of the parting


def halves(log: Log, seed: int = SEED) -> tuple[Log, Log]:
    """(to tune on, held out): a random half of the units each. Units whose functions have equal series, of which the
    data sets have many, come to the same side: what is held out was never seen."""
    parent = list(range(len(log.units)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    seen: dict[bytes, int] = {}
    for function, unit in enumerate(log.unit):
        other = seen.setdefault(log.counts[function].tobytes(), int(unit))
        parent[root(int(unit))] = root(other)
    roots, group = numpy.unique([root(i) for i in range(len(log.units))], return_inverse=True)
    tuned = numpy.random.default_rng(seed).permutation(len(roots)) < len(roots) / 2
    return log.only(tuned[group]), log.only(~tuned[group])


def train(logs: list[Log], *, trees: int = 64, depth: int = 5) -> Trees:
    """Fit to each minute of each distinct series from its first call on: did a call come? Deterministic."""
    rows, came = [], []
    for log in logs:
        counts = numpy.unique(log.counts, axis=0)
        counts = numpy.ascontiguousarray(counts[counts.any(axis=1)])
        table = numpy.full((*counts.shape, FEATURES), numpy.nan, numpy.float32)
        _fill(Past.empty(len(counts)), counts, table)
        known = ~numpy.isnan(table[:, :, 0])
        rows.append(table[known])
        came.append((counts > 0)[known])
    return fit_trees(numpy.concatenate(rows), numpy.concatenate(came), trees=trees, depth=depth)


@compiled
def _fill(past: Past, counts: Integers, table: NDArray[numpy.float32]) -> None:
    for minute in range(counts.shape[1]):
        for i in range(counts.shape[0]):
            if past.last[i] >= 0:
                describe(past, i, minute, minute, table[i, minute])
        observe(past, minute, counts[:, minute])
