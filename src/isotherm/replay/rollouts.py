"""Rolls out new revisions of stand-ins while a replay goes on, and follows each to its end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from isotherm.base.errors import Conflict, IsothermError
from isotherm.replay.orders import RolloutOrder, rollout_plan
from isotherm.replay.platform import Platform

__all__ = ["RolloutRun", "roll_out"]

POLL_S = 0.25
EDITION = "STANDIN_EDITION"  # a variable that makes another revision of the same code


@dataclass
class RolloutRun:
    """One rollout as far as it got. Times in seconds of the replay."""

    function: str
    strategy: str
    began_s: float
    ready_s: float | None = None  # the new revision was ready: the rollout began, or with all-at-once, was done
    ended_s: float | None = None
    revision: int | None = None
    state: str = "building"  # then open; finished, rolled_back or failed
    step: int = 0
    rule: str | None = None  # why it was rolled back
    problem: str = ""  # why it failed


async def roll_out(
    platform: Platform,
    namespace: str,
    order: RolloutOrder,
    config: dict[str, Any],
    step_s: float,
    started: float,
    note: Callable[[RolloutRun], None],
) -> None:
    """Deploy a new revision of a stand-in and follow it. Ends with the rollout; `note` gets it as soon as it begins.

    A platform that is away for a while, as one whose control process is killed, is asked again.
    """
    run = RolloutRun(order.stand_in.name, order.strategy, perf_counter() - started)
    note(run)
    config = config | {"rollout": rollout_plan(order.strategy, step_s)}
    config["env"] = {**config["env"], EDITION: "2"}
    await _deploy(platform, namespace, run, config)
    if run.state == "failed":
        return
    run.ready_s = perf_counter() - started
    if order.strategy == "all-at-once":
        run.state, run.ended_s = "finished", run.ready_s
        return
    run.state = "open"
    while run.state == "open":
        await _look(platform, namespace, run)
        if run.state == "open":
            await asyncio.sleep(POLL_S)
    run.ended_s = perf_counter() - started


async def _deploy(platform: Platform, namespace: str, run: RolloutRun, config: dict[str, Any]) -> None:
    while run.revision is None:
        try:
            run.revision = await platform.deploy(namespace, run.function, config)
        except Conflict:  # an attempt that seemed to fail did begin it
            run.revision = (await platform.newest_rollout(namespace, run.function) or {}).get("to")
        except IsothermError as exc:
            if exc.status < 500 or exc.status == 502:  # the revision's own fault, or ours
                run.state, run.problem = "failed", exc.message
                return
        if run.revision is None:
            await asyncio.sleep(POLL_S)


async def _look(platform: Platform, namespace: str, run: RolloutRun) -> None:
    try:
        found = await platform.newest_rollout(namespace, run.function)
    except IsothermError as exc:
        if exc.status < 500:
            run.state, run.problem = "failed", exc.message
        return
    if found is not None and found["to"] == run.revision:
        run.state, run.step, run.rule = found["state"], found["step"], found["rule"]
