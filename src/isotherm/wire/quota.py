"""What a namespace may use. Both wings hold to it: a host on its own, control where something is handed in or kept."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from isotherm.base.settings import Settings

__all__ = ["LIMITS", "Quota", "QuotaName", "QuotaSpec", "default_quota", "settled"]

_most = 1_000_000_000
Whole = Annotated[int, Meta(ge=1, le=_most)]
Rate = Annotated[float, Meta(gt=0, le=_most)]
QuotaName = str  # the name of a field of `Quota`, as errors and metrics have it


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """None: the platform's default, which is no limit unless a setting says otherwise. 1 MB is 2^20 bytes."""

    memory_mb: Annotated[Whole | None, Meta(description="Memory limits of all instances at once, MB, per host")] = None
    instances: Annotated[Whole | None, Meta(description="Instances at once, spares with them, per host")] = None
    rate_per_s: Annotated[Rate | None, Meta(description="Calls a second over all functions, per host")] = None
    burst: Annotated[Whole | None, Meta(description="Calls at once above the rate")] = None
    disk_mb: Annotated[Whole | None, Meta(description="Packages; and on each host unpacked code and dependencies")] = (
        None
    )
    log_mb: Annotated[Whole | None, Meta(description="Log lines kept, MB; the oldest go first")] = None
    log_kb_per_s: Annotated[Rate | None, Meta(description="Log output a second over all functions, KB, per host")] = (
        None
    )
    warm_budget: Annotated[
        Annotated[str, Meta(min_length=1, max_length=100)] | None,
        Meta(
            description="What all its functions together may cost in warmth, `p_cold <= 1%` or `idle <= 2 GBh/day`; "
            "null: they share the platform's budget"
        ),
    ] = None


# What a host holds a namespace to; all numbers.
LIMITS: Final[tuple[QuotaName, ...]] = tuple(name for name in Quota.__struct_fields__ if name != "warm_budget")


class QuotaSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The quota of a namespace that has one of its own."""

    namespace: str
    quota: Quota


def default_quota(settings: Settings) -> Quota:
    """That of a namespace for which nothing else was said."""
    return Quota(
        memory_mb=settings.quota_memory_mb,
        instances=settings.quota_instances,
        rate_per_s=settings.quota_rate_per_s,
        disk_mb=settings.quota_disk_mb,
        log_mb=settings.quota_log_mb,
        log_kb_per_s=settings.quota_log_kb_per_s,
    )


def settled(quota: Quota | None, default: Quota) -> Quota:
    """What holds: `quota`, and `default` where it leaves something open. A burst goes with the rate beside it."""
    if quota is None:
        return default
    changes = {
        name: getattr(default, name)
        for name in Quota.__struct_fields__
        if getattr(quota, name) is None and (name != "burst" or quota.rate_per_s is None)
    }
    return msgspec.structs.replace(quota, **changes)
