"""Two runs side by side: which settings differ, and each figure with its difference. Pure."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

from isotherm.replay.report import Report, WarmthReport
from isotherm.replay.resample import difference_interval
from isotherm.replay.sketch import Spread

__all__ = ["Comparison", "Figure", "Setting", "compare_reports", "lines_of"]

VERSION = 1
MISS = 0.05  # the chance that any of the intervals misses, where nothing differs
PERCENTILES = {50.0: "p50", 90.0: "p90", 99.0: "p99", 99.9: "p999"}  # and their fields
Verdict = Literal["higher", "lower", "no difference", "too few calls"]
Kind = Literal["workload", "machine", "subject"]

# What a run was: of the workload and the machine, which must be alike for figures to be held together, and of the
# subject, which may be what a comparison is made for.
SETTINGS: tuple[tuple[str, Kind, Callable[[Report], object]], ...] = (
    ("trace", "workload", lambda run: f"{run.trace} ({run.trace_digest})"),
    ("minutes", "workload", lambda run: f"{run.first_minute} to {run.first_minute + run.minutes - 1}"),
    ("functions", "workload", lambda run: run.functions),
    ("speed", "workload", lambda run: f"{run.scale.get('speed', 0):g}"),
    ("duration scale", "workload", lambda run: f"{run.scale.get('duration', 0):.6g}"),
    ("memory scale", "workload", lambda run: f"{run.scale.get('memory', 0):.6g}"),
    ("arrivals", "workload", lambda run: f"{run.scale.get('arrivals', 0):g}"),
    ("seed", "workload", lambda run: run.seed),
    ("asynchronous share", "workload", lambda run: f"{run.async_share:g}"),
    ("streamed share", "workload", lambda run: f"{run.stream_share:g}"),
    ("cores", "machine", lambda run: run.cores),
    ("platform", "subject", lambda run: run.platform_version or "not known"),
    ("keep-alive", "subject", lambda run: f"{run.keep_alive_s:g} s of the trace"),
    ("warmth", "subject", lambda run: "not known" if run.warming is None else f"by {run.warming.policy}"),
    ("warmth's budget", "subject", lambda run: _warmth(run, "budget", "not known")),
    ("warmth's minute, s", "subject", lambda run: _warmth(run, "minute_s", "not known")),
    ("spares", "subject", lambda run: _warmth(run, "spare", "the platform's")),
    ("templates kept, s", "subject", lambda run: _warmth(run, "template_keep_alive_s", "the platform's")),
    ("instances at most", "subject", lambda run: run.max_instances),
    ("rollouts", "subject", lambda run: ", ".join(run.rollout_orders) or "none"),
    ("rollouts' steps", "subject", lambda run: f"{run.rollout_step_s:g} s"),
    ("kills", "subject", lambda run: ", ".join(run.kill_orders) or "none"),
)
# Spreads with parts to resample: group, the name of their parts, and where they stand in a report.
SPREADS: tuple[tuple[str, str, Callable[[Report], Spread | None]], ...] = (
    ("latency", "latency", lambda run: run.latency_ms),
    ("platform's latency", "overhead", lambda run: run.overhead_ms),
    ("warm calls", "warm", lambda run: None if run.warming is None else run.warming.warm_overhead_ms),
    ("sent late by", "late", lambda run: run.late_ms),
    (
        "acknowledged",
        "acknowledged",
        lambda run: None if run.asynchronous is None else run.asynchronous.acknowledged_ms,
    ),
    ("accepted to end", "to end", lambda run: None if run.asynchronous is None else run.asynchronous.to_end_ms),
    ("first byte", "first byte", lambda run: None if run.streamed is None else run.streamed.first_byte_ms),
    ("whole stream", "stream", lambda run: None if run.streamed is None else run.streamed.to_end_ms),
)


def _warmth(run: Report, name: str, otherwise: str) -> object:
    """A field of what the report says of warmth."""
    found = None if run.warming is None else getattr(run.warming, name)
    return otherwise if found is None else found


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting in which the runs differ."""

    name: str
    kind: Kind
    a: str
    b: str


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of both runs; None where a run has none. `low` to `high` is the interval of the difference."""

    group: str
    name: str
    unit: str
    a: float | None
    b: float | None
    difference: float | None
    relative: float | None  # to A; None where A is 0
    low: float | None = None
    high: float | None = None
    verdict: Verdict | None = None  # None where there is no interval: nothing tells a difference from noise


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What `isotherm replay compare --json` prints."""

    version: int
    comparable: bool  # whether workload and machine were alike
    same_calls: bool  # whether the workload was: then the runs were resampled in pairs
    confidence: float  # that all intervals together hold
    settings: list[Setting]
    figures: list[Figure]


