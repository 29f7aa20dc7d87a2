"""Nouns of the pool: its limits, and what an instance's connection looks like to a policy."""

import enum
from dataclasses import dataclass

from isotherm.base.settings import Settings

__all__ = ["Phase", "PoolLimits", "limits_from"]


class Phase(enum.IntEnum):
    """Where an instance is in its life. Only `READY` takes calls."""

    STARTING = 0
    SPARE = 1  # ready, and has never been lent
    READY = 2
    STUCK = 3  # a call is over its deadline and the instance has not given it up
    DRAINING = 4  # takes no new calls, ends with its last one
    LOST = 5  # its process or its stream is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Bounds of one host."""

    max_instances: int
    max_builds: int  # templates built at the same time
    max_starts: int  # instances started at the same time
    memory_bytes: int
    max_body_bytes: int
    max_stream_bytes: int  # of an answer that comes in pieces
    sample_rate: float
    slow_ms: float
    log_call_bytes: int


def limits_from(settings: Settings, machine_memory_bytes: int, cores: int = 2) -> PoolLimits:
    """The pool's share of the settings; memory defaults to 80 % of the machine."""
    memory = settings.memory_mb * 1024 * 1024 if settings.memory_mb else int(machine_memory_bytes * 0.8)
    return PoolLimits(
        max_instances=settings.max_instances,
        max_builds=settings.max_starts,
        max_starts=max(1, cores - 1),  # a start is CPU time, much of it in the kernel: a core stays for calls that run
        memory_bytes=memory,
        max_body_bytes=int(settings.max_body_mb * 1024 * 1024),
        max_stream_bytes=int(settings.max_stream_mb * 1024 * 1024),
        sample_rate=settings.sample_rate,
        slow_ms=settings.slow_ms,
        log_call_bytes=settings.log_call_kb * 1024,
    )
