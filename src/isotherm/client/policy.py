"""When a request is sent again. Pure: time and chance come as arguments."""

from isotherm.base.errors import IsothermError, TooManyRequests, Unavailable
from isotherm.client.request import Request

__all__ = ["Attempts"]

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


class Attempts:
    """What became of one request so far.

    It is sent again only where that cannot do it twice: it may be repeated, or the platform says that it was not begun
    (429, `begun` false in an error's data; a connection that was never there). Pauses double, half of each is chance,
    and none is shorter than the platform asks for. `budget_s` is the time from the first attempt to the last.
    """

    def __init__(self, request: Request, budget_s: float) -> None:
        self._request = request
        self._budget_s = budget_s
        self._failures = 0
        self.maybe_done = False  # an attempt failed of which nobody knows whether it was done

    def pause_s(self, error: IsothermError, elapsed_s: float, chance: float) -> float | None:
        """How long to wait before the next attempt; None: raise the error. `chance` is from 0 to 1."""
        not_begun = isinstance(error, TooManyRequests) or error.data.get("begun") is False
        if not isinstance(error, (Unavailable, TooManyRequests)) or not (not_begun or self._request.repeatable):
            return None
        self.maybe_done = self.maybe_done or not not_begun
        doubled = min(FIRST_PAUSE_S * 2.0**self._failures, LONGEST_PAUSE_S)
        self._failures += 1
        pause = max(doubled / 2, error.retry_after_s or 0.0) + doubled / 2 * chance
        return pause if elapsed_s + pause <= self._budget_s else None