def compare_reports(a: Report, b: Report) -> Comparison:
    settings = [
        Setting(name=name, kind=kind, a=str(text(a)), b=str(text(b)))
        for name, kind, text in SETTINGS
        if str(text(a)) != str(text(b))
    ]
    same_calls = all(each.kind != "workload" for each in settings)
    shown = [each for each in SPREADS if each[2](a) is not None or each[2](b) is not None]
    tested = sum(cells in a.cells and cells in b.cells for _, cells, _ in shown) * len(PERCENTILES)
    figures = [*_counts(a, b)]
    for group, cells, of in shown:  # Bonferroni's share of what may be missed
        figures += _percentiles(a, b, group, cells, of, MISS / max(1, tested), paired=same_calls)
    return Comparison(
        version=VERSION,
        comparable=all(each.kind == "subject" for each in settings),
        same_calls=same_calls,
        confidence=1 - MISS,
        settings=settings,
        figures=figures,
    )


def _figure(group: str, name: str, unit: str, a: float | None, b: float | None) -> Figure:
    difference = None if a is None or b is None else round(b - a, 6)
    relative = round(difference / abs(a), 6) if difference is not None and a else None
    return Figure(group=group, name=name, unit=unit, a=a, b=b, difference=difference, relative=relative)


def _percentiles(
    a: Report, b: Report, group: str, cells: str, of: Callable[[Report], Spread | None], miss: float, *, paired: bool
) -> Iterator[Figure]:
    for percent, field in PERCENTILES.items():
        values = [None if (found := of(run)) is None else float(getattr(found, field)) for run in (a, b)]
        figure = _figure(group, f"p{percent:g}", "ms", *values)
        if cells in a.cells and cells in b.cells:
            interval = difference_interval(a.cells[cells], b.cells[cells], percent, miss=miss, paired=paired)
            if interval is None:
                figure = msgspec.structs.replace(figure, verdict="too few calls")
            else:
                verdict: Verdict = "higher" if interval.low > 0 else "lower" if interval.high < 0 else "no difference"
                low, high = round(interval.low, 3), round(interval.high, 3)
                figure = msgspec.structs.replace(figure, low=low, high=high, verdict=verdict)
        yield figure


def _counts(a: Report, b: Report) -> Iterator[Figure]:
    """Figures without an interval."""
    for group, name, unit, of in _plain():
        yield _figure(group, name, unit, float(of(a)), float(of(b)))
    causes = sorted({*a.cold.by_cause, *b.cold.by_cause})
    for cause in causes:
        yield _figure("cold starts", cause, "", *(float(run.cold.by_cause.get(cause, 0)) for run in (a, b)))
    for group, name, unit, maybe in _some():
        values = [maybe(run) for run in (a, b)]
        if any(value is not None for value in values):
            yield _figure(group, name, unit, *(None if value is None else float(value) for value in values))


def _plain() -> Iterable[tuple[str, str, str, Callable[[Report], float]]]:
    """What every run has."""
    yield "run", "load before", "", lambda run: run.load_before
    yield "run", "deploys", "s", lambda run: run.deploy_s
    yield "run", "from the first call to the last answer", "s", lambda run: run.wall_s
    yield "run", "replayer's CPU a call", "µs", lambda run: run.client_cpu_us
    yield "calls", "sent", "", lambda run: run.invocations
    yield "calls", "errors", "", lambda run: run.errors
    yield "calls", "errors that nothing excuses", "", lambda run: run.errors - run.errors_excused
    yield "memory", "on average", "MB", lambda run: run.memory.mean_mb
    yield "memory", "at most", "MB", lambda run: run.memory.peak_mb
    yield "memory", "busy", "GB·s", lambda run: run.memory.busy_gb_s
    yield "memory", "idle", "GB·s", lambda run: run.memory.idle_gb_s
    yield "cold starts", "all", "", lambda run: run.cold_starts
    yield "cold starts", "of calls", "%", lambda run: round(100 * run.cold.share, 4)
    yield "cold starts", "cost of each, p50", "ms", lambda run: run.cold.cost_ms.p50
    yield "cold starts", "cost of each, p99", "ms", lambda run: run.cold.cost_ms.p99
    yield "cold starts", "cost of all", "s", lambda run: run.cold.total_cost_s


