"""The live replay as a story: read, plan, deploy, drive while sampling and harming, read back, report, remove."""

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlsplit

import uvloop

from isotherm.base.errors import Invalid, IsothermError, Unavailable
from isotherm.replay.drive import Outcomes, drive
from isotherm.replay.events import open_ledger
from isotherm.replay.kills import Killer
from isotherm.replay.model import StandIn
from isotherm.replay.orders import RolloutOrder
from isotherm.replay.platform import ColdRecord, Platform, Sample, read_metrics
from isotherm.replay.policy import Plan
from isotherm.replay.preparing import Options, Play, plan_line, prepare
from isotherm.replay.report import Report, SimulatedWarmth
from isotherm.replay.reporting import Run, make_report
from isotherm.replay.rollouts import RolloutRun, roll_out
from isotherm.replay.stage import clear_stage, set_stage, stand_in_config
from isotherm.replay.warmth import WarmthAsked, begin_in_s, held_gb, warnings

__all__ = ["Options", "replay_live"]

Say = Callable[[str], None]
START_IN_S = 0.5


def replay_live(options: Options, say: Say) -> Report:
    """Raises `Invalid` for a bad trace or option, and what the platform answers where it refuses."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_replay(options, say))


async def _replay(options: Options, say: Say) -> Report:
    play = await asyncio.to_thread(prepare, options)
    trace, scale, plan = play.trace, play.scale, play.plan
    say(plan_line(trace, scale, plan))
    platform = Platform(options.url, options.key)
    namespace = await platform.home_namespace()
    try:
        killer = await _killer(platform, options, plan)
        asked = await _asked(platform, options, say)
        digest, deploy_s = await set_stage(platform, namespace, play.stand_ins, partial(_config, options), say)
        say(f"sending {len(plan):,} calls in {plan.length_s:g} s …")
        load = os.getloadavg()[0]
        started_at_ms = time.time_ns() // 1_000_000
        outcomes, samples, rollouts = await _drive(platform, namespace, play, options, digest, killer, asked)
        names = {one.name for one in play.stand_ins}
        ledger = None
        if options.asynchronous:
            say("waiting for the asynchronous calls to end …")
            ledger = await open_ledger(platform, namespace, names, outcomes, started_at_ms, options.settle_s)
        records = await platform.cold_records(namespace, names, started_at_ms)
        version = await platform.version()
        simulated = await asyncio.to_thread(_simulate, play, options, asked, records, samples)
    finally:
        if not options.keep:
            await clear_stage(platform, namespace, play.stand_ins, say)
        await platform.close()
    return make_report(
        Run(
            trace=trace,
            stand_ins=play.stand_ins,
            plan=plan,
            outcomes=outcomes,
            records=records,
            samples=samples,
            scale=scale,
            mix=play.mix,
            seed=options.seed,
            keep_alive_s=options.keep_alive_s,
            max_instances=options.max_instances,
            started_at_ms=started_at_ms,
            deploy_s=deploy_s,
            asked=asked,
            simulated=simulated,
            platform_version=version,
            load_before=load,
            rollout_orders=[order.strategy for order in play.rollouts],
            rollout_step_s=options.rollout_step_s,
            kill_orders=[order.text for order in options.kills],
            ledger=ledger,
            rollouts=rollouts,
            kills=[] if killer is None else killer.kills,
        )
    )


async def _killer(platform: Platform, options: Options, plan: Plan) -> Killer | None:
    """None where nothing is to be killed. Raises `Invalid`, `Forbidden` where it cannot be from here."""
    if not options.kills:
        return None
    killer = Killer(list(options.kills), plan.length_s, options.seed, platform.answers)
    await asyncio.to_thread(killer.find, *_address(options.url), options.pid)
    return killer


async def _asked(platform: Platform, options: Options, say: Say) -> WarmthAsked:
    """Who is to decide what waits warm; what does not fit is said."""
    asked = WarmthAsked(
        policy=options.warming,
        spare=options.spare,
        template_keep_alive_s=options.template_keep_alive_s,
        sample_s=options.sample_s,
        seen=await platform.warmth(),
        speed=options.speed,
    )
    for warning in warnings(asked):
        say(f"warning: {warning}")
    return asked


def _simulate(
    play: Play, options: Options, asked: WarmthAsked, records: list[ColdRecord], samples: list[Sample]
) -> SimulatedWarmth | None:
    """None where it was not asked for."""
    if not options.simulate:
        return None
    from isotherm.replay.simulated.beside import Beside, simulate_beside
    from isotherm.warming.budgets import platform_budget

    starts_ms = [record.start_ms for record in records]
    instance_gb, template_gb = held_gb(samples, play.stand_ins)
    beside = Beside(
        policy=asked.policy,
        keep_alive_s=options.keep_alive_s,
        template_keep_alive_s=options.template_keep_alive_s,
        budget=platform_budget(asked.seen.own_budget),
        start_s=(statistics.median(starts_ms) if starts_ms else 0.0) / 1000 * options.speed,
        max_instances=options.max_instances,
        instance_gb=instance_gb,
        template_gb=template_gb,
    )
    return simulate_beside(play.trace, play.scale, play.plan, beside)


def _config(options: Options, one: StandIn, digest: str) -> dict[str, object]:
    return stand_in_config(
        one,
        digest,
        timeout_s=options.timeout_s / 2,
        keep_alive_s=options.keep_alive_s / options.speed,
        max_instances=options.max_instances,
        policy=options.warming,
        spare=options.spare,
        template_keep_alive_s=(
            None if options.template_keep_alive_s is None else options.template_keep_alive_s / options.speed
        ),
    )


def _address(url: str) -> tuple[str, int]:
    address = urlsplit(url)
    if address.scheme != "http" or address.hostname is None:
        raise Invalid(f"{url}: the replayer speaks plain HTTP to a platform on the same machine")
    return address.hostname, address.port or 80


async def _drive(
    platform: Platform,
    namespace: str,
    play: Play,
    options: Options,
    digest: str,
    killer: Killer | None,
    asked: WarmthAsked,
) -> tuple[Outcomes, list[Sample], list[RolloutRun]]:
    host, port = _address(options.url)
    samples: list[Sample] = []
    rollouts: list[RolloutRun] = []
    names = [one.name for one in play.stand_ins]
    started = time.perf_counter() + begin_in_s(asked, time.time(), START_IN_S)
    look = partial(_look, platform, set(names), started, samples)
    await look()
    sampler = asyncio.create_task(_sample(look, options.sample_s))
    config = partial(_config, options, digest=digest)
    tasks = [
        asyncio.create_task(_roll_out(platform, namespace, play, order, config, options, started, rollouts.append))
        for order in play.rollouts
    ]
    if killer is not None:
        tasks.append(asyncio.create_task(killer.run(started)))
    try:
        outcomes = await drive(
            play.plan,
            play.ways,
            names,
            host,
            port,
            options.key,
            started=started,
            max_connections=options.max_connections,
            timeout_s=options.timeout_s,
        )
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=options.settle_s)
            for task in done:
                task.result()
    except OSError as exc:
        raise Unavailable(f"{options.url}: {exc}; is the platform up there?") from exc
    finally:
        await _cancel([sampler, *tasks])
    await asyncio.sleep(options.records_s)
    await look()
    return outcomes, samples, rollouts


async def _roll_out(
    platform: Platform,
    namespace: str,
    play: Play,
    order: RolloutOrder,
    config: Callable[[StandIn], dict[str, object]],
    options: Options,
    started: float,
    note: Callable[[RolloutRun], None],
) -> None:
    """In the middle of the replay."""
    await asyncio.sleep(max(0.0, started + play.plan.length_s / 2 - time.perf_counter()))
    await roll_out(platform, namespace, order, config(order.stand_in), options.rollout_step_s, started, note)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _look(platform: Platform, functions: set[str], started: float, samples: list[Sample]) -> None:
    at_s = time.perf_counter() - started
    text = await platform.metrics()
    samples.append(await asyncio.to_thread(read_metrics, text, at_s, functions))


async def _sample(look: Callable[[], Awaitable[None]], sample_s: float) -> None:
    """Until cancelled. A look that fails leaves a gap, which the report shows as one."""
    while True:
        await asyncio.sleep(sample_s)
        with contextlib.suppress(IsothermError):
            await look()
