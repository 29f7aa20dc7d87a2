"""The pictures of a replay and of a comparison, drawn from their JSON."""

from pathlib import Path
from typing import Any

from isotherm.base.errors import Unavailable

__all__ = ["draw_comparison", "draw_front", "draw_report"]

MARKS = ("p50", "p75", "p90", "p99", "p999", "max")


def draw_report(report: dict[str, Any], path: Path) -> None:
    """Four panels, as PNG: calls, latency, instances and memory over time. Raises `Unavailable` without matplotlib."""
    figure = _figure()
    (calls, latency), (instances, memory) = figure.subplots(2, 2)
    _calls(calls, report)
    _latency(latency, report)
    _instances(instances, report)
    _memory(memory, report)
    _marks(calls, report)
    figure.suptitle(_title(report))
    figure.savefig(path, dpi=110)


def draw_comparison(a: dict[str, Any], b: dict[str, Any], comparison: dict[str, Any], path: Path) -> None:
    """Four panels, as PNG: latency by percentile, its differences with their intervals, cold starts by cause, memory
    over time. Raises `Unavailable` without matplotlib."""
    figure = _figure()
    (latency, differences), (cold, memory) = figure.subplots(2, 2)
    for name, run, colour in (("A", a, "tab:blue"), ("B", b, "tab:orange")):
        for spread, style in (("latency_ms", "-"), ("overhead_ms", "--")):
            values = [max(1e-3, run[spread][mark]) for mark in MARKS]
            label = f"{name}, {'whole' if spread == 'latency_ms' else 'without the sleep'}"
            latency.plot(MARKS, values, style, marker="o", color=colour, label=label)
        memory.plot(_times(run), [moment["memory_mb"] for moment in run["timeline"]], color=colour, label=name)
    latency.set(title="Latency", ylabel="ms", yscale="log")
    latency.legend()
    memory.set(title="Memory", xlabel="seconds", ylabel="MB", ylim=(0, None))
    memory.legend()
    _differences(differences, comparison)
    _causes(cold, a, b)
    warning = "" if comparison["comparable"] else "\nnot comparable: workload or machine differ"
    figure.suptitle(f"A: {_title(a)}\nB: {_title(b)}{warning}", fontsize="medium")
    figure.savefig(path, dpi=110)


def draw_front(simulation: dict[str, Any], path: Path) -> None:
    """Avoidable cold starts against idle memory, as PNG or SVG by the path's suffix. A line for each family of
    policies, along those of its settings that no other of them beats in both; the others are faint points.
    Raises `Unavailable` without matplotlib."""
    figure = _figure((9, 5.5))
    axes = figure.subplots()
    families: dict[str, list[tuple[float, int]]] = {}
    for each in simulation["front"]:
        families.setdefault(each["family"], []).append((each["idle"], each["avoidable_cold_starts"]))
    for name, points in families.items():
        style = ":" if name.startswith("oracle") else "-"
        idle, cold = zip(*_front(points), strict=True)
        width = 2.5 if name == "foresight" else 1.2
        (line,) = axes.plot(idle, cold, style, marker="o", markersize=4, linewidth=width, label=name)
        axes.plot(*zip(*points, strict=True), "o", markersize=3, color=line.get_color(), alpha=0.3)
    if not simulation["budget"].startswith("p_cold"):
        limit = simulation["budget_limit"]
        axes.axvline(limit, color="black", linestyle="--", linewidth=0.8, label=simulation["budget"])
    axes.set(xlabel=f"idle {simulation['idle_unit']} of apps", ylabel="avoidable cold starts", xlim=(0, None))
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(0, None)
    axes.grid(alpha=0.3)
    axes.legend()
    calls, apps, minutes = simulation["invocations"], simulation["apps"], simulation["minutes"]
    axes.set_title(f"{simulation['trace']}: {calls:,} calls to {apps:,} apps in {minutes:,} minutes")
    figure.savefig(path, dpi=90)


def _front(points: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Those that no other beats in both."""
    found: list[tuple[float, int]] = []
    for point in sorted(points):
        if not found or point[1] < found[-1][1]:
            found.append(point)
    return found


def _figure(size: tuple[float, float] = (13, 8)) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise Unavailable("the picture needs matplotlib: pip install 'isotherm[replay]'") from exc
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _differences(axes: Any, comparison: dict[str, Any]) -> None:
    """B - A as a share of A; full where the interval leaves out 0."""
    shown = [each for each in comparison["figures"] if each["low"] is not None and each["a"]]
    for place, each in enumerate(reversed(shown)):
        low, high, middle = (100 * each[name] / each["a"] for name in ("low", "high", "difference"))
        told = each["verdict"] in ("higher", "lower")
        colour = "tab:gray" if not told else "tab:red" if each["verdict"] == "higher" else "tab:green"
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot([middle], [place], "o", color=colour, fillstyle="full" if told else "none")
    axes.axvline(0, color="black", linewidth=0.8)
    names = [f"{each['group']}, {each['name']}" for each in reversed(shown)]
    axes.set_yticks(range(len(names)), names, fontsize="x-small")
    axes.set(title=f"B - A, {100 * comparison['confidence']:g} % for all", xlabel="% of A", xscale="symlog")


def _causes(axes: Any, a: dict[str, Any], b: dict[str, Any]) -> None:
    causes = sorted({*a["cold"]["by_cause"], *b["cold"]["by_cause"]})
    for shift, name, run, colour in ((-0.2, "A", a, "tab:blue"), (0.2, "B", b, "tab:orange")):
        heights = [run["cold"]["by_cause"].get(cause, 0) for cause in causes]
        axes.bar([place + shift for place in range(len(causes))], heights, 0.4, label=name, color=colour)
    axes.set_xticks(range(len(causes)), causes)
    axes.set(title="Cold starts by cause")
    axes.legend()


def _marks(axes: Any, report: dict[str, Any]) -> None:
    """When something was killed or rolled out."""
    for kill in report["kills"]:
        axes.axvline(kill["at_s"], color="black", linestyle=":", linewidth=1)
    for rollout in report["rollouts"]:
        axes.axvline(rollout["began_s"], color="tab:green", linestyle=":", linewidth=1)


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
    shown = [("latency_ms", "whole answer"), ("overhead_ms", "without the stand-in's own sleep")]
    shown += [("late_ms", "the replayer sent late by")]
    for name, label in shown:
        axes.plot(MARKS, [max(1e-3, report[name][mark]) for mark in MARKS], marker="o", label=label)
    cost = report["cold"]["cost_ms"]
    axes.plot(MARKS, [max(1e-3, cost[mark]) for mark in MARKS], marker="o", label="a cold call, without its sleep")
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
