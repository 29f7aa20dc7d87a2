"""What a replay is asked to do, and all that is decided before anything happens."""

import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isotherm.base.errors import Invalid, Unavailable
from isotherm.replay.drivers.azure2019 import read_azure2019
from isotherm.replay.model import Mix, Scale, StandIn, Trace
from isotherm.replay.orders import KillOrder, RolloutOrder, deal_rollouts
from isotherm.replay.policy import PREFIX, Plan, choose_ways, expected_busy, plan_arrivals, stand_in
from isotherm.replay.stage import MAX_STANDIN_MB

__all__ = ["Options", "Play", "plan_line", "prepare"]

POLICIES = ("foresight", "keep_alive")
PREFIXES = re.compile(r"[a-z][a-z0-9-]{0,19}")
MOST_SPARES = 10
SHORTEST_SAMPLE_S, LONGEST_SAMPLE_S = 0.05, 60.0


@dataclass(frozen=True)
class Options:
    """What the command line says. `keep_alive_s` is in the trace's time, as `minutes` and `start` are."""

    path: Path
    url: str
    key: str
    speed: float = 60.0
    start: int = 0
    minutes: int = 30
    duration_scale: float | None = None  # None: 1 / speed, which keeps the calls in progress as they were
    memory_scale: float = 1 / 16
    arrivals: float = 1.0
    rows: int | None = None  # None: all
    seed: int = 1
    keep_alive_s: float = 600.0
    max_instances: int = 40
    asynchronous: float = 0.0  # the share of the calls that is sent as Events
    streamed: float = 0.0  # the share that is answered in pieces
    rollouts: list[str] = field(default_factory=list)  # strategies
    rollout_functions: int = 3
    rollout_step_s: float = 1.0
    kills: list[KillOrder] = field(default_factory=list)
    pid: int | None = None  # of `isotherm up`; None: found by who listens
    settle_s: float = 60.0  # for rollouts, and then for the queue, to come to their end after the last call
    warming: str = "foresight"  # who decides about the stand-ins: foresight or keep_alive
    spare: int | None = None  # of each stand-in; None: as the platform has it
    template_keep_alive_s: float | None = None  # in the trace's time; None: as the platform has it, in its own
    prefix: str = PREFIX  # of their names
    simulate: bool = False  # say beside it what the simulator says of the same calls
    sample_s: float = 1.0
    records_s: float = 2.5  # until the last records are shipped and readable
    max_connections: int = 1024
    timeout_s: float = 60.0
    keep: bool = False  # leave the stand-ins deployed


@dataclass(frozen=True)
class Play:
    """What is going to happen."""

    trace: Trace
    scale: Scale
    mix: Mix
    plan: Plan
    ways: npt.NDArray[np.int8]
    stand_ins: list[StandIn]
    rollouts: list[RolloutOrder]


def prepare(options: Options) -> Play:
    """All that is decided before anything happens. Raises `Invalid`."""
    scale, mix = _scale(options), _mix(options)
    trace = _read(options)
    plan = plan_arrivals(trace, scale, options.seed)
    _check_warmth(options)
    stand_ins = [stand_in(row, index, scale, options.prefix) for index, row in enumerate(trace.rows)]
    if options.rollout_functions < 1 or options.rollout_step_s <= 0:
        raise Invalid("--rollout-functions and --rollout-step: numbers above 0 were expected")
    orders = deal_rollouts(plan, stand_ins, options.rollouts, options.rollout_functions)
    return Play(trace, scale, mix, plan, choose_ways(trace, plan, mix, options.seed), stand_ins, orders)


def _check_warmth(options: Options) -> None:
    if options.warming not in POLICIES:
        raise Invalid(f"--warming {options.warming[:20]!r}: {' or '.join(POLICIES)} was expected")
    if options.simulate and find_spec("numba") is None:
        raise Unavailable("--simulate needs numba: pip install 'isotherm[replay]'")
    if options.spare is not None and not 0 <= options.spare <= MOST_SPARES:
        raise Invalid(f"--spare: a number from 0 to {MOST_SPARES} was expected, not {options.spare}")
    if options.template_keep_alive_s is not None and options.template_keep_alive_s < 0:
        raise Invalid(f"--template-keep-alive: seconds from 0 up were expected, not {options.template_keep_alive_s:g}")
    if not PREFIXES.fullmatch(options.prefix):
        raise Invalid(
            f"--prefix {options.prefix[:40]!r}: 1 to 20 of a to z, 0 to 9 and -, the first a letter, expected"
        )
    if not SHORTEST_SAMPLE_S <= options.sample_s <= LONGEST_SAMPLE_S:
        raise Invalid(
            f"--sample: {SHORTEST_SAMPLE_S:g} to {LONGEST_SAMPLE_S:g} seconds were expected, not {options.sample_s:g}"
        )


def _mix(options: Options) -> Mix:
    for name, share in (("async", options.asynchronous), ("stream", options.streamed)):
        if not 0 <= share <= 1:
            raise Invalid(f"--{name}: a share from 0 to 1 was expected, not {share:g}")
    if options.asynchronous + options.streamed > 1:
        raise Invalid("--async and --stream: their shares come to more than 1")
    if options.settle_s < 0:
        raise Invalid(f"--settle: seconds from 0 up were expected, not {options.settle_s:g}")
    return Mix(options.asynchronous, options.streamed)


def _scale(options: Options) -> Scale:
    for name, value in (("speed", options.speed), ("memory-scale", options.memory_scale)):
        if value <= 0:
            raise Invalid(f"--{name}: a number above 0 was expected, not {value:g}")
    if not 0 < options.arrivals <= 1:
        raise Invalid(f"--arrivals: a share above 0 and up to 1 was expected, not {options.arrivals:g}")
    duration = 1 / options.speed if options.duration_scale is None else options.duration_scale
    if duration < 0:
        raise Invalid(f"--duration-scale: a number from 0 up was expected, not {duration:g}")
    return Scale(speed=options.speed, duration=duration, memory=options.memory_scale, arrivals=options.arrivals)


def _read(options: Options) -> Trace:
    trace = read_azure2019(options.path)
    if not (0 <= options.start < trace.minutes and options.minutes > 0):
        raise Invalid(f"--start and --minutes: the trace has {trace.minutes} minutes, from 0")
    window = trace.window(options.start, options.minutes)
    if options.rows is not None:
        busiest = sorted(window.rows, key=lambda row: (-sum(row.counts), row.function))[: options.rows]
        window = Trace(window.name, window.first_minute, window.minutes, tuple(busiest))
    largest = max(row.memory_mb.largest for row in window.rows) * options.memory_scale
    if largest > MAX_STANDIN_MB:
        raise Invalid(f"--memory-scale: a stand-in would hold {largest:.0f} MB; at most {MAX_STANDIN_MB} are allowed")
    return window


def plan_line(trace: Trace, scale: Scale, plan: Plan) -> str:
    return (
        f"{trace.name}: {len(trace.rows)} functions, {len(plan)} calls in {trace.minutes} minutes, replayed in "
        f"{plan.length_s:g} s; durations scaled by {scale.duration:.4g}, memory by {scale.memory:.4g}; "
        f"{expected_busy(trace, scale):.1f} calls in progress on average"
    )
