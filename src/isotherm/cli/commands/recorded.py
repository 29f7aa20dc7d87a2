"""What the platform counted of calls, as the replayer takes it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from isotherm.base.errors import Invalid
from isotherm.cli.connect import connect
from isotherm.replay.model import OwnRecords, RecordedMinute

__all__ = ["own_records"]

MINUTES_A_DAY = 1440
MOST_DAYS = 62


@contextmanager
def own_records(namespace: str | None, days: float) -> Iterator[OwnRecords]:
    """Of the last `days`, the minute that is not over left out; read while it is iterated. Raises `Invalid`."""
    if not 0 < days <= MOST_DAYS:
        raise Invalid(f"--days {days:g}: more than 0 and at most {MOST_DAYS} were expected")
    until_minute = int(time.time() // 60)
    since_minute = until_minute - max(1, round(days * MINUTES_A_DAY))
    with connect(namespace) as client:
        memory_mb = {
            each.name: float(each.latest.config["memory_mb"])
            for each in client.functions.list()
            if each.latest is not None and "memory_mb" in each.latest.config
        }
        found = client.invocations.minutes(since_minute=since_minute, until_minute=until_minute)
        rows = (RecordedMinute(each.name, each.minute, each.count, each.run_ms) for each in found)
        yield OwnRecords(client.namespace, days, until_minute, rows, memory_mb)
