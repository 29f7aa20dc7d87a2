"""The simulator beside a live replay: the same calls at the same moments, by the same policy under the same budget.

Memory of instances and templates is taken as it was seen in the replay; how long starts take is presumed, as the policy
presumes it. The platform's budget is the stand-ins' alone, and it is taken to have had no others before."""

from dataclasses import dataclass

import numpy

from isotherm.replay.model import Scale, Trace
from isotherm.replay.policy import Plan, drawn_ms
from isotherm.replay.report import SimulatedWarmth
from isotherm.replay.simulated.engine import resolve
from isotherm.replay.simulated.log import Doubles, Events, Integers, Log
from isotherm.warming.allowances import LikeKeepAlives
from isotherm.warming.budgets import Budget
from isotherm.warming.drivers.foresight import Foresight
from isotherm.warming.groups import GroupBook
from isotherm.warming.measured import INSTANCE_GB, TEMPLATE_GB, Measured
from isotherm.warming.model import Demand, Rung

__all__ = ["Beside", "log_of", "simulate_beside"]

MINUTE_S = 60.0
MB_A_GB = 1000.0
EMPTY_MINUTES = 60  # before the replay
TEMPLATE_KEEP_ALIVE_S = 3600.0  # the platform's default, in its own time


@dataclass(frozen=True)
class Beside:
    """How the stand-ins were deployed. All times are the trace's. `start_s`: what a cold call waited for, on the
    median."""

    policy: str
    keep_alive_s: float
    template_keep_alive_s: float | None
    budget: Budget | None
    start_s: float
    max_instances: int
    instance_gb: Doubles  # of each row of the trace [n]; NaN: not seen
    template_gb: Doubles


def simulate_beside(trace: Trace, scale: Scale, plan: Plan, asked: Beside) -> SimulatedWarmth:
    """Played minute by minute, then followed call by call."""
    log = log_of(trace, scale, plan)
    if asked.policy == "foresight":
        plane, keep_s = _foresight(log, scale, asked), None
    else:
        plane, keep_s = numpy.zeros((len(log.units), log.minutes), numpy.int32), asked.keep_alive_s
    found = resolve(log, plane, keep_s, asked.start_s, 0, asked.keep_alive_s)
    return SimulatedWarmth(
        cold_starts=int(found.cold.sum()),
        avoidable=int(found.cold.sum() - found.first.sum()),
        idle_minutes=round(float(found.idle_s.sum()) / MINUTE_S, 2),
    )


def log_of(trace: Trace, scale: Scale, plan: Plan) -> Log:
    """The calls of a plan, in the trace's time. Each function is a unit: it is a stand-in of its own."""
    at_s = plan.at_s * scale.speed
    minute = numpy.minimum((at_s / MINUTE_S).astype(numpy.int64), trace.minutes - 1)
    counts = numpy.zeros((len(trace.rows), trace.minutes), numpy.int32)
    numpy.add.at(counts, (plan.row, minute), 1)
    names = tuple(row.function for row in trace.rows)
    held_mb = numpy.array([row.memory_mb.mean for row in trace.rows]) * scale.memory
    return Log(
        name=trace.name,
        minutes=trace.minutes,
        functions=names,
        units=names,
        unit=numpy.arange(len(names), dtype=numpy.int32),
        counts=counts,
        gb=INSTANCE_GB + held_mb / MB_A_GB,
        events=Events(plan.row, at_s, drawn_ms(trace, scale, plan) / 1000 * scale.speed),
    )


def _foresight(log: Log, scale: Scale, asked: Beside) -> Integers:
    """What the live policy would hold, [n, m]. It leaves what was not called since it was deployed to its keep-alives;
    before that it has had nothing to decide about."""
    n = len(log.units)
    measured = Measured(n)
    measured.instance_gb = numpy.where(numpy.isnan(asked.instance_gb), log.memory_gb, asked.instance_gb)
    measured.template_gb = numpy.where(numpy.isnan(asked.template_gb), TEMPLATE_GB, asked.template_gb)
    groups, fixed = GroupBook(asked.budget).assign((), {}, n)
    allowance = LikeKeepAlives(n, groups, fixed)
    template_keep_s = asked.template_keep_alive_s
    if template_keep_s is None:
        template_keep_s = TEMPLATE_KEEP_ALIVE_S * scale.speed
    keep, template_keep = (numpy.full(n, each / MINUTE_S) for each in (asked.keep_alive_s, template_keep_s))
    demand = Demand(numpy.arange(n, dtype=numpy.int32), numpy.zeros(n), numpy.ones(n))
    steered = numpy.zeros(n, bool)
    policy = Foresight(demand, allowance, None, *measured.ladder(steered), groups)
    empty = ((0, 0), (EMPTY_MINUTES, 0))
    busy_s, counts = numpy.pad(_busy_s(log), empty), numpy.pad(log.counts, empty)
    plane = numpy.zeros(counts.shape, numpy.int32)
    for minute in range(counts.shape[1]):
        plane[:, minute] = numpy.minimum(policy.hold(minute), asked.max_instances)
        policy.observe(minute, numpy.ascontiguousarray(counts[:, minute]), busy_s[:, minute])
        now = (policy.past.last >= 0) | (minute + 1 - EMPTY_MINUTES >= numpy.maximum(keep, template_keep))
        if (now != steered).any() or not minute:
            steered = now
            gb, start_s = measured.ladder(steered)
            held = numpy.where(numpy.isfinite(gb), gb, 0.0)
            policy.measure(gb, start_s)
            allowance.set(groups, fixed, keep, template_keep, held[:, Rung.WARM], held[:, Rung.TEMPLATE])
    return plane[:, EMPTY_MINUTES:]


def _busy_s(log: Log) -> Doubles:
    """[n, m], by the minute in which a call came."""
    busy_s = numpy.zeros((len(log.units), log.minutes))
    if log.events is not None:
        minute = numpy.minimum((log.events.at_s / MINUTE_S).astype(numpy.int64), log.minutes - 1)
        numpy.add.at(busy_s, (log.events.function, minute), log.events.duration_s)
    return busy_s
