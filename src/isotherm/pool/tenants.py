"""Namespaces on this host: their quotas, and the room that their instances take. For the loop's thread."""

from dataclasses import dataclass

from isotherm.base.errors import TooManyRequests
from isotherm.wire.quota import Quota, QuotaName, settled

__all__ = ["Place", "Shortage", "Tenant", "Tenants"]

units: dict[QuotaName, str] = {
    "instances": "instances",
    "memory_mb": "MB for all its instances",
    "rate_per_s": "calls a second",
}


@dataclass(frozen=True, slots=True)
class Shortage:
    """What a namespace has no more of."""

    quota: QuotaName
    limit: float


class Place:
    """Room for one instance, taken before it starts and given back once, when its process is gone."""

    __slots__ = ("_held", "_memory_mb", "_tenant", "occupied")

    def __init__(self, tenant: "Tenant", memory_mb: int) -> None:
        self._tenant = tenant
        self._memory_mb = memory_mb
        self._held = True
        self.occupied = False  # True: an instance is in it, whose end gives it back
        tenant.instances += 1
        tenant.memory_mb += memory_mb

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._tenant.instances -= 1
            self._tenant.memory_mb -= self._memory_mb
            self._tenant.look_again_s = 0.0


class Tenant:
    """One namespace. Memory is counted as what instances may take, so that none outgrows the quota once it runs."""

    __slots__ = ("instances", "look_again_s", "memory_mb", "namespace", "quota", "refused")

    def __init__(self, namespace: str, quota: Quota) -> None:
        self.namespace = namespace
        self.quota = quota
        self.instances = 0
        self.memory_mb = 0
        self.look_again_s = 0.0  # when it may be looked through for what is idle: that costs, and helps no one twice
        self.refused: dict[QuotaName, int] = {}  # calls that were turned away, by the quota that they met

    def shortage(self, memory_mb: int) -> Shortage | None:
        """What one more instance of this size would be over; 0: what there is already."""
        quota = self.quota
        more = 1 if memory_mb else 0
        if quota.instances is not None and self.instances + more > quota.instances:
            return Shortage("instances", quota.instances)
        if quota.memory_mb is not None and self.memory_mb + memory_mb > quota.memory_mb:
            return Shortage("memory_mb", quota.memory_mb)
        return None

    def over(self, memory_mb: int) -> tuple[int, int]:
        """`(instances, MB)` that have to go before another one of this size fits; 0: before all is within."""
        quota = self.quota
        more = 1 if memory_mb else 0
        instances = 0 if quota.instances is None else max(0, self.instances + more - quota.instances)
        memory = 0 if quota.memory_mb is None else max(0, self.memory_mb + memory_mb - quota.memory_mb)
        return instances, memory

    def refusal(self, shortage: Shortage, why: str, retry_after_s: float) -> TooManyRequests:
        """What a caller is told; counted."""
        self.refused[shortage.quota] = self.refused.get(shortage.quota, 0) + 1
        return TooManyRequests(
            f"{why}: the namespace {self.namespace} has a quota of {shortage.limit:g} {units[shortage.quota]}",
            retry_after_s=retry_after_s,
            quota=shortage.quota,
            limit=shortage.limit,
            namespace=self.namespace,
        )


class Tenants:
    """All namespaces that this host has heard of. `default` holds where nothing was said of one."""

    def __init__(self, default: Quota | None = None) -> None:
        self._default = default or Quota()
        self._own: dict[str, Quota] = {}
        self._tenants: dict[str, Tenant] = {}

    def of(self, namespace: str) -> Tenant:
        found = self._tenants.get(namespace)
        if found is None:
            found = self._tenants[namespace] = Tenant(namespace, self._settled(namespace))
        return found

    def all(self) -> list[Tenant]:
        return list(self._tenants.values())

    def put(self, namespace: str, quota: Quota) -> None:
        """A quota that counts from now on."""
        self._own[namespace] = quota
        self._renew(namespace)

    def remove(self, namespace: str) -> None:
        """The default holds again."""
        self._own.pop(namespace, None)
        self._renew(namespace)

    def _renew(self, namespace: str) -> None:
        tenant = self.of(namespace)
        tenant.quota = self._settled(namespace)
        tenant.look_again_s = 0.0

    def _settled(self, namespace: str) -> Quota:
        return settled(self._own.get(namespace), self._default)
