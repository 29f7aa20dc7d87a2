"""The live replay as a story: read, plan, deploy, drive while sampling, read back, report, remove."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from isotherm.base.errors import Invalid, IsothermError, Unavailable
from isotherm.replay.drive import Outcomes, drive
from isotherm.replay.drivers.azure2019 import read_azure2019
from isotherm.replay.model import Scale, StandIn, Trace
from isotherm.replay.platform import Platform, Sample, read_metrics
from isotherm.replay.policy import Plan, expected_busy, plan_arrivals, stand_in
from isotherm.replay.report import Report, make_report
from isotherm.replay.stage import MAX_STANDIN_MB, clear_stage, set_stage, stand_in_config

__all__ = ["Options", "replay_live"]

Say = Callable[[str], None]
START_IN_S = 0.5


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
    sample_s: float = 1.0
    settle_s: float = 2.5  # until the last records are shipped and readable
    max_connections: int = 1024
    timeout_s: float = 60.0
    keep: bool = False  # leave the stand-ins deployed


def replay_live(options: Options, say: Say) -> Report:
    """Raises `Invalid` for a bad trace or option, and what the platform answers where it refuses."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_replay(options, say))


async def _replay(options: Options, say: Say) -> Report:
    scale = _scale(options)
    trace = _read(options)
    plan = plan_arrivals(trace, scale, options.seed)
    stand_ins = [stand_in(row, index, scale) for index, row in enumerate(trace.rows)]
    say(_plan_line(trace, scale, plan))
    platform = Platform(options.url, options.key)
    namespace = await platform.home_namespace()
    try:
        deploy_s = await set_stage(platform, namespace, stand_ins, partial(_config, options), say)
        say(f"sending {len(plan):,} calls in {plan.length_s:g} s …")
        started_at_ms = time.time_ns() // 1_000_000
        outcomes, samples = await _drive(platform, plan, stand_ins, options)
        records = await platform.cold_records(namespace, {one.name for one in stand_ins}, started_at_ms)
    finally:
        if not options.keep:
            await clear_stage(platform, namespace, stand_ins, say)
        await platform.close()
    return make_report(
        trace,
        stand_ins,
        plan,
        outcomes,
        records,
        samples,
        scale=scale,
        seed=options.seed,
        keep_alive_s=options.keep_alive_s,
        started_at_ms=started_at_ms,
        deploy_s=deploy_s,
    )


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


def _plan_line(trace: Trace, scale: Scale, plan: Plan) -> str:
    return (
        f"{trace.name}: {len(trace.rows)} functions, {len(plan)} calls in {trace.minutes} minutes, replayed in "
        f"{plan.length_s:g} s; durations scaled by {scale.duration:.4g}, memory by {scale.memory:.4g}; "
        f"{expected_busy(trace, scale):.1f} calls in progress on average"
    )


def _config(options: Options, one: StandIn, digest: str) -> dict[str, object]:
    return stand_in_config(
        one,
        digest,
        timeout_s=options.timeout_s / 2,
        keep_alive_s=options.keep_alive_s / options.speed,
        max_instances=options.max_instances,
    )


async def _drive(
    platform: Platform, plan: Plan, stand_ins: list[StandIn], options: Options
) -> tuple[Outcomes, list[Sample]]:
    address = urlsplit(options.url)
    if address.scheme != "http" or address.hostname is None:
        raise Invalid(f"{options.url}: the replayer speaks plain HTTP to a platform on the same machine")
    samples: list[Sample] = []
    names = [one.name for one in stand_ins]
    started = time.perf_counter() + START_IN_S
    look = partial(_look, platform, set(names), started, samples)
    await look()
    sampler = asyncio.create_task(_sample(look, options.sample_s))
    try:
        outcomes = await drive(
            plan,
            names,
            address.hostname,
            address.port or 80,
            options.key,
            started=started,
            max_connections=options.max_connections,
            timeout_s=options.timeout_s,
        )
    except OSError as exc:
        raise Unavailable(f"{options.url}: {exc}; is the platform up there?") from exc
    finally:
        sampler.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampler
    await asyncio.sleep(options.settle_s)
    await look()
    return outcomes, samples


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
