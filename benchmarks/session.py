"""What every benchmark gets and gives: how thorough to be, a folder of its own, and its outcome."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.result import Check, Figure

__all__ = ["Outcome", "Session"]


@dataclass(frozen=True)
class Session:
    """One run of one benchmark."""

    quick: bool  # few and short repeats: to see that it works, not to quote
    folder: Path  # temporary
    say: Callable[[str], None]

    def choose(self, thorough: int, quick: int) -> int:
        return quick if self.quick else thorough


@dataclass(frozen=True)
class Outcome:
    """What a benchmark found."""

    settings: dict[str, Any]
    checks: list[Check]
    figures: list[Figure]
    measurements: dict[str, Any]
    notes: list[str] = field(default_factory=list)
