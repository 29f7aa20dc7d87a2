"""Sets the stage for a replay and clears it: one stand-in per row of the trace, deployed and removed through REST."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from isotherm.base.errors import IsothermError
from isotherm.replay.model import StandIn
from isotherm.replay.platform import Platform, stand_in_package

__all__ = ["MAX_STANDIN_MB", "clear_stage", "set_stage", "stand_in_config"]

DEPLOYS_AT_ONCE = 4
REMOVALS_AT_ONCE = 8
MEMORY_MB = 128  # of an instance: the interpreter and the largest held memory, with room
MAX_STANDIN_MB = 64
QUEUE_LIMIT = 10_000  # a burst waits, and the report says how long, rather than being turned away
PROGRESS_EVERY = 50


def stand_in_config(
    one: StandIn,
    digest: str,
    *,
    timeout_s: float,
    keep_alive_s: float,
    max_instances: int,
    policy: str,
    spare: int | None = None,
    template_keep_alive_s: float | None = None,
) -> dict[str, object]:
    """The function's configuration, as the REST API takes it; all else, and what is None, is the platform's default."""
    warm = {
        "keep_alive_s": keep_alive_s,
        "max_instances": max_instances,
        "policy": policy,
        "spare": spare,
        "template_keep_alive_s": template_keep_alive_s,
    }
    return {
        "package": digest,
        "handler": "app.handler",
        "memory_mb": MEMORY_MB,
        "timeout_s": timeout_s,
        "env": dict(one.environment),
        "queue_limit": QUEUE_LIMIT,
        "warm": {name: value for name, value in warm.items() if value is not None},
    }


async def set_stage(
    platform: Platform,
    namespace: str,
    stand_ins: list[StandIn],
    config: Callable[[StandIn, str], dict[str, object]],
    say: Callable[[str], None],
) -> tuple[str, float]:
    """Deploy all. The digest of their package, and the seconds until all were ready. Raises the problem of the first
    that fails."""
    began = time.perf_counter()
    digest = await platform.upload(namespace, stand_in_package())
    done = 0

    async def deploy(one: StandIn) -> None:
        nonlocal done
        await platform.deploy(namespace, one.name, config(one, digest))
        done += 1
        if done % PROGRESS_EVERY == 0 or done == len(stand_ins):
            say(f"deployed {done} of {len(stand_ins)} functions")

    await _for_each(stand_ins, deploy, DEPLOYS_AT_ONCE)
    return digest, time.perf_counter() - began


async def clear_stage(platform: Platform, namespace: str, stand_ins: list[StandIn], say: Callable[[str], None]) -> None:
    """Remove all that can be removed; what could not is said, not raised."""
    left: list[str] = []

    async def remove(one: StandIn) -> None:
        try:
            await platform.remove(namespace, one.name)
        except IsothermError as exc:
            if exc.status != 404:
                left.append(f"{one.name}: {exc.message}")

    await _for_each(stand_ins, remove, REMOVALS_AT_ONCE)
    if left:
        say(f"{len(left)} stand-ins could not be removed, such as {left[0]}")


async def _for_each(stand_ins: list[StandIn], verb: Callable[[StandIn], Awaitable[None]], limit: int) -> None:
    """Do it to all, at most `limit` at a time. The first failure ends the rest and is raised."""
    waiting = iter(stand_ins)

    async def work() -> None:
        for one in waiting:
            await verb(one)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(limit):
                group.create_task(work())
    except ExceptionGroup as failures:
        known = failures.subgroup(IsothermError)
        if known is None:
            raise
        raise known.exceptions[0] from None
