"""A rollout as it is stored, from the facts of its workload's history. Pure."""

from typing import Any

import msgspec

from isotherm.workloads.rollout_facts import (
    RolloutFact,
    RolloutFinished,
    RolloutPaused,
    RolloutResumed,
    RolloutRolledBack,
    RolloutStarted,
    RolloutStepped,
)
from isotherm.workloads.rollout_model import RolloutRow

__all__ = ["moved_row", "started_row"]


def started_row(workload_id: str, namespace: str, name: str, fact: RolloutStarted, by: str, at_ms: int) -> RolloutRow:
    return RolloutRow(
        id=fact.rollout_id,
        workload_id=workload_id,
        namespace=namespace,
        name=name,
        alias=fact.alias,
        before=fact.before,
        to=fact.to,
        plan=fact.plan,
        by=by,
        created_at_ms=at_ms,
        step_since_ms=at_ms,
    )


def moved_row(row: RolloutRow, fact: RolloutFact, at_ms: int) -> RolloutRow:
    """The row after a fact of time `at_ms`."""
    return msgspec.structs.replace(row, **_changes(fact, at_ms))


def _changes(fact: RolloutFact, at_ms: int) -> dict[str, Any]:
    match fact:
        case RolloutStepped():
            return {"step": fact.step, "step_since_ms": at_ms, "mark": fact.mark, "reading": fact.reading}
        case RolloutPaused():
            return {"paused": True}
        case RolloutResumed():
            return {"paused": False}
        case RolloutFinished():
            return {"state": "finished", "ended_at_ms": at_ms, "reading": fact.reading}
        case RolloutRolledBack():
            return {"state": "rolled_back", "ended_at_ms": at_ms, "rule": fact.rule, "reading": fact.reading}
        case _:
            return {}
