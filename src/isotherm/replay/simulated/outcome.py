"""What a simulated replay says at its end: the shape of its JSON, which is a file format with a version."""

from typing import Any

import msgspec

__all__ = ["VERSION", "FrontPoint", "Granularity", "Interval", "Marks", "PolicyOutcome", "Simulation", "to_json"]

VERSION = 1
Granularity = str  # "minute" or "call"


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles over those that were called at all."""

    p25: float
    p50: float
    p75: float
    p90: float
    p99: float


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """95 %, by drawing units with replacement."""

    low: float
    high: float


class PolicyOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One policy. Cold starts and idle minutes are at the report's granularity; what has seconds in it, and what is
    named `resolved`, is call by call."""

    policy: str  # with the setting at which it was played
    asked: str  # as it was asked for
    cold_starts: int
    avoidable_cold_starts: int  # those after a unit's first, which no policy that waits for a call can avoid
    cold_rate: float  # cold starts per invocation
    avoidable_to_first: float | None  # avoidable cold starts to those of the first policy of the report
    avoidable_to_first_interval: Interval | None
    idle_minutes: float  # of units that were warm without a call
    idle_gb_s: float
    busy_gb_s: float
    idle_usd: float
    busy_usd: float
    added_latency_s: float  # that calls waited for starts, all together
    added_latency_ms_per_call: float
    p75_app_cold_rate: float  # of the units' cold starts per invocation
    app_cold_rate: Marks
    function_cold_rate: Marks  # call by call
    resolved_cold_starts: int
    resolved_avoidable_cold_starts: int
    resolved_scale_out: int  # of them, those that came while all instances of the unit were busy
    resolved_idle_minutes: float  # of instances, also between calls of one minute
    prewarmed: int  # instances that were started before a call came
    most_instances: int  # of one unit at once
    within_budget: bool
    took_s: float  # of this machine, compiling included


class FrontPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A policy at one setting, by minute."""

    family: str
    policy: str
    idle: float  # in the report's `idle_unit`
    avoidable_cold_starts: int


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report."""

    version: int = VERSION
    trace: str
    minutes: int
    functions: int
    apps: int  # units that were called
    invocations: int
    granularity: Granularity
    budget: str
    budget_limit: float  # idle minutes, GB·minutes, or a share of the active minutes after a unit's first
    idle_unit: str  # "minutes" or "GB·minutes": what idle time is weighed in
    seed: int
    start_ms: float  # of an instance from nothing
    memory_known: bool  # otherwise every instance counts as much
    durations_known: bool
    price: str
    policies: list[PolicyOutcome]
    front: list[FrontPoint] = []  # for the picture; empty where none was asked for


def to_json(simulation: Simulation) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(simulation)
    return body
