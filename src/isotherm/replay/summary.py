"""The report of a replay in lines for a person."""

from isotherm.replay.report import Report

__all__ = ["summarise"]


def summarise(report: Report) -> str:
    """One fact a line, names in a column of their own; the first errors last."""
    lines = [*_what(report), *_calls(report), *_cold(report), *_latency(report), *_memory(report)]
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
    return [
        ("invocations", f"{report.invocations:,} in {report.wall_s:.1f} s: {rate}"),
        ("errors", f"{report.errors:,}{by_status}"),
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
