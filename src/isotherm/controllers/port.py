"""What the controllers need of the rooms below: Protocols that `bootstrap` meets with services."""

from typing import Protocol

from isotherm.wire.desired import Desired
from isotherm.wire.telemetry import Batch

__all__ = ["DesiredSource", "Ingest"]


class DesiredSource(Protocol):
    """Both are called on worker threads."""

    def version(self) -> int:
        """The version of the desired state now; grows with every change."""

    def desired(self, epoch: str | None, version: int) -> Desired:
        """What a host with this epoch and version lacks: a whole snapshot, or a delta, which may be empty."""


class Ingest(Protocol):
    def __call__(self, batch: Batch, /) -> bool:
        """Store a batch; durable once it returns. False where (host, boot, sequence) was there already."""
