"""Decisions about workloads: weights of an alias, where a rollback goes, what stays callable, how big env is. Pure."""

import json
import math
from collections.abc import Collection, Mapping, Sequence

from isotherm.base.errors import Conflict, Invalid
from isotherm.workloads.model import RevisionState, Weight

__all__ = [
    "CALLABLE_REVISIONS",
    "KEPT_REVISIONS",
    "MAX_ENV_BYTES",
    "MAX_WEIGHTS",
    "callable_numbers",
    "check_env_size",
    "check_weights",
    "dropped_numbers",
    "leading",
    "pinned_numbers",
    "rollback_target",
    "sweep",
]

CALLABLE_REVISIONS = 50  # the newest ready ones of a workload; older ones only where an alias has them
KEPT_REVISIONS = 200  # the newest of a workload, whatever their state; with them their packages stay
MAX_WEIGHTS = 10
MAX_ENV_BYTES = 64 * 1024  # names and values of all variables of a revision, its secrets' included
_max_env_json_bytes = 144 * 1024  # as it travels to the sandbox, in a message of 160 KiB
_tolerance = 1e-6


def check_weights(weights: Sequence[Weight], states: Mapping[int, RevisionState]) -> list[Weight]:
    """The weights by revision number, their sum exactly 1 (within rounding).

    Raises `Invalid`: none or too many, a revision twice, one that does not exist or is not ready, a weight that is
    not above 0 and at most 1, a sum that is not 1.
    """
    if not 1 <= len(weights) <= MAX_WEIGHTS:
        raise Invalid(f"an alias has 1 to {MAX_WEIGHTS} revisions, not {len(weights)}")
    numbers = [weight.number for weight in weights]
    for number in numbers:
        if numbers.count(number) > 1:
            raise Invalid(f"revision {number} is there twice; give it one weight", number=number)
        if states.get(number) != "ready":
            state = states.get(number, "unknown")
            raise Invalid(f"revision {number} is {state}; an alias takes ready ones", number=number, state=state)
    for weight in weights:
        if not 0 < weight.weight <= 1:
            raise Invalid(f"the weight of revision {weight.number} is {weight.weight}; it must be above 0, at most 1")
    total = math.fsum(weight.weight for weight in weights)
    if abs(total - 1) > _tolerance:
        raise Invalid(f"the weights sum to {total:.6g}; they must sum to 1", total=total)
    return sorted((Weight(weight.number, weight.weight / total) for weight in weights), key=lambda w: w.number)


def leading(weights: Sequence[Weight]) -> int:
    """The revision that has the most of an alias, of equal ones the newest: what it says of the workload counts."""
    return max(weights, key=lambda weight: (weight.weight, weight.number)).number


def rollback_target(states: Mapping[int, RevisionState], live: Sequence[Weight]) -> int:
    """The newest ready revision below the newest live one. Raises `Conflict` where there is none."""
    newest = max((weight.number for weight in live), default=0)
    ready = [number for number, state in states.items() if state == "ready" and number < newest]
    if not ready:
        raise Conflict("there is no earlier ready revision to roll back to")
    return max(ready)


def callable_numbers(states: Mapping[int, RevisionState], aliases: Collection[Sequence[Weight]]) -> set[int]:
    """The revisions that hosts are told of."""
    ready = sorted((number for number, state in states.items() if state == "ready"), reverse=True)
    return set(ready[:CALLABLE_REVISIONS]) | pinned_numbers(aliases)


def pinned_numbers(aliases: Collection[Sequence[Weight]]) -> set[int]:
    """The revisions that an alias points to."""
    return {weight.number for weights in aliases for weight in weights}


def sweep(
    states: Mapping[int, RevisionState],
    created_at_ms: Mapping[int, int],
    pinned: Collection[int],
    now_ms: int,
    *,
    keep_last: int,
    keep_days: float,
) -> list[int]:
    """The revisions to forget, the oldest first: all but the newest `keep_last`, those younger than `keep_days`, those
    that are `pinned`, those that are building, and the newest ready one."""
    newest = set(sorted(states)[-keep_last:])
    ready = max((number for number, state in states.items() if state == "ready"), default=0)
    keep_ms = keep_days * 86_400_000
    return [
        number
        for number, state in sorted(states.items())
        if number not in newest
        and number not in pinned
        and number != ready
        and state != "building"
        and now_ms - created_at_ms.get(number, now_ms) >= keep_ms
    ]


def dropped_numbers(states: Mapping[int, RevisionState], aliases: Collection[Sequence[Weight]]) -> list[int]:
    """The revisions that are forgotten, the oldest first: beyond the newest `KEPT_REVISIONS`, and in no alias."""
    if len(states) <= KEPT_REVISIONS:
        return []
    pinned = pinned_numbers(aliases)
    return [number for number in sorted(states)[:-KEPT_REVISIONS] if number not in pinned]


def check_env_size(env: Mapping[str, str]) -> None:
    """Raises `Invalid` where the variables would not fit into what a sandbox is told."""
    size = sum(len(name.encode()) + len(value.encode()) for name, value in env.items())
    if size > MAX_ENV_BYTES:
        raise Invalid(f"its variables and secrets have {size} bytes of names and values, more than {MAX_ENV_BYTES}")
    written = len(json.dumps(json.dumps(env)))  # JSON in JSON, so a control character takes seven bytes
    if written > _max_env_json_bytes:
        raise Invalid(
            f"its variables and secrets take {written} bytes as JSON, more than {_max_env_json_bytes}: they have too "
            "many characters that JSON escapes; encode them, in base64 for example"
        )
