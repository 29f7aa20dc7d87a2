"""The Prometheus text format (version 0.0.4), written by hand: a scrape must not hold the gateway's loop for long."""

from collections.abc import Iterable, Sequence

__all__ = ["CONTENT_TYPE", "Exposition", "labels"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def labels(**values: str) -> str:
    """`{name="value",…}` with the values escaped; empty where there are none."""
    if not values:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in values.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Exposition:
    """Collects families and samples; `text()` is the page."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, help_: str) -> None:
        """Open a family; its samples follow."""
        self._lines.append(f"# HELP {name} {help_}\n# TYPE {name} {kind}")

    def sample(self, name: str, label: str, value: float) -> None:
        self._lines.append(f"{name}{label} {value:.10g}" if isinstance(value, float) else f"{name}{label} {value}")

    def histogram(self, name: str, label: str, bounds_s: Sequence[str], counts: Iterable[int], total_s: float) -> None:
        """One histogram; `counts` has one more entry than `bounds_s`, not yet cumulative."""
        running = 0
        add = self._lines.append
        bucket = f"{name}_bucket{label[:-1]}," if label else f"{name}_bucket{{"
        for bound, count in zip((*bounds_s, "+Inf"), counts, strict=True):
            running += count
            add(f'{bucket}le="{bound}"}} {running}')
        add(f"{name}_sum{label} {total_s:.10g}")
        add(f"{name}_count{label} {running}")

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"
