"""The verbs of records: take in what hosts report, answer questions about it, and forget in time. Thread-safe.

Permissions are the caller's to check: `tenancy` stands above this room.
"""

import time
from collections.abc import Callable, Collection

from isotherm.base.clock import Clock
from isotherm.base.errors import Invalid, NotFound
from isotherm.db.engine import Database
from isotherm.db.pages import Page, clamp_limit, decode_cursor, encode_cursor
from isotherm.prices.machines import MachinePrice, default_machine
from isotherm.records import decision_store, policy, store
from isotherm.records.decision import decision
from isotherm.records.decisions import Decisions
from isotherm.records.model import Explanation, Minute, Retention, Swept
from isotherm.storage.vault import Vault
from isotherm.warming.view import PolicyName
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.telemetry import Batch, InvocationRecord, LogLine, MinuteAggregate, Outcome, RecordedEvent

__all__ = ["LogLimits", "Records", "no_invocation"]

LogLimits = tuple[dict[str, int], int | None]

_seal = "records.event"
_swept_at_once = 2_000
_most_parts = 50
_pause_s = 0.002
_most_minutes = 100_000


class Records(Decisions):
    """Kept in a database of its own (records.db), so that taking in telemetry never blocks a command.

    `spec_of` gives the revision of a call for explanations; it raises `NotFound` where it was deleted. `log_limits`
    gives the bytes of log lines to keep: of each namespace with a limit of its own, and of each other one. `warming`
    is who decides what waits warm, for explanations.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        vault: Vault,
        retention: Retention,
        spec_of: Callable[[str], RevisionSpec],
        log_limits: Callable[[], LogLimits] = lambda: ({}, None),
        price: MachinePrice | None = None,
        warming: PolicyName = "foresight",
    ) -> None:
        super().__init__(database)
        self._clock = clock
        self._vault = vault
        self._retention = retention
        self._spec_of = spec_of
        self._log_limits = log_limits
        self._price = price or default_machine()
        self._warming = warming

    def ingest(self, batch: Batch) -> bool:
        """Take in a batch, whole and once; False where this (host, boot, sequence) was here before.

        When it returns the batch is durable. Raises `Unavailable` where it cannot be written: send it again; and
        `Invalid` where it never can be.
        """
        try:
            return self._ingest(batch)
        except OverflowError as exc:
            raise Invalid(f"batch {batch.sequence} of {batch.host_id} has a number out of range: {exc}") from exc

    def _ingest(self, batch: Batch) -> bool:
        with self._database.write() as session:
            if not store.insert_batch(session, batch, self._clock.time_ms()):
                return False
            if batch.invocations:
                store.insert_invocations(session, batch.invocations)
            if batch.minutes:
                fresh = policy.merge_minutes(batch.minutes)
                known = store.find_minutes(session, [(one.revision_id, one.minute) for one in fresh])
                store.put_minutes(session, policy.merge_minutes([*known, *fresh]))
            if batch.logs:
                store.insert_logs(session, batch.logs)
            if batch.events:
                store.insert_events(session, [(each, self._sealed(each)) for each in batch.events])
        return True

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
        below = None if cursor is None else decode_cursor(cursor, tuple[int])[0]
        with self._database.read() as session:
            rows = store.list_invocations(
                session, namespace, name=function, outcome=outcome, below=below, limit=clamp_limit(limit) + 1
            )
        found = rows[:limit]
        return Page([record for _, record in found], encode_cursor(found[-1][0]) if len(rows) > limit else None)

    def invocation(self, namespace: str, invocation_id: str) -> InvocationRecord:
        """Raises `NotFound`: it never was, was not kept in full, or has aged out."""
        with self._database.read() as session:
            found = store.find_invocation(session, namespace, invocation_id)
        if found is None:
            raise no_invocation(invocation_id)
        return found

    def event(self, namespace: str, invocation_id: str) -> bytes:
        """What a call was made with, as JSON. Raises `NotFound` where it was not kept, or has aged out."""
        with self._database.read() as session:
            found = store.find_event(session, namespace, invocation_id)
        if found is None:
            raise NotFound(
                f"the event of the invocation {invocation_id[:100]!r} was not kept; to have those of later calls kept, "
                'set events = "all" (or "errors") in the table [records] of isotherm.toml, and deploy',
                invocation=invocation_id[:100],
            )
        return self._vault.open(_seal, found, f"{namespace}/{invocation_id}")

    def _sealed(self, event: RecordedEvent) -> bytes:
        return self._vault.seal(_seal, event.event, f"{event.namespace}/{event.id}")

    def minutes(self, namespace: str, function: str, *, since_minute: int, until_minute: int) -> list[MinuteAggregate]:
        """Exact counts per revision and minute in [since, until), minutes since the epoch, oldest first."""
        with self._database.read() as session:
            return store.list_minutes(
                session,
                namespace,
                function,
                since_minute=since_minute,
                until_minute=until_minute,
                limit=_most_minutes,
            )

    def namespace_minutes(
        self,
        namespace: str,
        *,
        function: str | None = None,
        since_minute: int,
        until_minute: int,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Minute]:
        """Exact counts of all functions, or of one, per revision and minute in [since, until), the oldest first."""
        above = None if cursor is None else decode_cursor(cursor, tuple[int, str, str])
        if above is not None and not since_minute <= above[0] < until_minute:
            raise Invalid("the cursor is of a list of other minutes; start without a cursor")
        with self._database.read() as session:
            rows = store.list_namespace_minutes(
                session,
                namespace,
                name=function,
                since_minute=since_minute,
                until_minute=until_minute,
                above=above,
                limit=clamp_limit(limit) + 1,
            )
        found = rows[:limit]
        last = (found[-1].minute, found[-1].name, found[-1].revision_id) if len(rows) > limit else None
        return Page([policy.minute_of(each) for each in found], None if last is None else encode_cursor(*last))

    def revision_minutes(self, revision_id: str, *, since_minute: int) -> list[MinuteAggregate]:
        """Exact counts of one revision, whatever its function, from a minute on; the newest first."""
        with self._database.read() as session:
            return store.list_revision_minutes(session, revision_id, since_minute, _most_minutes)

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
        clamp_limit(limit)
        above = None if cursor is None else decode_cursor(cursor, tuple[int])[0]
        with self._database.read() as session:
            if since_ms is not None and above is None:
                first = store.first_log_since(session, namespace, function, since_ms)
                if first is None:
                    return Page([], None)
                above = first - 1
            rows = store.list_logs(
                session,
                namespace,
                function,
                invocation_id=invocation_id,
                since_ms=since_ms,
                above=above,
                newest=above is None,
                limit=limit,
            )
        return Page([line for _, line in rows], encode_cursor(rows[-1][0]) if rows else cursor)

    def log_bytes(self, namespace: str) -> int:
        """What is kept of a namespace's log lines."""
        with self._database.read() as session:
            return store.log_bytes(session, namespace).get(namespace, 0)

    def called_since(self, revision_ids: Collection[str], since_ms: int) -> set[str]:
        """Those of these revisions that were called since then, to the minute."""
        with self._database.read() as session:
            return store.called_since(session, revision_ids, since_ms // 60_000)

    def sweep(self) -> Swept:
        """Remove what is too old or too much: of all, then of each namespace that is over its quota of log lines.

        It goes by parts of a few thousand rows, each a transaction of some tens of milliseconds, with a pause in which
        a batch that waits is taken in. Where the last part was not empty there may be more: call it again.
        """
        swept = self._sweep_part()
        for _ in range(_most_parts - 1):
            time.sleep(_pause_s)
            part = self._sweep_part()
            if not part.rows:
                break
            swept += part
        return swept

    def _sweep_part(self) -> Swept:
        now_ms, keep = self._clock.time_ms(), self._retention
        own, other = self._log_limits()
        with self._database.write() as session:
            store.delete_oldest_batches(session, before_ms=now_ms - round(keep.batches_s * 1000))
            swept = Swept(
                invocations=store.delete_oldest_invocations(
                    session,
                    before_ms=now_ms - round(keep.invocations_s * 1000),
                    too_many=store.total(session, "invocations") - keep.max_invocations,
                    at_once=_swept_at_once,
                ),
                minutes=store.delete_oldest_minutes(
                    session, before_minute=(now_ms - round(keep.minutes_s * 1000)) // 60_000, at_once=_swept_at_once
                ),
                logs=store.delete_oldest_logs(
                    session,
                    before_ms=now_ms - round(keep.logs_s * 1000),
                    too_many_bytes=store.total(session, "logs") - keep.max_log_bytes,
                    at_once=_swept_at_once,
                ),
            )
            swept += Swept(
                receipts=decision_store.delete_oldest_receipts(
                    session,
                    before_ms=now_ms - round(keep.receipts_s * 1000),
                    too_many=decision_store.count_receipts(session) - keep.max_receipts,
                    at_once=_swept_at_once,
                ),
                events=store.delete_oldest_events(
                    session,
                    before_ms=now_ms - round(keep.invocations_s * 1000),
                    too_many_bytes=store.event_bytes(session) - keep.max_event_bytes,
                    at_once=_swept_at_once,
                ),
            )
            over = policy.over_log_quota(store.log_bytes(session), own, other) if own or other is not None else []
            for namespace, too_many_bytes in over:
                gone = store.delete_oldest_logs(
                    session, before_ms=0, too_many_bytes=too_many_bytes, at_once=_swept_at_once, namespace=namespace
                )
                swept += Swept(logs=gone)
                if swept.logs >= _swept_at_once:
                    break
        return swept

    def explain(self, namespace: str, invocation_id: str) -> Explanation:
        """Why a kept call took what it took. Raises `NotFound`."""
        record = self.invocation(namespace, invocation_id)
        try:
            spec = self._spec_of(record.revision_id)
        except NotFound:
            spec = None
        decided = None
        if record.cold_cause is not None:
            receipt = self.receipt_before(record.revision_id, record.started_at_ms)
            decided = decision(record, receipt, spec, self._price, self._warming)
        return policy.explain(record, spec, self._price, decided)


def no_invocation(invocation_id: str) -> NotFound:
    return NotFound(
        f"there is no record of the invocation {invocation_id[:100]!r}: kept in full are calls that were cold, "
        "failed or slow, and a sample of all others, for some days",
        invocation=invocation_id[:100],
    )
