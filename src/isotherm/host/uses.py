"""What each namespace uses of this host now, as control and the metrics are told."""

import asyncio

from isotherm.host.disk import DiskBook
from isotherm.pool.tenants import Tenants
from isotherm.wire.telemetry import NamespaceUse

__all__ = ["Uses"]


class Uses:
    """Instances and memory are those of now, disk is as last measured."""

    def __init__(self, tenants: Tenants, disk: DiskBook) -> None:
        self.tenants = tenants
        self._disk = disk
        self._disk_bytes: dict[str, int] = {}

    async def measure(self) -> None:
        """Look at the disk, on a thread."""
        self._disk_bytes = await asyncio.to_thread(self._disk.all_used_bytes)

    def now(self) -> list[NamespaceUse]:
        """Of each namespace that uses, used or may use anything here, by name."""
        return [
            NamespaceUse(
                namespace=tenant.namespace,
                instances=tenant.instances,
                memory_mb=tenant.memory_mb,
                disk_bytes=self._disk_bytes.get(tenant.namespace, 0),
                refused=dict(tenant.refused),
            )
            for tenant in sorted(self.tenants.all(), key=lambda tenant: tenant.namespace)
        ]
