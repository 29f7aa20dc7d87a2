"""The report of a replay in lines for a person."""

from isotherm.replay.report import AsyncReport, KillReport, Report, RolloutReport, StreamReport, WarmthReport

__all__ = ["summarise"]


def summarise(report: Report) -> str:
    """One fact a line, names in a column of their own; the first errors last."""
    lines = [*_what(report), *_calls(report), *_cold(report), *_latency(report), *_memory(report)]
    lines += _warming(report.warming) if report.warming is not None else []
    lines += _asynchronous(report.asynchronous) if report.asynchronous is not None else []
    lines += _streamed(report.streamed) if report.streamed is not None else []
    lines += [("rollout" if not turn else "", _rollout(each)) for turn, each in enumerate(report.rollouts)]
    lines += [("kill" if not turn else "", _kill(each)) for turn, each in enumerate(report.kills)]
    lines += [("error", text) for text in report.error_examples]
    return "\n".join(f"{name:<16}{value}" for name, value in lines)


def _what(report: Report) -> list[tuple[str, str]]:
    scale = report.scale
    last = report.first_minute + report.minutes - 1
    called = report.cold.functions_called
    scaled = f"speed {scale['speed']:g}, durations x {scale['duration']:.4g}, memory x {scale['memory']:.4g}"
    return [
        ("trace", f"{report.trace}, minutes {report.first_minute} to {last}"),
        ("scale", f"{scaled}, arrivals x {scale['arrivals']:g}, seed {report.seed}"),
        ("functions", f"{report.functions}, deployed in {report.deploy_s:.1f} s; {called} of them called"),
    ]


def _calls(report: Report) -> list[tuple[str, str]]:
    rate = f"{report.calls_per_s:,.0f} a second, {report.peak_calls_per_s:,.0f} in the busiest"
    by_status = "".join(f"; {count} with status {status}" for status, count in report.errors_by_status.items())
    excused = f"; {report.errors_excused:,} of them excused by a kill" if report.errors_excused else ""
    return [
        ("invocations", f"{report.invocations:,} in {report.wall_s:.1f} s: {rate}"),
        ("errors", f"{report.errors:,}{by_status}{excused}"),
    ]


def _cold(report: Report) -> list[tuple[str, str]]:
    cold, each, share = report.cold, report.cold.cost_ms, report.cold.per_function_percent
    causes = ", ".join(f"{count} {cause}" for cause, count in cold.by_cause.items()) or "none recorded"
    cost = f"p50 {each.p50:.2f} ms, p99 {each.p99:.2f} ms, at most {each.max:.1f} ms"
    return [
        ("cold starts", f"{report.cold_starts:,} ({100 * cold.share:.3f} % of calls): {causes}"),
        ("  each cost", f"{cost}; {cold.total_cost_s:.2f} s in all"),
        ("  by function", f"p50 {share.p50:.2f} %, p75 {share.p75:.2f} %, p99 {share.p99:.2f} % of its calls"),
    ]


def _latency(report: Report) -> list[tuple[str, str]]:
    whole, ours, late = report.latency_ms, report.overhead_ms, report.late_ms
    tail = f"p99.9 {whole.p999:.2f} ms, at most {whole.max:.0f} ms"
    return [
        ("latency", f"p50 {whole.p50:.2f} ms, p99 {whole.p99:.2f} ms, {tail}"),
        ("  platform's", f"p50 {ours.p50:.2f} ms, p99 {ours.p99:.2f} ms (all but the stand-ins' own sleep)"),
        ("  sent late by", f"p50 {late.p50:.2f} ms, p99 {late.p99:.2f} ms (the replayer's own doing)"),
    ]


def _memory(report: Report) -> list[tuple[str, str]]:
    use = report.memory
    held = f"{use.mean_mb:,.0f} MB on average, {use.peak_mb:,.0f} MB at most"
    return [("memory", f"{held}; {use.busy_gb_s:.2f} GB·s busy, {use.idle_gb_s:.2f} GB·s idle")]


