"""Rates of REST calls, per principal, and of failed authentication, per client address; in memory."""

import math
import time

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from isotherm.base.errors import TooManyRequests

__all__ = ["RateLimits"]

_failures_share = 0.1  # calls without a valid key, as a share of the rate that a key has


class RateLimits:
    """Thread-safe."""

    def __init__(self, rate_per_s: float) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._calls = _item(rate_per_s)
        self._failures = RateLimitItemPerSecond(math.ceil(rate_per_s * 60 * _failures_share), 60)

    def take_call(self, principal_id: str) -> None:
        """Raises `TooManyRequests`."""
        if not self._limiter.hit(self._calls, "call", principal_id):
            raise self._refusal(self._calls, "call", principal_id, "this key makes too many calls")

    def take_failure(self, address: str) -> None:
        """A call without a valid key. Raises `TooManyRequests`."""
        if not self._limiter.hit(self._failures, "auth", address):
            raise self._refusal(self._failures, "auth", address, "too many calls without a valid key")

    def take_open(self, address: str) -> None:
        """A call of what needs no key, such as a login. Raises `TooManyRequests`."""
        if not self._limiter.hit(self._failures, "open", address):
            raise self._refusal(self._failures, "open", address, "too many logins from one address")

    def _refusal(self, item: RateLimitItem, kind: str, who: str, what: str) -> TooManyRequests:
        stats = self._limiter.get_window_stats(item, kind, who)
        retry_after_s = max(0.05, stats.reset_time - time.time())
        limit = f"{item.amount} in {item.get_expiry()} s"
        return TooManyRequests(f"{what}: the limit is {limit}", retry_after_s=retry_after_s, limit=limit)


def _item(rate_per_s: float) -> RateLimitItem:
    """Whole calls in whole seconds that come to at most `rate_per_s`."""
    if rate_per_s >= 1:
        return RateLimitItemPerSecond(math.floor(rate_per_s))
    return RateLimitItemPerSecond(1, math.ceil(1 / rate_per_s))
