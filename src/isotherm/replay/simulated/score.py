"""Costs a policy at the granularity of minutes: which minutes with calls began cold, which without calls were warm."""

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from isotherm.replay.simulated.log import Log
from isotherm.warming.model import Integers
from isotherm.warming.port import Policy

__all__ = ["Score", "plane_of", "score"]

Booleans = NDArray[numpy.bool_]


@dataclass(frozen=True)
class Score:
    """Per unit: cold starts [n], the first one included; those after it [n]; minutes that were warm without a call
    [n]."""

    cold: Integers
    avoidable: Integers
    idle_minutes: Integers


def plane_of(policy: Policy, counts: Integers) -> Integers:
    """What a policy holds, [n, m]: it is asked for each minute before it is told what came in it."""
    by_minute = numpy.ascontiguousarray(counts.T)
    held = []
    for minute in range(counts.shape[1]):
        held.append(policy.hold(minute).astype(numpy.int16))
        policy.observe(minute, by_minute[minute])
    return numpy.stack(held, axis=1).astype(numpy.int32)


def score(log: Log, plane: Integers) -> Score:
    """A minute with calls is cold where nothing was held when it began. What is held, let go with the first call at
    the latest, costs an idle minute where no call comes. What ran in a minute is there until it ends."""
    active = log.by_unit() > 0
    cold = active & (plane == 0)
    idle = ~active & (plane > 0)
    first = numpy.where(active.any(axis=1), active.argmax(axis=1), active.shape[1])
    later = numpy.arange(active.shape[1])[None, :] > first[:, None]
    return Score(
        (active & (cold | ~later)).sum(axis=1).astype(numpy.int32),
        (cold & later).sum(axis=1).astype(numpy.int32),
        idle.sum(axis=1).astype(numpy.int32),
    )
