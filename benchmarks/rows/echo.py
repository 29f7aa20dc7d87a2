"""Warm echo, JSON in and out: throughput and latency beside the peers, and the CPU that the host process takes."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from benchmarks.contestants.isotherm import Isotherm, isotherm, package
from benchmarks.contestants.peers import Target, fastapi, functions_framework, nginx
from benchmarks.machine import cpu_seconds
from benchmarks.result import Bar, Check, Figure
from benchmarks.samples import Sample, ratio
from benchmarks.session import Outcome, Session
from benchmarks.wrk import Load, WrkReport, check_echo, run_wrk

__all__ = ["measure"]

NGINX_WORKERS = 2  # the better of 1 and 2 on two cores
URL, INVOKE = "Isotherm, function URL", "Isotherm, Invoke"
URL_1, INVOKE_1 = "Isotherm, function URL, concurrency 1 x 2", "Isotherm, Invoke, concurrency 1 x 2"
ASYNC, SERIAL = "Isotherm, URL, async handler", "Isotherm, URL, serial dispatch"
FRAMEWORK, FASTAPI = "functions-framework", "FastAPI + uvicorn"
Found = dict[str, dict[str, list[float]]]  # label → what → one value a round
ours_at_64 = (URL, INVOKE, URL_1, INVOKE_1, ASYNC, SERIAL)
ours_at_1 = (URL, INVOKE)


def measure(session: Session) -> Outcome:
    repeats, seconds = session.choose(5, 3), session.choose(5, 2)
    with ExitStack() as stack:
        platform = stack.enter_context(isotherm(session.folder / "isotherm"))
        ours = _deploy(platform)
        proxied = stack.enter_context(nginx(session.folder, NGINX_WORKERS))
        peers = [stack.enter_context(functions_framework(session.folder)), stack.enter_context(fastapi(session.folder))]
        peers.append(proxied)
        for one in [*ours.values(), *peers]:
            warm = Load(one.url, 16, 1, one.headers)
            check_echo(warm)
            run_wrk(warm)
        crowd = [*(ours[label] for label in ours_at_64), *peers]
        single = [*(ours[label] for label in ours_at_1), *peers]
        at_64 = _rounds(session, crowd, 64, repeats, seconds, lambda: cpu_seconds(platform.host_pid))
        at_1 = _rounds(session, single, 1, repeats, seconds, lambda: cpu_seconds(platform.host_pid))
    return Outcome(
        settings={
            "repeats": repeats,
            "seconds": seconds,
            "load": "wrk, one thread, same machine",
            "nginx": proxied.label,
        },
        checks=_checks(at_64, at_1, proxied.label),
        figures=_figures(at_64, at_1),
        measurements={"64 connections": at_64, "1 connection": at_1},
        notes=["functions-framework runs under gunicorn's default (sync) workers: faster here than its threads"],
    )


def _deploy(platform: Isotherm) -> dict[str, Target]:
    plain, asynchronous = platform.upload(package("echo")), platform.upload(package("echo_async"))
    one_instance: dict[str, Any] = {"concurrency": 64, "warm": {"min_instances": 1, "max_instances": 1}}
    two_instances: dict[str, Any] = {"concurrency": 1, "warm": {"min_instances": 2, "max_instances": 2}}
    platform.deploy("echo", plain, **one_instance)
    platform.deploy("echo-one", plain, **two_instances)
    platform.deploy("echo-async", asynchronous, **one_instance)
    platform.deploy("echo-serial", plain, dispatch="serial", **one_instance)
    return {
        URL: platform.by_url("echo", URL),
        INVOKE: platform.by_invoke("echo", INVOKE),
        URL_1: platform.by_url("echo-one", URL_1),
        INVOKE_1: platform.by_invoke("echo-one", INVOKE_1),
        ASYNC: platform.by_url("echo-async", ASYNC),
        SERIAL: platform.by_url("echo-serial", SERIAL),
    }


def _rounds(
    session: Session,
    targets: list[Target],
    connections: int,
    repeats: int,
    seconds: int,
    host_cpu_s: Callable[[], float],
) -> Found:
    """Interleaved: each round measures everyone once, so that a busy moment hits all alike."""
    found: Found = {one.label: {} for one in targets}
    for number in range(repeats):
        for one in targets:
            before = host_cpu_s()
            report = run_wrk(Load(one.url, connections, seconds, one.headers))
            if report.errors:
                raise RuntimeError(f"{one.label}: {report.errors} errors in {report.requests} requests")
            _note(found[one.label], report, (host_cpu_s() - before) / report.requests * 1e6)
            session.say(
                f"{connections} connections, round {number + 1}: {one.label}: {report.per_second:,.0f}/s, "
                f"p50 {report.p50_ms:.2f} ms, p99 {report.p99_ms:.2f} ms"
            )
    return found


def _note(into: dict[str, list[float]], report: WrkReport, host_cpu_us: float) -> None:
    values = {"per_second": report.per_second, "p50_ms": report.p50_ms, "p99_ms": report.p99_ms}
    for name, value in (values | {"host_cpu_us": host_cpu_us}).items():
        into.setdefault(name, []).append(round(value, 3))


def _checks(at_64: Found, at_1: Found, proxied: str) -> list[Check]:
    checks = []
    for way, many, single in (("URL", URL, URL_1), ("Invoke", INVOKE, INVOKE_1)):
        crowd, pair = f"64 connections, concurrency 64, one instance ({way})", f"concurrency 1, two instances ({way})"
        checks += [
            _at_least(f"throughput to functions-framework, {crowd}", 10, at_64, many, FRAMEWORK),
            _at_least(f"throughput to nginx before a lean worker, {crowd}", 0.6, at_64, many, proxied),
            _at_least(f"throughput to functions-framework, {pair}", 4, at_64, single, FRAMEWORK),
            _at_least(f"throughput to FastAPI + uvicorn, {pair}", 2.5, at_64, single, FASTAPI),
            _at_most(
                f"latency to nginx before a lean worker, p50, 1 connection ({way})",
                2,
                "x",
                ratio(_sample(at_1, many, "p50_ms"), _sample(at_1, proxied, "p50_ms")),
            ),
            _at_most(f"latency, p99, 1 connection ({way})", 1.5, "ms", _sample(at_1, many, "p99_ms")),
            _at_most(f"CPU of the host process a request, {crowd}", 35, "µs", _sample(at_64, many, "host_cpu_us")),
        ]
    return checks


def _at_least(what: str, target: float, found: Found, label: str, peer: str) -> Check:
    value = ratio(_sample(found, label, "per_second"), _sample(found, peer, "per_second"))
    return Check(what, "≥", target, "x", round(value.median, 2), f"{value.low:.2f} to {value.high:.2f}")


def _at_most(what: str, target: float, unit: str, value: Sample) -> Check:
    return Check(what, "≤", target, unit, round(value.median, 3), f"{value.low:.2f} to {value.high:.2f}")


def _sample(found: Found, label: str, what: str) -> Sample:
    return Sample(tuple(found[label][what]))


def _figures(at_64: Found, at_1: Found) -> list[Figure]:
    return [
        Figure("Warm echo, 64 connections", "requests a second", _bars(at_64, "per_second")),
        Figure("Warm echo, 64 connections: p99", "ms", _bars(at_64, "p99_ms")),
        Figure("Warm echo, 1 connection: p50", "ms", _bars(at_1, "p50_ms")),
        Figure(
            "CPU of the host process",
            "µs a request",
            _bars({k: at_64[k] for k in ours_at_64}, "host_cpu_us"),
            target=35,
        ),
    ]


def _bars(found: Found, what: str) -> list[Bar]:
    samples = {label: Sample(tuple(values[what])) for label, values in found.items()}
    return [Bar(label, one.median, one.low, one.high) for label, one in samples.items()]
