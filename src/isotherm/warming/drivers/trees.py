"""Boosted trees for a probability (J. H. Friedman, "Greedy function approximation: a gradient boosting machine",
Annals of Statistics 29, 2001; Newton steps and histograms as is common since).

All trees have the same depth and stand in arrays: node k of a tree has the children 2k+1 and 2k+2; a value of at most
its threshold goes left. A few dozen small trees are enough here, so that one look costs a third of a microsecond.
"""

from typing import NamedTuple

import numpy
from numpy.typing import NDArray

from isotherm.warming.drivers.compiled import compiled

__all__ = ["BINS", "Trees", "fit_trees", "scores"]

BINS = 64
BLOCK = 256  # rows that go up a tree together: what they hold stays in the nearest cache
Floats = NDArray[numpy.float32]


class Trees(NamedTuple):
    """A sum of trees, on the log-odds."""

    feature: NDArray[numpy.uint16]  # [trees, 2**depth - 1]
    threshold: Floats  # the same
    value: Floats  # [trees, 2**depth]
    base: float


@compiled
def scores(trees: Trees, columns: Floats) -> NDArray[numpy.float64]:
    """The probability of each row, given by columns [features, rows].

    Nobody goes down a tree: of every node, from the leaves up, all rows of a block take the value of the child that
    they would go to. That is six times as many comparisons, and all of them in a row in memory, where a processor makes
    a dozen at once."""
    count, inner = trees.feature.shape
    first = inner // 2  # of the nodes above leaves
    rows = columns.shape[1]
    out = numpy.full(rows, trees.base)
    held = numpy.empty((inner, BLOCK), numpy.float32)
    for start in range(0, rows, BLOCK):
        end = min(start + BLOCK, rows)
        for t in range(count):
            feature, threshold, value = trees.feature[t], trees.threshold[t], trees.value[t]
            for k in range(inner - first):
                column = columns[feature[first + k], start:end]
                _leaves(column, threshold[first + k], value[2 * k], value[2 * k + 1], held[first + k])
            for k in range(first - 1, -1, -1):
                _node(columns[feature[k], start:end], threshold[k], held[2 * k + 1], held[2 * k + 2], held[k])
            _add(held[0], out[start:end])
    probability: NDArray[numpy.float64] = 1.0 / (1.0 + numpy.exp(-out))
    return probability


@compiled
def _leaves(column: Floats, threshold: float, left: float, right: float, out: Floats) -> None:
    for i in range(len(column)):
        out[i] = right if column[i] > threshold else left


@compiled
def _node(column: Floats, threshold: float, left: Floats, right: Floats, out: Floats) -> None:
    for i in range(len(column)):
        low, high = left[i], right[i]  # both are read, so that nothing depends on the comparison but a choice
        out[i] = high if column[i] > threshold else low


@compiled
def _add(values: Floats, out: NDArray[numpy.float64]) -> None:
    for i in range(len(out)):
        out[i] += values[i]


def fit_trees(
    x: Floats, y: NDArray[numpy.bool_], *, trees: int = 64, depth: int = 5, rate: float = 0.15, ridge: float = 5.0
) -> Trees:
    """Fit to rows `x` [rows, features] and what came of them. Deterministic."""
    edges = [_edges(x[:, j]) for j in range(x.shape[1])]
    binned = numpy.stack([numpy.searchsorted(edges[j], x[:, j]) for j in range(x.shape[1])], axis=1).astype(numpy.uint8)
    mean = float(y.mean())
    base = float(numpy.log(mean / (1 - mean)))
    inner = 2**depth - 1
    feature = numpy.zeros((trees, inner), numpy.uint16)
    threshold = numpy.full((trees, inner), numpy.inf, numpy.float32)
    value = numpy.zeros((trees, inner + 1), numpy.float32)
    total = numpy.full(len(y), base)
    for t in range(trees):
        p = 1 / (1 + numpy.exp(-total))
        gradient, curve = p - y, p * (1 - p)
        node = numpy.zeros(len(y), numpy.int32)
        for level in range(depth):
            start = 2**level - 1
            sums = _sums(binned, node, gradient, curve, start, 2**level)
            best, cut = _best_cuts(sums, ridge)
            for k in range(2**level):
                if cut[k] >= 0:
                    feature[t, start + k] = best[k]
                    threshold[t, start + k] = edges[best[k]][cut[k]]
            _descend(binned, node, start, best, cut)
        leaf = node - inner
        slopes = numpy.bincount(leaf, gradient, inner + 1)
        curves = numpy.bincount(leaf, curve, inner + 1)
        value[t] = -rate * slopes / (curves + ridge)
        total += value[t][leaf]
    return Trees(feature, threshold, value, base)


def _edges(column: Floats) -> Floats:
    """At most `BINS` - 1 thresholds, ascending, each a value that occurs."""
    marks = numpy.quantile(column, numpy.linspace(0, 1, 4 * BINS), method="nearest")
    found = numpy.unique(marks)[:-1]
    if len(found) >= BINS:
        found = found[numpy.linspace(0, len(found) - 1, BINS - 1).astype(int)]
    return found.astype(numpy.float32)


@compiled
def _sums(
    binned: NDArray[numpy.uint8],
    node: NDArray[numpy.int32],
    gradient: NDArray[numpy.float64],
    curve: NDArray[numpy.float64],
    start: int,
    nodes: int,
) -> NDArray[numpy.float64]:
    out = numpy.zeros((nodes, binned.shape[1], BINS, 2))
    for row in range(binned.shape[0]):
        k = node[row] - start
        for j in range(binned.shape[1]):
            out[k, j, binned[row, j], 0] += gradient[row]
            out[k, j, binned[row, j], 1] += curve[row]
    return out


@compiled
def _best_cuts(sums: NDArray[numpy.float64], ridge: float) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    nodes, columns, bins, _ = sums.shape
    best, cut = numpy.zeros(nodes, numpy.int64), numpy.full(nodes, -1, numpy.int64)
    for k in range(nodes):
        g, h = sums[k, 0, :, 0].sum(), sums[k, 0, :, 1].sum()
        most = 1e-6
        for j in range(columns):
            left_g, left_h = 0.0, 0.0
            for b in range(bins - 1):
                left_g += sums[k, j, b, 0]
                left_h += sums[k, j, b, 1]
                right_g, right_h = g - left_g, h - left_h
                if left_h < 1.0 or right_h < 1.0:
                    continue
                gain = left_g**2 / (left_h + ridge) + right_g**2 / (right_h + ridge) - g**2 / (h + ridge)
                if gain > most:
                    most, best[k], cut[k] = gain, j, b
    return best, cut


@compiled
def _descend(
    binned: NDArray[numpy.uint8],
    node: NDArray[numpy.int32],
    start: int,
    best: NDArray[numpy.int64],
    cut: NDArray[numpy.int64],
) -> None:
    for row in range(binned.shape[0]):
        k = node[row] - start
        right = cut[k] >= 0 and binned[row, best[k]] > cut[k]
        node[row] = 2 * node[row] + 1 + int(right)
