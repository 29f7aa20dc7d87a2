"""Token buckets: so many calls a second on average, so many at once."""

__all__ = ["TokenBucket"]


class TokenBucket:
    """Pure but for its own count; time comes in with each question."""

    __slots__ = ("_burst", "_rate_per_s", "_tokens", "_updated_s")

    def __init__(self, rate_per_s: float, burst: int | None, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst) if burst is not None else max(1.0, rate_per_s)
        self._tokens = self._burst
        self._updated_s = now_s

    def take(self, now_s: float) -> float:
        """0.0 where a token was taken, else how many seconds until there is one."""
        tokens = min(self._burst, self._tokens + (now_s - self._updated_s) * self._rate_per_s)
        self._updated_s = now_s
        if tokens >= 1.0:
            self._tokens = tokens - 1.0
            return 0.0
        self._tokens = tokens
        return (1.0 - tokens) / self._rate_per_s
