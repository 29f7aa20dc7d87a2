"""Small demands for tests, and what a policy does minute by minute."""

import numpy

from isotherm.warming.model import KEEP, LET_GO, Demand
from isotherm.warming.port import Policy

__all__ = ["demand", "played", "signs"]


def demand(units: int, gb: float = 1.0) -> Demand:
    """Each unit one function, without a duration."""
    return Demand(numpy.arange(units, dtype=numpy.int32), numpy.full(units, gb), numpy.zeros(units))


def played(policy: Policy, counts: numpy.ndarray) -> numpy.ndarray:
    """[n, m]: asked for each minute before it is told what came in it."""
    held = []
    for minute in range(counts.shape[1]):
        held.append(policy.hold(minute).copy())
        policy.observe(minute, numpy.ascontiguousarray(counts[:, minute]))
    return numpy.stack(held, axis=1)


def signs(held: numpy.ndarray) -> str:
    """One unit in a line: `k` keep, `1` held, `-` let go, `.` cold."""
    return "".join({KEEP: "k", LET_GO: "-", 0: "."}.get(int(each), "1") for each in held)
