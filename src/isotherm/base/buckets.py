"""Token buckets: so many calls (or bytes) a second on average, so many at once."""

__all__ = ["TokenBucket"]


class TokenBucket:
    """Pure but for its own count; time comes in with each question."""

    __slots__ = ("_burst", "_rate_per_s", "_tokens", "_updated_s")

    def __init__(self, rate_per_s: float, burst: int | None, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst) if burst is not None else max(1.0, rate_per_s)
        self._tokens = self._burst
        self._updated_s = now_s

    def take(self, now_s: float, amount: float = 1.0) -> float:
        """0.0 where `amount` was taken, else how many seconds until there is as much. More than the burst: never."""
        elapsed_s = max(0.0, now_s - self._updated_s)  # a call may have arrived before its bucket was made
        tokens = min(self._burst, self._tokens + elapsed_s * self._rate_per_s)
        self._updated_s = now_s
        if tokens >= amount:
            self._tokens = tokens - amount
            return 0.0
        self._tokens = tokens
        return (amount - tokens) / self._rate_per_s

    def give_back(self, amount: float = 1.0) -> None:
        """What was taken was not used after all."""
        self._tokens = min(self._burst, self._tokens + amount)
