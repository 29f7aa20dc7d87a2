"""When a schedule is due: cron expressions in a time zone, and plain intervals. Times are milliseconds since the epoch.

Cron is read by `cronsim`: a time that a change to summer time skips is run right after the change, and one that the
change back repeats is run once where its hour is given, and each time where the expression is a step (`*/30`).
"""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from isotherm.base.errors import Invalid

__all__ = ["Schedule", "parse_schedule"]

_macros = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_rate = re.compile(r"rate\(\s*([1-9][0-9]{0,5})\s+(minute|hour|day)s?\s*\)")
_unit_ms = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_fields = 5
_max_text = 200


class Schedule:
    """Immutable. `every_ms` is set for an interval, which is counted from the epoch, so that restarts move nothing."""

    def __init__(self, expression: str, zone: ZoneInfo, every_ms: int | None) -> None:
        self._expression = expression
        self._zone = zone
        self._every_ms = every_ms

    def following(self, after_ms: int) -> int | None:
        """The first time that is later than `after_ms`; None where none is left within 50 years."""
        if self._every_ms is not None:
            return (after_ms // self._every_ms + 1) * self._every_ms
        start = datetime.fromtimestamp(after_ms // 1000, UTC).astimezone(self._zone)
        found = next(CronSim(self._expression, start), None)
        return None if found is None else int(found.timestamp()) * 1000


def parse_schedule(expression: str, timezone: str) -> Schedule:
    """Five fields of cron, a macro such as `@daily`, or `rate(5 minutes)`. Raises `Invalid`."""
    text = expression.strip()
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise Invalid(
            f"{timezone[:_max_text]!r} is no time zone that this machine knows; expected a name such as Europe/Berlin",
            timezone=timezone[:_max_text],
        ) from exc
    rate = _rate.fullmatch(text)
    if rate is not None:
        return Schedule(text, zone, int(rate[1]) * _unit_ms[rate[2]])
    cron = _macros.get(text, text)
    try:
        if len(cron.split()) != _fields:
            raise CronSimError("it must have five fields")
        CronSim(cron, datetime.now(zone))
    except CronSimError as exc:
        raise Invalid(
            f"{expression[:_max_text]!r} is no schedule: {exc}; expected minute, hour, day of month, month and day of "
            "week, such as `*/5 * * * *`, or @daily, or rate(5 minutes)",
            schedule=expression[:_max_text],
        ) from exc
    return Schedule(cron, zone, None)
