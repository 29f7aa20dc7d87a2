"""Moments, durations and sizes as people read them."""

import re
import time
from datetime import datetime

from isotherm.base.errors import Invalid

__all__ = ["age", "clock", "duration", "moment", "parse_duration_s", "size"]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def age(at_ms: int | None, now_ms: int | None = None) -> str:
    """How long ago: `12s`, `5m`, `3h`, `9d`; empty where unknown."""
    if at_ms is None:
        return ""
    seconds = max(0, ((time.time_ns() // 1_000_000 if now_ms is None else now_ms) - at_ms) // 1000)
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS_S[unit]:
            return f"{seconds // _UNITS_S[unit]}{unit}"
    return f"{seconds}s"


def clock(at_ms: int) -> str:
    """Local time with milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%H:%M:%S.%f")[:-3]


def moment(at_ms: int) -> str:
    """Local date and time to the minute."""
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def duration(elapsed_ms: float | None) -> str:
    """`3.4 ms`, `120 ms`, `2.1 s`; empty where unknown."""
    if elapsed_ms is None:
        return ""
    if elapsed_ms < 10:
        return f"{elapsed_ms:.1f} ms"
    return f"{elapsed_ms:.0f} ms" if elapsed_ms < 1000 else f"{elapsed_ms / 1000:.1f} s"


def size(count: int) -> str:
    """`512 B`, `3.2 kB`, `41 MB`."""
    if count < 1000:
        return f"{count} B"
    number = count / 1000
    for unit in ("kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def parse_duration_s(text: str, flag: str) -> float:
    """`90s`, `15m`, `12h`, `30d`, `4w` as seconds. Raises `Invalid` naming the flag."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if match is None:
        raise Invalid(f"{flag}: expected a duration such as 15m, 12h or 30d, got {text!r}")
    return float(match[1]) * _UNITS_S[match[2]]
