"""The pool's decisions, pure: how many to start, what to evict, how long to wait before trying again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from isotherm.base.errors import InstanceCrashed, IsothermError, OutOfMemory
from isotherm.sandbox.model import Exit

__all__ = [
    "Idle",
    "death_error",
    "evictions",
    "evictions_within",
    "expired",
    "keep_alive_s",
    "let_go_s",
    "retry_after_s",
    "retry_delay_s",
    "spares_wanted",
    "starts_wanted",
]

START_COST_S = 0.010  # what a start costs at best; waiting less than that for a busy instance is cheaper
RETIRED_KEEP_ALIVE_S = 10.0  # a revision that no alias points to: long enough for a roll-back to find it warm


def starts_wanted(
    *,
    queued: int,
    starting: int,
    live: int,
    limit: int,
    concurrency: int,
    mean_run_s: float | None,
    held: int = 0,
) -> int:
    """How many more instances to start for the calls that wait.

    `live` are instances that exist, `starting` those under way, `held` those of the live ones whose call has outlasted
    `patience_s`: how long calls run on average says nothing of when they are done. Where it is known how long a call
    runs, calls that the others will take sooner than a start would be done do not ask for more.
    """
    room = limit - live - starting
    if queued <= 0 or room <= 0:
        return 0
    if live and mean_run_s is not None:
        served_meanwhile = int(START_COST_S / max(mean_run_s, 1e-6)) * max(0, live - held)
        queued -= served_meanwhile
    wanted = -(-max(0, queued) // concurrency) - starting
    return max(0, min(wanted, room))


def patience_s(mean_run_s: float) -> float:
    """How long a call may run before its instance counts as held: well over the mean, and worth a start."""
    return max(START_COST_S, 4 * mean_run_s)


def spares_wanted(*, spare: int, parked: int, starting: int, live: int, limit: int) -> int:
    """How many instances to start and park ahead, within the limit of the revision."""
    return max(0, min(spare - parked - starting, limit - live - starting))


def keep_alive_s(configured_s: float, *, referenced: bool) -> float:
    """How long something idle is kept: less where no alias points to its revision any more."""
    return configured_s if referenced else min(configured_s, RETIRED_KEEP_ALIVE_S)


def let_go_s(keep_s: float, decided_s: float) -> float:
    """How long something idle is kept that control's policy decided, so long ago, not to keep: what was used since
    stays until it decides again, or its keep-alive is over."""
    return min(keep_s, decided_s)


def expired(idle_since_s: Sequence[float], now_s: float, keep_s: float, *, keep_at_least: int, live: int) -> int:
    """How many of the idle instances (oldest first) have outlived their keep-alive, `keep_at_least` live ones kept."""
    over = 0
    for since in idle_since_s:
        if now_s - since < keep_s or live - over <= keep_at_least:
            break
        over += 1
    return over


@dataclass(frozen=True, slots=True)
class Idle:
    """Something idle that could be evicted: an instance, or a template without instances."""

    key: int
    since_s: float
    memory_bytes: int
    template: bool


def evictions(used_bytes: int, budget_bytes: int, idle: Iterable[Idle]) -> list[int]:
    """Keys to evict until the use fits the budget: least recently used instances first, then templates."""
    over = used_bytes - budget_bytes
    chosen: list[int] = []
    for entry in sorted(idle, key=lambda entry: (entry.template, entry.since_s)):
        if over <= 0:
            break
        chosen.append(entry.key)
        over -= max(entry.memory_bytes, 1)
    return chosen


def evictions_within(instances: int, memory_bytes: int, idle: Iterable[Idle]) -> list[int]:
    """Keys of the instances to end so that so many, and so much memory, are free: least recently used first.

    None where all of them together would not do: what is warm stays warm where its end helps no one.
    """
    chosen: list[int] = []
    for entry in sorted(idle, key=lambda entry: entry.since_s):
        if instances <= 0 and memory_bytes <= 0:
            return chosen
        chosen.append(entry.key)
        instances -= 1
        memory_bytes -= entry.memory_bytes
    return chosen if instances <= 0 and memory_bytes <= 0 else []


def retry_delay_s(failures: int) -> float:
    """How long a revision that failed to start is left alone: 0.5 s, doubled up to 30 s."""
    return float(min(30.0, 0.5 * 2 ** max(0, min(failures, 10) - 1)))


def retry_after_s(queued: int, slots: int, mean_run_s: float | None) -> float:
    """When a caller that was turned away may try again: about when the queue has been served, 1 to 30 s."""
    if mean_run_s is None or slots <= 0:
        return 1.0
    return float(min(30.0, max(1.0, round(queued * mean_run_s / slots))))


def death_error(exit_: Exit | None, reason: str | None, memory_mb: int, when: str = "during the call") -> IsothermError:
    """What the callers of an instance that ended are told."""
    if exit_ is not None and exit_.out_of_memory:
        return OutOfMemory(
            f"the instance went over its memory limit of {memory_mb} MB and was ended; raise memory_mb or use less",
            memory_mb=memory_mb,
        )
    if reason is not None:
        return InstanceCrashed(reason)
    if exit_ is not None and exit_.signal is not None:
        return InstanceCrashed(f"the instance was ended by signal {exit_.signal} {when}", signal=exit_.signal)
    if exit_ is not None and exit_.status is not None:
        return InstanceCrashed(f"the instance exited with status {exit_.status} {when}", exit_status=exit_.status)
    return InstanceCrashed(f"the instance ended {when}")
