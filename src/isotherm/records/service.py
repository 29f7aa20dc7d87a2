"""The verbs of records: take in what hosts report, answer questions about it, and forget in time. Thread-safe.

Permissions are the caller's to check: `tenancy` stands above this room.
"""

from isotherm.db.pages import Page
from isotherm.records.model import Explanation, HostState, Swept
from isotherm.wire.telemetry import Batch, InvocationRecord, LogLine, MinuteAggregate, Outcome, WorkloadState

__all__ = ["Records"]


class Records:
    """Kept in a database of its own (records.db), so that taking in telemetry never blocks a command."""

    def ingest(self, batch: Batch) -> None:
        """Take in a batch, whole and once: a (host, boot, sequence) that was here before changes nothing.

        When it returns the batch is durable. Raises `Unavailable` where it cannot be written: send it again.
        """
        raise NotImplementedError

    def invocations(
        self,
        namespace: str,
        *,
        function: str | None = None,
        outcome: Outcome | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[InvocationRecord]:
        """Calls that are kept in full, the newest first."""
        raise NotImplementedError

    def invocation(self, namespace: str, invocation_id: str) -> InvocationRecord:
        """Raises `NotFound`: it never was, was not kept in full, or has aged out."""
        raise NotImplementedError

    def minutes(self, namespace: str, function: str, *, since_minute: int, until_minute: int) -> list[MinuteAggregate]:
        """Exact counts per revision and minute in [since, until), minutes since the epoch, oldest first."""
        raise NotImplementedError

    def logs(
        self,
        namespace: str,
        function: str,
        *,
        invocation_id: str | None = None,
        since_ms: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[LogLine]:
        """Log lines, oldest first. Without `since_ms` and `cursor`: the last `limit` ones.

        `next_cursor` is always set (except where nothing was ever there): hand it back to get what came later.
        """
        raise NotImplementedError

    def states(self, namespace: str | None = None, function: str | None = None) -> list[WorkloadState]:
        """What hosts hold now, as they last told."""
        raise NotImplementedError

    def hosts(self) -> list[HostState]:
        """Hosts that told something since this process began."""
        raise NotImplementedError

    def sweep(self) -> Swept:
        """Remove what is too old or too much, a bounded part at a time; call it every minute."""
        raise NotImplementedError

    def explain(self, namespace: str, invocation_id: str) -> Explanation:
        """Why a kept call took what it took. Raises `NotFound`."""
        raise NotImplementedError