def _warming(warmth: WarmthReport) -> list[tuple[str, str]]:
    minute = "" if warmth.minute_s is None else f", whose minute has {warmth.minute_s:g} s"
    budget = "" if warmth.budget is None else f", {warmth.budget}"
    unfit = "" if warmth.policy != "foresight" or warmth.fits else "; it does not fit this speed"
    each = warmth.warm_overhead_ms
    idle = f"{warmth.idle_minutes:,.0f} minutes of the trace"
    lines = [
        (
            "warmth",
            f"by {warmth.policy}; the platform's policy is {warmth.decides or 'not known'}{minute}{budget}{unfit}",
        ),
        ("  avoidable", f"{warmth.avoidable:,} cold starts after a function's first call"),
        ("  idle", f"{idle} by instances, {warmth.template_minutes:,.0f} by templates, sampled"),
        ("  warm calls", f"p50 {each.p50:.2f} ms, p90 {each.p90:.2f} ms, p99 {each.p99:.2f} ms beyond their own sleep"),
    ]
    if warmth.simulated is not None:
        said = warmth.simulated
        lines.append(
            (
                "  simulated",
                f"{said.avoidable:,} avoidable cold starts, {said.idle_minutes:,.0f} minutes idle by instances",
            )
        )
    return lines


def _asynchronous(events: AsyncReport) -> list[tuple[str, str]]:
    dead = "".join(f", {count} {code}" for code, count in events.dead_by_code.items())
    came = f"{events.succeeded:,} succeeded, {events.dead:,} dead{dead}, {events.open:,} open, {events.lost:,} lost"
    acknowledged, ended = events.acknowledged_ms, events.to_end_ms
    waited = (
        f"{events.drain_s:.1f} s until the queue was empty" if events.drained else "the queue was not empty in time"
    )
    return [
        ("asynchronous", f"{events.accepted:,} of {events.sent:,} accepted: {came}"),
        ("  acknowledged", f"p50 {acknowledged.p50:.2f} ms, p99 {acknowledged.p99:.2f} ms"),
        ("  to their end", f"p50 {ended.p50:.2f} ms, p99 {ended.p99:.2f} ms, at most {ended.max:.0f} ms; {waited}"),
    ]


def _streamed(streams: StreamReport) -> list[tuple[str, str]]:
    first, end = streams.first_byte_ms, streams.to_end_ms
    return [
        ("streamed", f"{streams.whole:,} of {streams.sent:,} whole, {streams.pieces} pieces each"),
        ("  first byte", f"p50 {first.p50:.2f} ms, p99 {first.p99:.2f} ms"),
        ("  to their end", f"p50 {end.p50:.2f} ms, p99 {end.p99:.2f} ms"),
    ]


def _rollout(one: RolloutReport) -> str:
    why = f" ({one.rule or one.problem})" if one.rule or one.problem else ""
    took = "" if one.deploy_s is None else f", ready in {one.deploy_s:.1f} s"
    took += "" if one.open_s is None else f", over {one.open_s:.1f} s later"
    excused = f" ({one.excused} excused)" if one.excused else ""
    return (
        f"{one.function} {one.strategy}: {one.state}{why}{took}; {one.requests:,} calls, {one.errors} errors{excused}"
    )


def _kill(one: KillReport) -> str:
    if one.what == "control":
        came = f"back after {one.back_s:.2f} s" if one.back_s is not None else one.problem
        return f"control at {one.at_s:.1f} s: {came}; {one.not_excused} errors near it{_failed(one)}"
    again = f"served again in {one.served_again_ms.p50:.1f} ms (p50), {one.served_again_ms.max:.1f} ms at most"
    missing = f"; {one.not_served_again} functions not served again" if one.not_served_again else ""
    errors = f"{one.excused} errors excused, {one.not_excused} others near it{_failed(one)}"
    problem = f"; {one.problem}" if one.problem else ""
    what = f"{one.killed} of {one.found} instances at {one.at_s:.1f} s"
    return f"{what}: {errors}; {again}{missing}{problem}"


def _failed(one: KillReport) -> str:
    each = ", ".join(f"{count} {what}" for what, count in one.failed.items())
    return f" ({each})" if each else ""
