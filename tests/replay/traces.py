"""Small traces in the format of Azure Functions 2019, written where a test wants them."""

from pathlib import Path

DURATION_COLUMNS = [f"percentile_Average_{mark}" for mark in (0, 1, 25, 50, 75, 99, 100)]
MEMORY_COLUMNS = [f"AverageAllocatedMb_pct{mark}" for mark in (1, 5, 25, 50, 75, 95, 99, 100)]
DURATIONS_MS = [60, 60, 120, 180, 240, 600, 1200]
MEMORY_MB = [16, 16, 16, 24, 32, 32, 48, 64]


def write_trace(
    folder: Path,
    counts: dict[str, list[int]],
    first_minute: int = 480,
    durations: list[object] | None = None,
    memory: list[object] | None = None,
) -> Path:
    """`counts` by function name; the three files, as the data set has them."""
    folder.mkdir(parents=True, exist_ok=True)
    length = len(next(iter(counts.values())))
    minutes = [str(first_minute + minute) for minute in range(length)]
    write_rows(
        folder / "invocations.csv",
        ["HashOwner", "HashApp", "HashFunction", "Trigger", *minutes],
        [["owner", "app", name, "http", *row] for name, row in counts.items()],
    )
    write_rows(
        folder / "durations.csv",
        ["HashOwner", "HashApp", "HashFunction", "Average", "Count", "Minimum", "Maximum", *DURATION_COLUMNS],
        [["owner", "app", name, 180, 9, 60, 1200, *(durations or DURATIONS_MS)] for name in counts],
    )
    write_rows(
        folder / "memory.csv",
        ["HashFunction", "HashOwner", "HashApp", "SampleCount", "AverageAllocatedMb", *MEMORY_COLUMNS],
        [[name, "owner", "app", 9, 24, *(memory or MEMORY_MB)] for name in counts],
    )
    return folder


def write_rows(path: Path, header: list[str], rows: list[list[object]]) -> None:
    path.write_text("".join(",".join(str(cell) for cell in row) + "\n" for row in [header, *rows]))