def _some() -> Iterable[tuple[str, str, str, Callable[[Report], float | None]]]:
    """What a run has that was asked for it."""
    yield "cold starts", "after a function's first call", "", _of_warmth(lambda found: found.avoidable)
    yield "warmth", "idle by instances, sampled", "min", _of_warmth(lambda found: found.idle_minutes)
    yield "warmth", "by templates, sampled", "min", _of_warmth(lambda found: found.template_minutes)
    for name in ("accepted", "succeeded", "dead", "open", "lost", "tried_again"):
        yield "asynchronous", name.replace("_", " "), "", _of_async(name)
    yield "streamed", "sent", "", lambda run: None if run.streamed is None else run.streamed.sent
    yield "streamed", "whole", "", lambda run: None if run.streamed is None else run.streamed.whole
    yield "rollouts", "finished", "", _of_rollouts(lambda run: sum(one.state == "finished" for one in run.rollouts))
    yield "rollouts", "not finished", "", _of_rollouts(lambda run: sum(one.state != "finished" for one in run.rollouts))
    yield "rollouts", "errors", "", _of_rollouts(lambda run: sum(one.errors for one in run.rollouts))
    longest = _of_rollouts(lambda run: max((one.deploy_s or 0) + (one.open_s or 0) for one in run.rollouts))
    yield "rollouts", "longest", "s", longest
    yield "kills", "processes", "", _of_kills(lambda run: sum(one.killed for one in run.kills))
    yield "kills", "errors excused", "", _of_kills(lambda run: sum(one.excused for one in run.kills))
    yield (
        "kills",
        "errors near them that nothing excuses",
        "",
        _of_kills(lambda run: sum(one.not_excused for one in run.kills)),
    )
    yield (
        "kills",
        "control back, longest",
        "s",
        _of_kills(lambda run: max((one.back_s for one in run.kills if one.back_s is not None), default=None)),
    )


def _of_warmth(of: Callable[[WarmthReport], float]) -> Callable[[Report], float | None]:
    return lambda run: None if run.warming is None else float(of(run.warming))


def _of_async(name: str) -> Callable[[Report], float | None]:
    return lambda run: None if run.asynchronous is None else float(getattr(run.asynchronous, name))


def _of_rollouts(of: Callable[[Report], float | None]) -> Callable[[Report], float | None]:
    return lambda run: of(run) if run.rollouts else None


def _of_kills(of: Callable[[Report], float | None]) -> Callable[[Report], float | None]:
    return lambda run: of(run) if run.kills else None


def lines_of(comparison: Comparison) -> list[str]:
    """For a person: what differs in the settings, then a table of the figures."""
    lines = [f"{each.name:<20}{each.a}  ->  {each.b}" for each in comparison.settings]
    if not comparison.comparable:
        strange = ", ".join(each.name for each in comparison.settings if each.kind != "subject")
        lines.append(f"warning: not comparable: the runs differ in {strange}")
    lines += [""] if lines else []
    lines.append(_row("", "", "A", "B", "B - A", "", "interval", "").rstrip())
    group = ""
    for figure in comparison.figures:
        lines.append(_line(figure, "" if figure.group == group else figure.group))
        group = figure.group
    pairs = "the same stretches of both runs" if comparison.same_calls else "stretches of each run by itself"
    return [
        *lines,
        "",
        f"Intervals are of B - A, and hold all together with {100 * comparison.confidence:g} %; from {pairs}.",
        "They tell noise within the runs, not what differed between them on the machine: repeat both to be sure.",
    ]


def _line(figure: Figure, group: str) -> str:
    name = f"{figure.name}, {figure.unit}" if figure.unit else figure.name
    difference = "" if figure.difference is None else f"{figure.difference:+,.6g}"
    relative = "" if figure.relative is None else f"{100 * figure.relative:+.1f} %"
    interval = "" if figure.low is None or figure.high is None else f"{figure.low:+.2f} to {figure.high:+.2f}"
    a, b = _number(figure.a), _number(figure.b)
    return _row(group, name, a, b, difference, relative, interval, figure.verdict or "").rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _row(group: str, name: str, a: str, b: str, difference: str, relative: str, interval: str, verdict: str) -> str:
    return f"{group:<20}{name:<40}{a:>12}{b:>12}{difference:>12}{relative:>10}  {interval:<24}{verdict}"
