"""Log lines: what there is, and what comes, over every break of the stream."""

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

from isotherm.base.errors import IsothermError, Unavailable
from isotherm.client.model import LogLine, Page
from isotherm.client.request import function_path, given
from isotherm.client.session import Session

__all__ = ["LOG_PAGE", "follow", "past"]

LAST = 100  # lines that are shown where no beginning is asked for
LOG_PAGE = 1000
MISSED = 100_000  # lines that are caught up with after a break
PAUSE_S = 1.0
FAILURES = 60  # one after the other


async def past(
    session: Session, name: str, limit: int | None, since_ms: int | None, invocation: str | None
) -> AsyncGenerator[LogLine, None]:
    """The last lines, or those from `since_ms` on; oldest first."""
    path = session.path(f"{function_path(name)}/logs")
    left, cursor = _most(limit, since_ms), None
    while left > 0:
        page = await session.get(
            path, Page[LogLine], limit=min(left, LOG_PAGE), since_ms=since_ms, invocation=invocation, cursor=cursor
        )
        for line in page.items:
            yield line
        left, cursor = left - len(page.items), page.next_cursor
        if since_ms is None or cursor is None or not page.items:  # without a beginning, a cursor leads to what comes
            return


async def follow(
    session: Session, name: str, limit: int | None, since_ms: int | None, invocation: str | None
) -> AsyncGenerator[LogLine, None]:
    """The last lines, then those that come, without end. A stream that breaks (control restarts) is taken up again
    where it ended; a line is given once.

    Raises what the platform refuses it with, `Unavailable` once it has been away for a minute.
    """
    place, failures, most = _Place(since_ms), 0, _most(limit, since_ms)
    while True:
        try:
            async with aclosing(_from(session, name, place, most, invocation)) as lines:
                async for line in lines:
                    failures = 0
                    yield line
        except IsothermError as exc:
            if not isinstance(exc, Unavailable) or failures >= FAILURES:
                raise
        failures, most = failures + 1, MISSED
        await session.wire.sleep(PAUSE_S)


def _most(limit: int | None, since_ms: int | None) -> int:
    if limit is not None:
        return limit
    return LAST if since_ms is None else sys.maxsize


async def _from(
    session: Session, name: str, place: "_Place", most: int, invocation: str | None
) -> AsyncGenerator[LogLine, None]:
    """What was missed, at most so much, then what comes, until the stream breaks."""
    if place.since_ms is not None:
        place.taken_up()
        async for line in past(session, name, most, place.since_ms, invocation):
            if place.is_new(line):
                yield line
    place.taken_up()
    path = session.path(f"{function_path(name)}/logs")
    asked = given(follow=True, limit=min(most, LOG_PAGE), since_ms=place.since_ms, invocation=invocation)
    async with aclosing(session.lines(path, LogLine, None, **asked)) as lines:
        async for line in lines:
            if place.is_new(line):
                yield line


class _Place:
    """How far the lines have come: the newest moment, and the lines of it, which are asked for again after a break."""

    def __init__(self, since_ms: int | None) -> None:
        self.since_ms = since_ms
        self._at_that_moment: list[LogLine] = []
        self._again: list[LogLine] = []

    def taken_up(self) -> None:
        self._again = list(self._at_that_moment)

    def is_new(self, line: LogLine) -> bool:
        if line in self._again:
            self._again.remove(line)
            return False
        if self.since_ms is None or line.at_ms > self.since_ms:
            self.since_ms, self._at_that_moment = line.at_ms or self.since_ms, []
        if line.at_ms == self.since_ms:
            self._at_that_moment.append(line)
        return True
