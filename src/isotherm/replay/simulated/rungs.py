"""What templates would do on a log: the calls that a keep-alive starts from nothing, and how many of them find one."""

from dataclasses import dataclass

import numpy

from isotherm.replay.simulated.log import Log
from isotherm.replay.simulated.score import plane_of
from isotherm.warming.drivers.fixed import Fixed, LikeFixed
from isotherm.warming.drivers.foresight import Foresight
from isotherm.warming.model import Rung

__all__ = ["TemplateOutcome", "templates_like_fixed"]


@dataclass(frozen=True)
class TemplateOutcome:
    """Minutes in which the keep-alive begins cold, first calls included, and what these met: an instance, a
    template, or nothing. Idle memory of both in GB·minutes."""

    from_nothing: int
    found_instance: int
    found_template: int
    idle_gb_minutes: float
    fixed_idle_gb_minutes: float

    @property
    def share(self) -> float:
        return (self.found_instance + self.found_template) / max(1, self.from_nothing)


def templates_like_fixed(
    log: Log, template_gb: float, template_s: float, nothing_s: float, minutes: float = 10
) -> TemplateOutcome:
    """Foresight on the whole ladder, for the idle memory of a keep-alive that has no templates. An instance is reckoned
    with its template: nothing is shared. Units are deployed when the log begins, as a platform has them."""
    demand = log.demand(by_memory=True)
    active = log.by_unit() > 0
    fixed = plane_of(Fixed(demand, minutes), log.counts)
    ladder_gb = numpy.zeros((demand.units, len(Rung)))
    ladder_gb[:, Rung.FROZEN] = numpy.inf
    ladder_gb[:, Rung.TEMPLATE] = template_gb
    ladder_gb[:, Rung.WARM] = template_gb + demand.gb
    start_s = numpy.array([nothing_s, nothing_s, template_s, 0.0]) * numpy.ones_like(ladder_gb)
    policy = Foresight(demand, LikeFixed(demand, minutes, log.minutes), None, ladder_gb, start_s)
    finite = numpy.where(numpy.isfinite(ladder_gb), ladder_gb, 0.0)
    rows = numpy.arange(demand.units)
    counts = numpy.ascontiguousarray(log.counts.T)
    instance = template = 0
    idle = 0.0
    for minute in range(log.minutes):
        policy.hold(minute)
        cold = active[:, minute] & (fixed[:, minute] == 0)
        instance += int((cold & (policy.rung == Rung.WARM)).sum())
        template += int((cold & (policy.rung == Rung.TEMPLATE)).sum())
        idle += float(finite[rows, policy.rung][~active[:, minute]].sum())
        policy.observe(minute, counts[minute])
    fixed_idle = float((~active & (fixed > 0)).sum(axis=1) @ demand.gb)
    return TemplateOutcome(int((active & (fixed == 0)).sum()), instance, template, idle, fixed_idle)
