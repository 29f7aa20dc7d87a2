"""The policy beside a running platform: what it has seen, what it decides each minute, what it tells hosts.

Nothing here waits, reads a clock or a database: `controllers.warming` does. A minute is `minute_s` long. Shortly before
one begins it is decided what is to be warm in it, and that is made ready; what is not is let go once it has begun and
all calls of the one before are known. So what is due on the minute finds an instance.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy

from isotherm.forecast.live import LiveForecasts
from isotherm.forecast.model import LEVELS
from isotherm.warming.allowances import LikeKeepAlives
from isotherm.warming.budgets import Budget
from isotherm.warming.catalog import Catalog, Entry
from isotherm.warming.counting import Counting, Series
from isotherm.warming.deciding import Decisions, Minute, receipts
from isotherm.warming.drivers.foresight import Foresight
from isotherm.warming.drivers.past import MINUTES
from isotherm.warming.groups import GroupBook
from isotherm.warming.kept import dump, load
from isotherm.warming.measured import Measured
from isotherm.warming.model import Demand, Integers, Rung
from isotherm.warming.receipt import Receipt
from isotherm.warming.telling import Telling
from isotherm.wire.desired import Desired
from isotherm.wire.telemetry import Batch, WorkloadState
from isotherm.wire.warmth import Warmth

__all__ = ["Options", "Turn", "Warming"]

FIRST_ROWS: Final = 256
AHEAD: Final = 2  # minutes that are forecast: the one that runs, and the one that is decided about
HIGH: Final = LEVELS.index(0.95)  # of the calls that a peak is reckoned with
VALID_MINUTES: Final = 3.0  # for which hosts go by what they were told
OLD: Final = 2  # minutes


@dataclass(frozen=True, slots=True)
class Options:
    """`lead_s`: so long before a minute begins it is decided about; `settle_s`: so long after it began, what came late
    of the one before is known. `budget`: the platform's; None: as the keep-alives would spend."""

    minute_s: float = 60.0
    lead_s: float = 10.0
    settle_s: float = 1.5
    budget: Budget | None = None


@dataclass(slots=True)
class Turn:
    """What came of looking: what hosts are to be told, and what is to be written down. `minute`: the one that is over,
    once all of it is known."""

    warmth: Warmth | None = None
    receipts: list[Receipt] = field(default_factory=list)
    minute: int | None = None


