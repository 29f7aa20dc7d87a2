"""Calls a second: of one function, and of all functions of its namespace together. And calls of a function at once."""

from collections.abc import Callable

from isotherm.base.buckets import TokenBucket
from isotherm.base.errors import TooManyRequests
from isotherm.pool.tenants import Shortage, Tenant
from isotherm.wire.desired import RouteSpec

__all__ = ["RateLimit"]


class RateLimit:
    """What a call of one function has to pass. `shared` is the bucket of the namespace, the same for all of them;
    `under_way` counts the calls of a workload that are not answered."""

    __slots__ = ("_own", "_shared", "_spec", "_tenant", "_under_way")

    def __init__(
        self,
        spec: RouteSpec,
        own: TokenBucket | None,
        tenant: Tenant,
        shared: TokenBucket | None,
        under_way: Callable[[str], int],
    ) -> None:
        self._spec = spec
        self._under_way = under_way
        self._own = own
        self._tenant = tenant
        self._shared = shared

    def take(self, now_s: float) -> TooManyRequests | None:
        """None where the call may pass; a call that is refused takes nothing from either."""
        try:
            self.check_room()
        except TooManyRequests as refusal:
            return refusal
        if self._own is not None and (wait_s := self._own.take(now_s)):
            return TooManyRequests(
                f"{self._name()} is called more often than {self._spec.rate_per_s:g} times a second",
                retry_after_s=wait_s,
            )
        if self._shared is not None and (wait_s := self._shared.take(now_s)):
            if self._own is not None:
                self._own.give_back()
            rate = self._tenant.quota.rate_per_s or 0.0
            return self._tenant.refusal(Shortage("rate_per_s", rate), f"{self._name()} may not be called now", wait_s)
        return None

    def check_room(self) -> None:
        """Raises `TooManyRequests` where as many calls of the function are under way as are reserved for it."""
        reserved = self._spec.reserved
        if reserved is not None and self._under_way(self._spec.workload_id) >= reserved:
            raise TooManyRequests(
                f"Rate exceeded: {self._name()} has {reserved} calls at once reserved, and as many are under way",
                retry_after_s=1.0,
                reason="ReservedFunctionConcurrentInvocationLimitExceeded",
            )

    def _name(self) -> str:
        return f"{self._spec.namespace}/{self._spec.name}"
