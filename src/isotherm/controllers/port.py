"""What the controllers need of the rooms below: Protocols that `bootstrap` meets with services."""

from collections.abc import Sequence
from typing import Any, Protocol

from isotherm.wire.desired import Desired, RevisionSpec
from isotherm.wire.telemetry import Batch, MinuteAggregate
from isotherm.workloads.rollout_model import Mark, Reading, RolloutRow, Rule

__all__ = ["Deploys", "DesiredSource", "Ingest", "OpenRollouts", "RevisionMinutes"]


class DesiredSource(Protocol):
    """Called on worker threads."""

    def version(self) -> int:
        """The version of the desired state now; grows with every change."""

    def desired(self, epoch: str | None, version: int) -> Desired:
        """What a host with this epoch and version lacks: a whole snapshot, or a delta, which may be empty."""


class Ingest(Protocol):
    """Called on one worker thread."""

    def __call__(self, batch: Batch, /) -> bool:
        """Store a batch; durable once it returns. False where (host, boot, sequence) was there already."""


class Deploys(Protocol):
    """Revisions on their way from building to ready or failed. Called on worker threads."""

    def building(self) -> list[RevisionSpec]:
        """What still waits for a host, oldest first."""

    def spec(self, revision_id: str) -> RevisionSpec:
        """Raises `NotFound`: deleted meanwhile."""

    def moves_at_once(self, revision_id: str) -> bool:
        """Whether all calls go to it in one move once it is ready. Raises `NotFound`."""

    def mark_ready(self, revision_id: str, *, template: bool, unfit: Sequence[str], elapsed_ms: float) -> None:
        """Raises `NotFound`, `Conflict` (it has failed)."""

    def mark_failed(self, revision_id: str, problem: dict[str, Any], *, elapsed_ms: float | None = None) -> None:
        """Raises `NotFound`, `Conflict` (it is ready)."""


class OpenRollouts(Protocol):
    """Rollouts that have not ended. Called on worker threads. Verbs raise `NotFound` (deleted meanwhile) and `Conflict`
    (it has ended, was paused, or another process was first)."""

    def open(self) -> list[RolloutRow]: ...

    def spec(self, rollout: RolloutRow, number: int) -> RevisionSpec:
        """What a host needs of one of its revisions. Raises `NotFound`."""

    def step(self, rollout_id: str, step: int, mark: Mark, reading: Reading | None) -> RolloutRow:
        """Go on to a step."""

    def finish(self, rollout_id: str, reading: Reading | None) -> RolloutRow: ...

    def roll_back(self, rollout_id: str, rule: Rule, reading: Reading | None) -> RolloutRow: ...


class RevisionMinutes(Protocol):
    """Called on worker threads."""

    def __call__(self, revision_id: str, *, since_minute: int) -> list[MinuteAggregate]:
        """What is counted of a revision, from a minute on."""