class Warming:
    """Of one platform. To be used by one thread at a time."""

    def __init__(self, options: Options, forecasts: LiveForecasts | None = None) -> None:
        self.options = options
        self.catalog = Catalog()
        self.measured = Measured(FIRST_ROWS)
        self.book = GroupBook(options.budget)
        groups, fixed = self.book.assign((), {}, FIRST_ROWS)
        self.allowance = LikeKeepAlives(FIRST_ROWS, groups, fixed)
        demand = Demand(numpy.arange(FIRST_ROWS, dtype=numpy.int32), numpy.zeros(FIRST_ROWS), numpy.ones(FIRST_ROWS))
        ladder_gb, start_s = self.measured.ladder(numpy.zeros(FIRST_ROWS, bool))
        self.policy = Foresight(demand, self.allowance, None, ladder_gb, start_s, groups)
        self.decisions = Decisions.none(FIRST_ROWS)
        self.calls_mean, self.calls_high = numpy.zeros(FIRST_ROWS), numpy.zeros(FIRST_ROWS)
        self.avoided = 0.0  # cold starts since midnight that the keep-alives alone would have had besides
        self.spent_gb_h = 0.0  # since midnight
        self.at_ms: int | None = None  # when a minute was decided about last
        self._forecasts = forecasts
        self._counting = Counting(FIRST_ROWS)
        self._seen: int | None = None  # the last minute that was observed
        self._held: int | None = None  # the one that was decided about last
        self._settled: int | None = None  # the last one in which was let go what is not to be warm
        self._late = numpy.zeros(FIRST_ROWS, bool)
        self._telling = Telling(FIRST_ROWS, VALID_MINUTES * options.minute_s)
        self._by_row: dict[int, Entry] = {}
        self._scheduled: list[Entry] = []
        self._dirty = True

    # -- what it is told -----------------------------------------------------------------------------------------------

    def apply(self, desired: Desired) -> None:
        """Workloads, revisions and quotas, as a host is told of them."""
        for row in self.catalog.apply(desired):
            for part in (self.policy, self.allowance, self.measured, self.decisions, self._counting, self._telling):
                part.forget(row)
            self.calls_mean[row] = self.calls_high[row] = 0.0
        if self.catalog.rows > len(self.policy.rung):
            self._enlarge(max(2 * len(self.policy.rung), self.catalog.rows))
        self._dirty = True
        self._telling.moved |= {entry.row for entry in self.catalog.pointed}
        begun = 0 if self._seen is None else self._seen + 1
        for entry in () if desired.full else self.catalog.pointed:
            self._leave(entry, begun if self._held is None else self._held)

    def take(self, batch: Batch, received_ms: float) -> None:
        """What a host counted since its last batch. A call counts in the minute in which it came."""
        for one in batch.minutes:
            entry = self.catalog.by_key.get((one.namespace, one.name))
            if entry is None or not one.count:
                continue
            ended_ms = min(received_ms, batch.sent_at_ms)
            if self.minute_of(ended_ms) < self.minute_of(received_ms) - OLD:
                continue  # it was on its way for long: for what is to come it says little
            minute = self.minute_of(ended_ms - one.total_ms / one.count)
            if self._settled is not None:  # what is known only now of minutes that are over counts now
                minute = max(minute, self._settled)
            self._counting.add(minute, entry.row, one.revision_id, one.count, self._ran_s(one.run_ms))
            self._telling.called.add(entry.row)
        for call in batch.invocations:
            entry = self.catalog.by_key.get((call.namespace, call.name))
            if entry is not None and call.cold_cause is not None:
                self.measured.saw_call(entry.row, call)

    def saw_states(self, states: Iterable[WorkloadState]) -> None:
        """What hosts hold now."""
        for state in states:
            entry = self.catalog.by_key.get((state.namespace, state.name))
            if entry is not None and entry.main is not None and entry.main.id == state.revision_id:
                self.measured.saw_state(entry.row, state)

    def restore(self, now_ms: float, history: Iterable[tuple[str, str, int, int, float]]) -> None:
        """Begin, or go on after a restart: (namespace, name, minute since 1970, calls, ms that they ran), oldest first;
        nothing where a minute is not one. Before the first turn. What was never called may just have been deployed."""
        if self._dirty:
            self._measure()
        now = self.minute_of(now_ms)
        past = Counting(len(self.policy.rung))
        series = Series(now - MINUTES, now)
        at: int | None = None
        for namespace, name, minute, calls, run_ms in history:
            entry = self.catalog.by_key.get((namespace, name))
            if entry is None or not calls or not now - MINUTES <= minute < now:
                continue
            at = minute if at is None else at
            while at < minute:
                self._recall(at, past)
                at += 1
            past.add(minute, entry.row, "", calls, self._ran_s(run_ms))
            series.add(entry.row, minute, calls)
        for minute in range(now if at is None else at, now):
            self._recall(minute, past)
        self._seen = now - 1
        for entry in self.catalog:
            if self.policy.past.last[entry.row] < 0:
                self._leave(entry, now)
        self._dirty = True
        if self._forecasts is not None:
            names = {entry.row: "/".join(entry.key) for entry in self.catalog}
            self._forecasts.restore(*series.busiest(names, self._forecasts.limit))

    def first_remembered(self, now_ms: float) -> int:
        """The first minute of which `restore` makes use."""
        return self.minute_of(now_ms) - MINUTES

    def state(self) -> bytes:
        """What `resume` goes on from."""
        return dump(self.policy.accounts, self.book, self.measured, self.catalog)

    def resume(self, body: bytes) -> None:
        """Raises `msgspec.MsgspecError` where it is of another release."""
        if self._dirty:
            self._measure()
        load(body, self.policy.accounts, self.book, self.measured, self.catalog)
        self._dirty = True

    def close(self) -> None:
        """End what the forecasters have begun."""
        if self._forecasts is not None:
            self._forecasts.close()

    def quality(self, name: str | None = None) -> dict[str, float]:
        """Of forecasts: of one workload, "NAMESPACE/NAME", or of all. Raises `Invalid`: there are none of it."""
        if self._forecasts is None:
            return {}
        return self._forecasts.quality_in_all() if name is None else self._forecasts.quality(name)

    # -- what it decides -----------------------------------------------------------------------------------------------

    def turn(self, now_ms: float) -> Turn:
        """Look at the time, and do what is due; every few seconds."""
        now = self.minute_of(now_ms)
        if self._dirty:
            self._measure()
        self._catch_up(now)
        if self._held is None or self._held < now:
            self._decide(now)
        begun_s = (now_ms - now * self.options.minute_s * 1000) / 1000
        if self._held == now and self._settled != now and begun_s >= self.options.settle_s:
            return self._settle(now, round(now_ms))
        if self._held == now and begun_s >= self.options.minute_s - self.options.lead_s:
            self._close(now)
            self._decide(now + 1)
            return Turn(warmth=self._telling.more(self.policy, self.instances, self._by_row))
        return Turn()

    def whole(self) -> Warmth:
        """All that hosts are to go by now: for one that has just come."""
        return self._telling.whole()

    @property
    def until_s(self) -> float:
        """How long a turn may be put off at most, so that none of what is due comes late."""
        return min(self.options.lead_s, self.options.minute_s - self.options.lead_s) / 2

    def minute_of(self, at_ms: float) -> int:
        return int(at_ms // (self.options.minute_s * 1000))

    @property
    def instances(self) -> Integers:
        """Of each row, to be ready in the minute that was decided about last: by the load of late, and enough for the
        peak that is forecast."""
        wanted = self.policy.instances
        busy = numpy.flatnonzero((self.calls_high > 0) & (wanted > 0))
        if len(busy):
            wanted[busy] = numpy.maximum(wanted[busy], self.policy.for_peak(busy, self.calls_high[busy]))
        return wanted

    # -- inside --------------------------------------------------------------------------------------------------------

    def _recall(self, minute: int, past: Counting) -> None:
        counts, busy_s = past.of(minute).take()
        self.policy.recall(minute, counts, busy_s)
        self.allowance.observe(minute, counts)
        past.drop(minute + 1)

    def _ran_s(self, run_ms: float) -> float:
        """As a part of a minute of 60 s, whatever is taken for a minute."""
        return run_ms / 1000 * 60 / self.options.minute_s

    def _catch_up(self, now: int) -> None:
        """Minutes that passed without a turn."""
        seen = now - 1 if self._seen is None else self._seen
        for minute in range(max(seen + 1, now - MINUTES), now):
            self._close(minute)
        self._seen = max(seen, now - 1)
        self._counting.drop(now - 1)

    def _close(self, minute: int) -> None:
        """It is over, or as good as over: what came in it is known."""
        if minute % round(86400 / self.options.minute_s) == 0:
            self.avoided = self.spent_gb_h = 0.0
        calls, busy_s = self._counting.of(minute).take()
        active = calls > 0
        spared = active & (self.policy.rung == Rung.WARM) & ~self.allowance.warm(minute)
        missed = active & (self.policy.rung < Rung.WARM) & self.allowance.warm(minute)
        self.avoided += float(spared.sum()) - float(missed.sum())
        self.policy.observe(minute, calls, busy_s)
        self.spent_gb_h += self.policy.idle_gb / 60
        self._seen = minute

    def _decide(self, minute: int) -> None:
        begin_ms, end_ms = (round(each * self.options.minute_s * 1000) for each in (minute, minute + 1))
        self.policy.due[:] = False
        for entry in self._scheduled:
            if entry.is_due(begin_ms, end_ms):
                self.policy.due[entry.row] = True
        self.policy.hold(minute)
        self._held = minute
        self._late[:] = False

    def _settle(self, minute: int, now_ms: int) -> Turn:
        """A minute has begun, and what came in the one before is all known: write down what is decided, and let go."""
        before = self._counting.of(minute - 1)
        late, _ = before.take()
        if late.any():
            self.policy.amend(minute - 1, late)
            self.allowance.observe(minute - 1, before.calls)
            self.policy.look_again()
            self._late |= late > 0
        for row, revisions in before.revisions.items():
            entry = self._by_row.get(row)
            if entry is not None and entry.saw(revisions):
                self._telling.moved.add(row)
        self._forecast(minute - 1, before.calls)
        instances = self.instances
        said = Minute(minute, self.options.minute_s * 1000, now_ms, instances, self.calls_mean, self._late)
        changed = self._changed(self.decisions.moved(self.policy.rung, instances))
        written = receipts(changed, self.decisions, self.policy, self.book, said)
        self.decisions.settle(changed, self.policy.rung, instances)
        self._settled, self.at_ms = minute, now_ms
        called = frozenset(self._telling.called)
        warmth = self._telling.settle(self.policy, instances, self._by_row, self.catalog)
        self._age(minute, called)
        self._measure_rungs()
        return Turn(warmth, written, minute - 1)

    def _leave(self, entry: Entry, minute: int) -> None:
        """To its keep-alives, until it is called or they are over: a deploy has made something ready."""
        if entry.main is not None:
            kept_s = max(entry.main.warm.keep_alive_s, entry.main.warm.template_keep_alive_s)
            entry.fresh_until = minute + math.ceil(kept_s / self.options.minute_s)

    def _age(self, minute: int, called: frozenset[int]) -> None:
        """The policy decides about what was deployed once that was called, or has waited for as long as it is kept;
        from the next minute on, as nothing was decided about it for this one."""
        for entry in self.catalog:
            if entry.fresh_until is not None and (entry.row in called or minute >= entry.fresh_until):
                entry.fresh_until = None
                self._dirty = True
                self._telling.moved.add(entry.row)

    def _changed(self, moved: Iterable[int]) -> list[Entry]:
        """Entries of rows about which something else is decided, or whose calls go elsewhere."""
        rows = sorted({int(row) for row in moved} | self._telling.moved)
        return [entry for row in rows if (entry := self._by_row.get(row)) is not None and entry.steered]

    def _forecast(self, minute: int, calls: Integers) -> None:
        """Tell the forecasters of a minute, and ask them of those to come."""
        if self._forecasts is None or minute < self._forecasts.now:
            return
        rows = [int(row) for row in numpy.flatnonzero(calls) if int(row) in self._by_row]
        names = ["/".join(self._by_row[row].key) for row in rows]
        self._forecasts.observe(minute, names, calls[rows].astype(numpy.float32))
        foreseen = self._forecasts.predict(AHEAD)
        self.calls_mean[:] = self.calls_high[:] = 0.0
        for index, name in enumerate(foreseen.names):
            entry = self.catalog.by_key.get(tuple(name.split("/", 1)))  # type: ignore[arg-type]  # of two
            if entry is not None:
                self.calls_mean[entry.row] = foreseen.prediction.mean[index, AHEAD - 1]
                self.calls_high[entry.row] = foreseen.prediction.quantiles[index, AHEAD - 1, HIGH]

    def _measure(self) -> None:
        """What there is, and whose budget pays for it, after something has changed about that."""
        n = len(self.policy.rung)
        self._by_row = {entry.row: entry for entry in self.catalog}
        self._scheduled = [entry for entry in self.catalog if entry.schedules and entry.steered]
        self._steered, self._keep, self._template_keep = numpy.zeros(n, bool), numpy.zeros(n), numpy.zeros(n)
        for row, entry in self._by_row.items():
            if entry.main is not None and entry.steered:
                self._steered[row] = True
                self._keep[row] = entry.main.warm.keep_alive_s / self.options.minute_s
                self._template_keep[row] = entry.main.warm.template_keep_alive_s / self.options.minute_s
        self._groups, self._fixed = self.book.assign(self.catalog, self.catalog.namespaces, n)
        self.policy.regroup(self._groups)
        self._dirty, self._telling.stale = False, True
        self._measure_rungs()

    def _measure_rungs(self) -> None:
        """What rows hold and wait for, as it is known now."""
        gb, start_s = self.measured.ladder(self._steered)
        held = numpy.where(numpy.isfinite(gb), gb, 0.0)
        warm_gb, template_gb = held[:, Rung.WARM], held[:, Rung.TEMPLATE]
        self.policy.measure(gb, start_s)
        self.allowance.set(self._groups, self._fixed, self._keep, self._template_keep, warm_gb, template_gb)

    def _enlarge(self, n: int) -> None:
        for part in (self.policy, self.measured, self.decisions, self._counting, self._telling):
            part.enlarge(n)
        more = n - len(self._late)
        self._late = numpy.concatenate([self._late, numpy.zeros(more, bool)])
        self.calls_mean, self.calls_high = (
            numpy.concatenate([each, numpy.zeros(more)]) for each in (self.calls_mean, self.calls_high)
        )
