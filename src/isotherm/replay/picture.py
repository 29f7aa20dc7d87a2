"""The picture of a replay, drawn from the JSON of its report."""

from pathlib import Path
from typing import Any

from isotherm.base.errors import Unavailable

__all__ = ["draw_report"]


def draw_report(report: dict[str, Any], path: Path) -> None:
    """Four panels, as PNG: calls, latency, instances and memory over time. Raises `Unavailable` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise Unavailable("the picture needs matplotlib: pip install 'isotherm[replay]'") from exc
    figure = Figure(figsize=(13, 8), layout="constrained")
    FigureCanvasAgg(figure)
    (calls, latency), (instances, memory) = figure.subplots(2, 2)
    _calls(calls, report)
    _latency(latency, report)
    _instances(instances, report)
    _memory(memory, report)
    figure.suptitle(_title(report))
    figure.savefig(path, dpi=110)


def _title(report: dict[str, Any]) -> str:
    scale = report["scale"]
    return (
        f"{report['trace']}: {report['invocations']:,} calls to {report['functions']} functions, "
        f"{report['minutes']} minutes at {scale['speed']:g}x; durations x {scale['duration']:.4g}, "
        f"memory x {scale['memory']:.4g}\n{report['errors']:,} errors, {report['cold_starts']:,} cold starts "
        f"({100 * report['cold']['share']:.2f} %)"
    )


def _times(report: dict[str, Any]) -> list[float]:
    return [moment["at_s"] for moment in report["timeline"]]


def _calls(axes: Any, report: dict[str, Any]) -> None:
    axes.plot(_times(report), [moment["calls_per_s"] for moment in report["timeline"]], color="tab:blue")
    axes.set(title="Calls sent", xlabel="seconds", ylabel="calls a second", ylim=(0, None))
    colds = axes.twinx()
    colds.plot(_times(report), [moment["cold_starts"] for moment in report["timeline"]], color="tab:cyan")
    colds.plot(_times(report), [moment["errors"] for moment in report["timeline"]], color="tab:red")
    colds.set(ylabel="cold starts (cyan), errors (red) a sample", ylim=(0, None))


def _latency(axes: Any, report: dict[str, Any]) -> None:
    marks = ["p50", "p75", "p90", "p99", "p999", "max"]
    shown = [("latency_ms", "whole answer"), ("overhead_ms", "without the stand-in's own sleep")]
    shown += [("late_ms", "the replayer sent late by")]
    for name, label in shown:
        axes.plot(marks, [max(1e-3, report[name][mark]) for mark in marks], marker="o", label=label)
    cost = report["cold"]["cost_ms"]
    axes.plot(marks, [max(1e-3, cost[mark]) for mark in marks], marker="o", label="a cold call, without its sleep")
    axes.set(title="Latency", ylabel="ms", yscale="log")
    axes.legend()


def _instances(axes: Any, report: dict[str, Any]) -> None:
    for temperature, colour in (
        ("hot", "tab:red"),
        ("warm", "tab:orange"),
        ("spare", "tab:cyan"),
        ("template", "tab:blue"),
    ):
        values = [moment["instances"][temperature] for moment in report["timeline"]]
        axes.plot(_times(report), values, label=temperature, color=colour)
    axes.set(title="Instances by temperature", xlabel="seconds", ylim=(0, None))
    axes.legend()


def _memory(axes: Any, report: dict[str, Any]) -> None:
    axes.fill_between(_times(report), [moment["memory_mb"] for moment in report["timeline"]], alpha=0.5)
    use = report["memory"]
    title = f"Memory: {use['idle_gb_s']:g} GB·s idle, {use['busy_gb_s']:g} GB·s busy"
    axes.set(title=title, xlabel="seconds", ylabel="MB", ylim=(0, None))
