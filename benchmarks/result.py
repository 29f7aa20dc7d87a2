"""What a benchmark gives: checks against targets, and the figures that its picture is drawn from; one JSON file."""

import json
import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["Bar", "Check", "Curve", "Figure", "Result", "read_results", "write_result"]

_holds: dict[str, Callable[[float, float], bool]] = {"≥": operator.ge, "≤": operator.le}


@dataclass(frozen=True)
class Check:
    """One promise in numbers and what was measured."""

    what: str
    comparison: Literal["≥", "≤"]
    target: float
    unit: str
    measured: float
    spread: str = ""  # of the repeats, as text
    promised: bool = True  # False: measured for comparison alone; nothing is promised

    @property
    def held(self) -> bool:
        return _holds[self.comparison](self.measured, self.target)


@dataclass(frozen=True)
class Bar:
    """A median with its range."""

    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Values to show as a cumulative distribution, or points over x."""

    label: str
    values: list[float]


@dataclass(frozen=True)
class Figure:
    """One panel of the picture."""

    title: str
    unit: str
    bars: list[Bar] = field(default_factory=list)
    distributions: list[Curve] = field(default_factory=list)
    target: float | None = None  # drawn as a line


@dataclass(frozen=True)
class Result:
    """One benchmark's outcome."""

    benchmark: str
    command: str
    at: str  # ISO 8601, UTC
    quick: bool
    machine: dict[str, Any]
    settings: dict[str, Any]
    checks: list[Check]
    figures: list[Figure]
    measurements: dict[str, Any]  # raw values, as measured
    notes: list[str] = field(default_factory=list)


def write_result(result: Result, folder: Path) -> Path:
    """`FOLDER/BENCHMARK.json`, written whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    body = asdict(result)
    for check, one in zip(body["checks"], result.checks, strict=True):
        check["held"] = one.held
    path = folder / f"{result.benchmark}.json"
    draft = path.with_suffix(".json.new")
    draft.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    draft.replace(path)
    return path


def read_results(folder: Path) -> list[Result]:
    """All results in a folder, by file name."""
    return [_parse(json.loads(path.read_text())) for path in sorted(folder.glob("*.json")) if _is_result(path)]


def _is_result(path: Path) -> bool:
    return '"benchmark":' in path.read_text()[:200]


def _parse(body: dict[str, Any]) -> Result:
    checks = [Check(**{k: v for k, v in check.items() if k != "held"}) for check in body.pop("checks")]
    figures = [
        Figure(
            title=figure["title"],
            unit=figure["unit"],
            target=figure["target"],
            bars=[Bar(**bar) for bar in figure["bars"]],
            distributions=[Curve(**curve) for curve in figure["distributions"]],
        )
        for figure in body.pop("figures")
    ]
    return Result(checks=checks, figures=figures, **body)
