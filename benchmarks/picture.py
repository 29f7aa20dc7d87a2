"""A picture of a result, drawn from its JSON alone: one panel a figure, the target as a line."""

import math
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from benchmarks.result import Figure, Result

__all__ = ["draw"]

WIDTH, HEIGHT = 7.0, 3.6


def draw(result: Result, path: Path) -> None:
    """Write a PNG."""
    columns = min(2, len(result.figures))
    rows = math.ceil(len(result.figures) / columns)
    canvas = Canvas(figsize=(WIDTH * columns, HEIGHT * rows), layout="constrained")
    FigureCanvasAgg(canvas)
    panels = canvas.subplots(rows, columns, squeeze=False).flatten()
    for axes, figure in zip(panels, result.figures, strict=False):
        _panel(axes, figure)
    for axes in panels[len(result.figures) :]:
        axes.set_axis_off()
    machine = result.machine
    canvas.suptitle(
        f"{result.benchmark}: {machine['cores']} cores, {machine['cpu']}, Python {machine['python']}", fontsize=9
    )
    canvas.savefig(path, dpi=110)


def _panel(axes: Any, figure: Figure) -> None:
    axes.set_title(figure.title, fontsize=10)
    if figure.bars:
        _bars(axes, figure)
    for curve in figure.distributions:
        ordered = sorted(curve.values)
        axes.step(ordered, [100 * (i + 1) / len(ordered) for i in range(len(ordered))], where="post", label=curve.label)
    if figure.distributions:
        axes.set(xlabel=figure.unit, ylabel="%", xscale="log", ylim=(0, 101))
        axes.legend(fontsize=8)
    axes.tick_params(labelsize=8)


def _bars(axes: Any, figure: Figure) -> None:
    bars = figure.bars[::-1]
    errors = [[bar.value - bar.low for bar in bars], [bar.high - bar.value for bar in bars]]
    colours = ["tab:blue" if "sotherm" in bar.label or "instance" in bar.label else "tab:gray" for bar in bars]
    axes.barh([bar.label for bar in bars], [bar.value for bar in bars], xerr=errors, color=colours, capsize=3)
    for position, bar in enumerate(bars):
        axes.text(bar.high, position, f" {_number(bar.value)}", va="center", fontsize=8)
    if figure.target is not None:
        axes.axvline(figure.target, color="tab:red", linestyle="--", linewidth=1)
    axes.set(xlabel=figure.unit)
    axes.margins(x=0.15)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
